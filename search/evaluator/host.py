"""The child process that holds one engine: `python -m search.evaluator.host sparse|dense`.

One JSON object per line each way. A request is {"call": name, "args": {...}}; the reply {"result": ...} or
{"status": a Status value, "message": a sentence}. Everything else that the process prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import random
import sys
import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from search.records import Measurement, Status, Workload, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from search.evaluator.engine import Engine, Values
    from search.evaluator.probe.tasks import ProbeTasks
    from search.evaluator.recall import Recording
    from vortex_dsl import Program
    from vortex_dsl.serving.shapes import ModelShape

RECORDED_STEPS = 3
SERVE_TOKENS = 17  # the first comes from prefill; 16 decode steps are timed


class RefusedError(Exception):
    """An evaluation that ends with a status other than OK."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


def _program(text: str, values: Sequence[Sequence[Any]]) -> Program:
    from vortex_dsl import load_program

    return load_program(text).with_values(**{str(name): value for name, value in values})


def _plain(measurements: Sequence[Measurement]) -> list[list[Any]]:
    return [[m.name, m.value, m.low, m.high, m.num_samples] for m in measurements]


def _accuracy(hops: Sequence[Sequence[bool]]) -> Measurement:
    """Give the share of right hops with the wider of two intervals: Wilson's, and a bootstrap over whole problems.

    Hops of one problem are not independent, and where all are right a bootstrap has no width.
    """
    from search.evaluator.intervals import clustered_mean, wilson

    clustered = clustered_mean(hops)
    assert clustered.low is not None and clustered.high is not None, "a bootstrap has both ends"  # noqa: PT018
    low, high = wilson(sum(map(sum, hops)), clustered.num_samples)
    low, high = min(low, clustered.low), max(high, clustered.high)
    return Measurement("accuracy", clustered.value, low, high, clustered.num_samples)


class Host:
    """Answers the calls. `sparse` hosts programs in turn; `dense` is vLLM's own backend."""

    def __init__(self, role: str) -> None:
        self.sparse = role == "sparse"
        self._engine: Engine | None = None
        self._probes: dict[tuple[str, int], ProbeTasks] = {}
        self._recordings: dict[tuple[str, int], list[Recording]] = {}
        self._served: dict[tuple[str, int], list[list[int]]] = {}
        self._answers: list[list[int]] = []
        self._served_program: tuple[str, Values] | None = None

    @property
    def engine(self) -> Engine:
        """The running engine; `start` must have been called."""
        if self._engine is None:
            raise RefusedError(Status.INFRASTRUCTURE, "the engine has not been started; call 'start' first")
        return self._engine

    def start(self, values: Sequence[Sequence[Any]] = (), **settings: Any) -> dict[str, Any]:
        """Start the engine and tell where it runs. values: of the program that it starts with, if any."""
        from search.evaluator.engine import Engine, EngineSettings
        from search.evaluator.identity import environment

        given = tuple((str(name), value) for name, value in values)
        self._engine = Engine(EngineSettings(sparse=self.sparse, values=given, **settings))
        if self._engine.settings.program:
            self._served_program = (self._engine.settings.program, given)
        return {"environment": asdict(environment()), "kv_tokens": self._engine.kv_tokens}

    def oracle(self, text: str, values: Sequence[Sequence[Any]], seed: int) -> dict[str, Any]:
        """Judge what this engine serves for the program, in caches of its own: the engine's are left alone."""
        from search.evaluator.oracle.check import check
        from search.evaluator.oracle.witness import Mismatch
        from vortex_dsl import Shape, trace
        from vortex_dsl.serving.config import ServingError

        program = _program(text, values)
        shape = self._shape()
        graph = trace(program, Shape(shape.group, shape.head_dim))
        try:
            verdict = check(program, graph, self.engine.llm.llm_engine.vllm_config, seed)
        except Mismatch as error:
            raise RefusedError(Status.WRONG_RESULT, str(error)) from error
        except ServingError as error:
            raise RefusedError(Status.UNSUPPORTED, str(error)) from error
        told = f"served by {'; '.join(verdict.served_by)}"
        return {"measurements": _plain(verdict.measurements), "message": told}

    def recall(
        self, text: str, values: Sequence[Sequence[Any]], workload: dict[str, Any], seed: int
    ) -> list[list[Any]]:
        """Measure the attention mass that the program keeps on queries, keys and values of this model."""
        from search.evaluator import recall
        from vortex_dsl import Shape, trace

        program = _program(text, values)
        shape = self._shape()
        graph = trace(program, Shape(shape.group, shape.head_dim))
        return _plain(recall.measure(graph, self._recorded(Workload(**workload), seed), seed))

    def probe(self, text: str, values: Sequence[Sequence[Any]], workload: dict[str, Any], seed: int) -> dict[str, Any]:
        """Answer the probe's problems and score every decoded hop."""
        tasks = self._tasks(Workload(**workload), seed)
        if self.sparse:
            self._swap(text, values)
        self._answers = []
        result = tasks.run(self._answer)
        measured = [_accuracy(result.hops)]
        measured += [Measurement(f"accuracy_{kind}", value) for kind, value in result.by_kind]
        if self.sparse:
            measured += self._pages_read()
        return {
            "measurements": _plain(measured),
            "correct": "".join("01"[c] for c in result.correct),
            "answers": digest_of(self._answers),
        }

    def serve_round(
        self,
        text: str,
        values: Sequence[Sequence[Any]],
        workload: dict[str, Any],
        seed: int,
        num_tokens: int = SERVE_TOKENS,
    ) -> dict[str, Any]:
        """Decode a fixed amount of work once and time its steps. `num_tokens`: of each answer."""
        if self.sparse:
            self._swap(text, values)
        prompts = self._prompts(Workload(**workload), seed)
        steps = self.engine.generate(prompts, num_tokens).decode_step_s
        if not steps:
            raise RefusedError(Status.INFRASTRUCTURE, "no step decoded all prompts at once: the KV cache is too small")
        answer: dict[str, Any] = {
            "elapsed_s": sum(steps),
            "num_tokens": len(steps) * len(prompts),
            "step_ms": [1000 * s for s in steps],
        }
        if self.sparse:
            self._check_sparse(len(prompts) * (num_tokens - 1))
            read = {m.name: m.value for m in self._pages_read()}
            answer |= {"pages_attended": read["pages_attended"], "pages_dense": read["pages_dense"]}
        return answer

    def _shape(self) -> ModelShape:
        """Give the shape of the engine's model."""
        from vortex_dsl.serving.shapes import shape_of

        return shape_of(self.engine.llm.llm_engine.vllm_config.model_config.hf_config)

    def _swap(self, text: str, values: Sequence[Sequence[Any]]) -> None:
        """Serve this program; where it is served already, its fields stand and only the counters start anew."""
        from vortex_dsl.serving.config import ServingError

        program = (text, tuple((str(name), value) for name, value in values))
        if program == self._served_program:
            self.engine.reset()
            return
        self._served_program = None
        try:
            self.engine.swap(*program)
        except ServingError as error:
            raise RefusedError(Status.UNSUPPORTED, str(error)) from error
        self._served_program = program

    def _answer(self, prompts: list[str], max_tokens: int) -> list[list[str]]:
        """Generate for lm-eval, and insist that every decoded token had a sparse read."""
        if self.sparse:
            self.engine.reset()
        generation = self.engine.generate(self.engine.encode(prompts), max_tokens)
        if self.sparse:
            self._check_sparse(len(prompts) * (max_tokens - 1))
        self._answers += generation.tokens
        return [self.engine.decode(tokens) for tokens in generation.tokens]

    def _check_sparse(self, num_decoded: int) -> None:
        """Raise unless at least one layer chose pages for every decoded token, and each layer decoded each token."""
        layers = self.engine.counters()
        ways = ("sparse_tokens", "dense_tokens", "window_tokens")
        odd = [i for i, c in enumerate(layers) if sum(c[way] for way in ways) != num_decoded]
        if odd or not any(c["sparse_tokens"] == num_decoded for c in layers):
            raise RefusedError(
                Status.NOT_SPARSE,
                f"{num_decoded} tokens were decoded, but the layers chose pages for "
                f"{[c['sparse_tokens'] for c in layers]} of them; lower dense_layers so that a layer is sparse",
            )

    def _pages_read(self) -> list[Measurement]:
        """Pages per decoded token and KV head in the layers that chose, beside what dense attention reads."""
        layers = [c for c in self.engine.counters() if c["sparse_tokens"]]
        reads = sum(c["sparse_tokens"] for c in layers) * self._shape().num_kv_heads
        return [
            Measurement("pages_attended", sum(c["pages_attended"] for c in layers) / reads, num_samples=reads),
            Measurement("pages_dense", sum(c["pages_dense"] for c in layers) / reads, num_samples=reads),
            Measurement("sparse_layers", len(layers)),
        ]

    def _tasks(self, workload: Workload, seed: int) -> ProbeTasks:
        """Build the probe's tasks once per workload and seed."""
        from search.evaluator.probe.problems import problems_of
        from search.evaluator.probe.tasks import ProbeTasks

        key = (workload.digest, seed)
        if key not in self._probes:
            self._probes[key] = ProbeTasks(problems_of(workload, seed))
        return self._probes[key]

    def _recorded(self, workload: Workload, seed: int) -> list[Recording]:
        """Record q, k and v of a few decode steps once, with every page attended."""
        from search.evaluator.engine import START
        from search.evaluator.probe import chains
        from search.evaluator.recall import recordings

        key = (workload.digest, seed)
        if key not in self._recordings:
            kind = chains.KINDS[0]
            problems = chains.make_problems(kind, workload.num_sequences, workload.num_tokens, seed, workload.split)
            self._swap(START.format(page_size=self.engine.settings.page_size), ())
            prompts = self.engine.encode([problem.prompt for problem in problems])
            self._recordings[key] = recordings(self.engine.record(prompts, RECORDED_STEPS))
        return self._recordings[key]

    def _prompts(self, workload: Workload, seed: int) -> list[list[int]]:
        """Give seeded random prompts, prefilled once: what they say does not matter for speed, their lengths do."""
        key = (workload.digest, seed)
        if key not in self._served:
            size = self.engine.llm.llm_engine.vllm_config.model_config.get_vocab_size()
            rng = random.Random(f"{seed}/{workload.split}")
            prompts = [
                [rng.randrange(4, size) for _ in range(workload.num_tokens)] for _ in range(workload.num_sequences)
            ]
            self.engine.generate(prompts, 2)
            if self.sparse:
                self.engine.reset()
            self._served[key] = prompts
        return self._served[key]


OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")
CALLS = ("start", "oracle", "recall", "probe", "serve_round")


def answer(host: Host, request: dict[str, Any]) -> dict[str, Any]:
    """Run one request; whatever a program does wrong becomes a status."""
    from vortex_dsl import ProgramError

    if request["call"] not in CALLS:
        return {"status": Status.INFRASTRUCTURE, "message": f"unknown call {request['call']!r}; known: {CALLS}"}
    call: Callable[..., Any] = getattr(host, request["call"])
    try:
        return {"result": call(**request["args"])}
    except ProgramError as error:
        return {"status": Status.PROGRAM_ERROR, "message": str(error)}
    except RefusedError as error:
        return {"status": error.status, "message": str(error)}
    except MemoryError as error:
        return {"status": Status.OUT_OF_MEMORY, "message": f"the engine ran out of memory: {error}"}
    except Exception as error:
        traceback.print_exc()
        starved = any(words in str(error).lower() for words in OUT_OF_MEMORY)
        status = Status.OUT_OF_MEMORY if starved else Status.CRASHED
        return {"status": status, "message": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Serve requests from stdin until it closes."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    host = Host(sys.argv[1])
    for line in sys.stdin:
        replies.write(json.dumps(answer(host, json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
