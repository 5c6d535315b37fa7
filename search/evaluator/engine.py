"""One vLLM in this process: sparse (programs take turns in it) or dense (vLLM's own backend)."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.asks import waves
from search.evaluator.guards import Decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vllm import SamplingParams

    from search.evaluator.asks import Ask
    from search.evaluator.fidelity.forcing import Dictation

Values = tuple[tuple[str, Any], ...]

FREE_SHARE = (
    0.05  # of a device, without which vLLM does not start; two engines share it, and the cache has its own bytes
)

START = """from vortex_dsl import Choice, Program, every_page


class Start(Program):
    \"\"\"Attend to every page; holds the engine until the first candidate comes.\"\"\"

    page_size = Choice({page_size}, (16, 32, 64, 128))

    def select(self, q, page):
        return every_page()
"""


class EngineError(RuntimeError):
    """The engine did something that would make a measurement dishonest; the message says what."""


@dataclass(frozen=True)
class EngineSettings:
    """How an engine is started. Sparse and dense arms of a comparison differ in `sparse` alone.

    `max_tokens`: longest prompt with its answer; `field_bytes`: bytes per page and KV head reserved for fields;
    `kv_cache_bytes`: memory of the KV cache, of as many tokens in both arms; `card_share`: of a GPU's memory, within
    which an engine stays with weights and cache (`caching.on_card`), 0 for whatever is asked; `graphs`: compile and
    capture as vLLM does by default, worth its start-up time on a GPU; `captured_batches`: instead, compile nothing and
    capture whole decode steps of so many sequences; `load_format`: vLLM's, "dummy" for random weights. `program`: the
    text of what is served from the start, with `values`: where graphs are captured, no other can be. `lengths`: in
    tokens, at which texts are judged; what serves is compared with the torch backend at one of them too.
    """

    model: str
    sparse: bool
    max_tokens: int
    max_sequences: int = 64
    dtype: str = "float32"
    page_size: int = 16
    field_bytes: int = 2048
    kv_cache_bytes: int = 768 << 20
    card_share: float = 0.0
    graphs: bool = False
    captured_batches: Sequence[int] = ()
    load_format: str = "auto"
    program: str = ""
    values: Values = ()
    lengths: Sequence[int] = ()


@dataclass(frozen=True)
class Generation:
    """Greedy answers, one list of token ids per prompt, and seconds of the steps that decoded.

    These are the engine steps in which each prompt's answer grew by a token that was itself decoded: `decode_step_s` by
    the clock on the wall, `processor_s` of processors, all threads together, `attention_s` by the caller's clock.
    """

    tokens: list[list[int]]
    decode_step_s: list[float]
    processor_s: list[float]
    attention_s: list[float]


def _environment() -> None:
    """Set what vLLM reads before it is imported."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_PLUGINS", "vortex")
    os.environ.setdefault("VORTEX_PLUGIN", "vortex")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("VLLM_CPU_SGL_KERNEL", "0")


def _load_class(model: str) -> None:
    """Register the classes that a model's folder names as loaded.

    Of a class that is not, vLLM asks another process, which takes ten seconds to import all that this one has.
    """
    from vllm.model_executor.models import ModelRegistry

    for name in json.loads(Path(model, "config.json").read_text("utf-8")).get("architectures") or ():
        if registered := ModelRegistry.models.get(name):  # else vLLM knows what to do
            ModelRegistry.register_model(name, registered.load_model_cls())


def _sampling(num_tokens: int, dictation: Dictation | None) -> SamplingParams:
    """Ask for so many tokens, greedily."""
    from vllm import SamplingParams

    from search.evaluator.fidelity.forcing import KEY

    # `min_tokens` takes the end of text out of the logits, which must not be: a dictation hears them.
    wanted: dict[str, Any] = {"min_tokens": num_tokens} if dictation is None else {"extra_args": {KEY: dictation}}
    return SamplingParams(temperature=0.0, max_tokens=num_tokens, ignore_eos=True, detokenize=False, **wanted)


def card_bytes() -> int:
    """Give the memory of the GPU that an engine of this process would take, without starting CUDA."""
    from vllm.platforms import current_platform

    return int(current_platform.get_device_total_memory())


def _sampling_of(ask: Ask) -> SamplingParams:
    """Say to vLLM how a prompt is answered."""
    from vllm import SamplingParams

    from search.evaluator.fidelity.forcing import KEY, Dictation

    dictation = Dictation(len(ask.prompt), tuple(ask.forced), _unheard)
    return SamplingParams(
        temperature=ask.temperature,
        top_p=ask.top_p,
        top_k=ask.top_k,
        seed=ask.seed,
        max_tokens=ask.num_tokens,
        ignore_eos=not ask.ends,
        stop=list(ask.stop),
        detokenize=bool(ask.stop),
        extra_args={KEY: dictation} if ask.forced else None,
    )


def _unheard(_step: int, _said: Any) -> None:
    """Listen to nothing: what is forced here is not compared."""


class Engine:
    """Prompts are prefilled once and stay in the prefix cache; programs are swapped in; only decode is paid."""

    def __init__(self, settings: EngineSettings) -> None:
        _environment()
        from vllm import LLM

        from search.evaluator.fidelity.forcing import Dictating

        _load_class(settings.model)
        self.settings = settings
        extra: dict[str, Any] = {}
        if settings.captured_batches:
            sizes = list(settings.captured_batches)
            captured = {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY", "cudagraph_capture_sizes": sizes}
            extra["compilation_config"] = captured
        if settings.sparse:
            text = settings.program or START.format(page_size=settings.page_size)
            start = {"program": text, "values": dict(settings.values), "field_bytes": settings.field_bytes}
            extra |= {
                "attention_backend": "CUSTOM",
                "additional_config": {"vortex": start},
                "worker_extension_cls": "vortex_dsl.serving.extension.VortexExtension",
            }
        self.llm = LLM(
            model=settings.model,
            dtype=settings.dtype,  # type: ignore[arg-type]
            max_model_len=settings.max_tokens,
            max_num_seqs=settings.max_sequences,
            kv_cache_memory_bytes=settings.kv_cache_bytes,
            gpu_memory_utilization=FREE_SHARE,
            enable_prefix_caching=True,
            enforce_eager=not settings.graphs,
            load_format=settings.load_format,
            async_scheduling=False,  # one engine step is one step of the model, so that its time means something
            disable_log_stats=False,
            scheduler_cls="vortex_dsl.serving.scheduler.PromptCacheScheduler",
            logits_processors=[Dictating],
            **extra,
        )
        self._num_requests = 0
        self.decoded = Decoded()
        if settings.sparse:
            self.counters()  # raises unless every layer runs our backend

    @property
    def kv_tokens(self) -> int:
        """Give the tokens that the KV cache holds."""
        cache = self.llm.llm_engine.vllm_config.cache_config
        return int(cache.num_gpu_blocks or 0) * int(cache.block_size)

    @property
    def num_layers(self) -> int:
        """Give the number of the model's layers."""
        return int(self.llm.llm_engine.vllm_config.model_config.get_total_num_hidden_layers())

    def swap(self, text: str, values: Values) -> None:
        """Serve this program from now on. Raises ProgramError or ServingError."""
        self.decoded = Decoded()
        self.llm.collective_rpc("vortex_swap", args=({"program": text, "values": dict(values)},))

    def counters(self) -> list[dict[str, int]]:
        """Give the counters of every layer since the last swap or reset."""
        return self.llm.collective_rpc("vortex_counters")[0]

    def reset(self) -> None:
        """Set the counters to zero."""
        self.decoded = Decoded()
        self.llm.collective_rpc("vortex_reset")

    def forget_prompts(self) -> None:
        """Empty the prefix cache. Raises EngineError where something still uses it."""
        if not self.llm.reset_prefix_cache():
            raise EngineError("the prefix cache could not be emptied: a request still runs")

    def encode(self, prompts: Sequence[str], whole: bool = False) -> list[list[int]]:
        """Tokenise prompts; a `whole` one gets what its model's tokenizer puts around a text, such as a first token."""
        tokenizer = self.llm.get_tokenizer()
        return [tokenizer.encode(prompt, add_special_tokens=whole) for prompt in prompts]

    def decode(self, tokens: Sequence[int]) -> list[str]:
        """Give the tokens' texts, one string each, without the spaces between words: for one token a word."""
        tokenizer = self.llm.get_tokenizer()
        return [tokenizer.decode([token]).strip() for token in tokens]

    @property
    def on_cpu(self) -> bool:
        """Whether the engine computes on a CPU."""
        from vllm.platforms import current_platform

        return bool(current_platform.is_cpu())

    @property
    def attention_layers(self) -> list[Any]:
        """Give vLLM's attention layers."""
        context = self.llm.llm_engine.vllm_config.compilation_config.static_forward_context
        return [layer for layer in context.values() if hasattr(layer, "impl")]

    def text(self, tokens: Sequence[int]) -> str:
        """Give the text that tokens stand for together, without special tokens."""
        tokenizer = self.llm.get_tokenizer()
        return tokenizer.decode(list(tokens), skip_special_tokens=True)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        num_tokens: int,
        dictations: Sequence[Dictation] = (),
        attention_clock: Callable[[], float] = float,
    ) -> Generation:
        """Answer greedily, exactly `num_tokens` tokens each, all prompts at once, timing the decode steps.

        dictations: what each prompt's request is told to say; without them each speaks for itself.
        attention_clock: seconds spent in attention so far, read between steps.

        Raises:
            EngineError: a request was preempted, which makes a sparse answer irreproducible, or an answer is shorter.

        """
        each = [_sampling(num_tokens, dictations[i] if dictations else None) for i in range(len(prompts))]
        generation = self._run(prompts, each, attention_clock)
        if short := [len(answer) for answer in generation.tokens if len(answer) != num_tokens]:
            raise EngineError(
                f"{len(short)} of {len(prompts)} answers ended before {num_tokens} tokens, one of them at {short[0]}: "
                f"the engine takes {self.settings.max_tokens} tokens of a prompt and its answer"
            )
        return generation

    def answer(self, asks: Sequence[Ask]) -> list[list[int]]:
        """Answer each as it asks, as many at once as the KV cache holds; gives the tokens of each answer.

        Raises:
            EngineError: one of them does not fit, or a request was preempted.

        """
        cache = self.llm.llm_engine.vllm_config.cache_config
        num_pages = int(cache.num_gpu_blocks or 0) - 1  # vLLM keeps one for itself
        answers = []
        try:
            for wave in waves(asks, num_pages, int(cache.block_size)):
                answers += self._run([ask.prompt for ask in wave], [_sampling_of(ask) for ask in wave]).tokens
        except ValueError as error:
            raise EngineError(str(error)) from error
        return answers

    def _run(
        self,
        prompts: Sequence[Sequence[int]],
        samplings: Sequence[SamplingParams],
        attention_clock: Callable[[], float] = float,
    ) -> Generation:
        """Run requests at once, to the end of the last. Raises EngineError where one was preempted."""
        engine = self.llm.llm_engine
        before = self._num_preemptions()
        order: dict[str, int] = {}
        for prompt, sampling in zip(prompts, samplings, strict=True):
            name = str(self._num_requests)
            self._num_requests += 1
            order[name] = len(order)
            engine.add_request(name, {"prompt_token_ids": list(prompt)}, sampling)
        answers: list[list[int]] = [[] for _ in order]
        clocks = (time.perf_counter, time.process_time, attention_clock)
        whole_s: list[list[float]] = []
        while engine.has_unfinished_requests():
            start = [clock() for clock in clocks]
            outputs = engine.step()
            if len(outputs) == len(order):
                whole_s.append([clock() - begun for clock, begun in zip(clocks, start, strict=True)])
            for output in outputs:
                answers[order[output.request_id]] = list(output.outputs[0].token_ids)  # type: ignore[index]
        self.decoded.num_preemptions = self._num_preemptions()
        if self.decoded.num_preemptions != before:
            raise EngineError("a request was preempted: the KV cache is too small for this workload")
        for prompt, answer in zip(prompts, answers, strict=True):
            self.decoded.add(len(prompt), len(answer))
        decoded = whole_s[1:]  # in the first of them the last prompt is still prefilled
        return Generation(answers, *([step[i] for step in decoded] for i in range(len(clocks))))

    def record(self, prompt: Sequence[int], num_steps: int, forced: Sequence[int] = ()) -> list[list[dict[str, Any]]]:
        """Decode with recording on: what every layer saw that the program is asked for, step by step (`ProgramLayer`).

        forced: the tokens that are emitted whatever the model would say; the first is that of prefill. k and v are in a
        layer's last step alone, which holds those of the steps before it.
        """
        from search.evaluator.fidelity.forcing import Dictation

        told = Dictation(len(prompt), forced, lambda _step, _said: None)
        self.llm.collective_rpc("vortex_record", args=(True, True))
        try:
            self.generate([prompt], num_steps + 1, [told])
        finally:
            layers = self.llm.collective_rpc("vortex_record", args=(False,))[0]
        return [steps for steps in layers if steps]

    def _num_preemptions(self) -> int:
        from vllm.v1.metrics.reader import Counter

        metrics = self.llm.get_metrics()
        return int(sum(m.value for m in metrics if isinstance(m, Counter) and m.name == "vllm:num_preemptions"))
