"""Mixed load for half an hour: `python benchmarks/soak.py [--minutes 30]`.

One engine serves the probe model with a covering budget in float32 on CPU while requests arrive at random, are
cancelled, share prefixes, and press on a small KV cache until some are preempted; lengths run from 1 to 16K tokens.
Every few seconds the fields of all complete pages in use are computed anew and compared bit by bit. Afterwards vLLM's
own attention reads every finished answer (1,500 of them by lot) in one dense prefill, and each token must be its first
choice wherever that leads by more than 1e-3. `--dense` puts the same load on vLLM's own attention and judges nothing:
its memory tells how much of a growth is vLLM's. The report goes to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from array import array
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

if sys.path[0] == str(Path(__file__).parent):  # run as a file: `kernels` must not mean a file beside this one
    sys.path[0] = str(Path(__file__).parents[1])

from search.evaluator.probe import MODEL_FOLDER
from vortex_dsl import zoo

LENGTHS = (1, 7, 31, 32, 33, 200, 500, 1000, 2500, 6000, 16000)
WEIGHTS = (4, 4, 4, 4, 4, 10, 10, 8, 4, 1, 0.2)
MAX_TOKENS = 16384
ANSWER = 48
DTYPE = "float32"
MARGIN = 1e-3
CHECK_S = 5.0
MOST_JUDGED = 1500
WARM_S = 120.0  # memory is told from then on
TOLD_S = 60.0  # from one figure of memory to the next
GROWTH_MIB = 16  # more than this, over the last three quarters of what is told, is a failure
RESULTS = Path(__file__).parent / "results"


@dataclass
class Report:
    """What was seen."""

    finished: int = 0
    cancelled: int = 0
    preemptions: int = 0
    prefix_hits: int = 0
    pages_checked: int = 0
    stale_pages: int = 0
    memory_mib: list[int] = field(default_factory=list)
    answers: list[tuple[array[int], array[int]]] = field(default_factory=list)  # two bytes a token: we grow little

    @property
    def growth_mib(self) -> int:
        """Give how much memory grew after the first quarter of what was told."""
        told = self.memory_mib
        return told[-1] - told[len(told) // 4] if told else 0


def engine(sparse: bool, kv_cache_bytes: int) -> Any:
    """Start one engine in this process."""
    os.environ.update({"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR"})
    os.environ.update({"VLLM_PLUGINS": "vortex", "VORTEX_PLUGIN": "vortex", "OMP_NUM_THREADS": "1"})
    import vllm

    extra: dict[str, Any] = {}
    if sparse:
        program = {"program": zoo.text("quest"), "values": {"pages": 1024, "dense_layers": 0, "page_size": 32}}
        extra = {"attention_backend": "CUSTOM", "additional_config": {"vortex": program}}
    return vllm.LLM(
        model=str(MODEL_FOLDER), hf_overrides={"max_position_embeddings": MAX_TOKENS}, dtype=DTYPE,
        max_model_len=MAX_TOKENS, max_num_seqs=16,
        max_num_batched_tokens=1024, kv_cache_memory_bytes=kv_cache_bytes, enforce_eager=True,
        enable_prefix_caching=True, disable_log_stats=False, **extra,
    )  # fmt: skip


class Load:
    """Random arrivals and cancellations."""

    def __init__(self, llm: Any, seed: int) -> None:
        from vllm import SamplingParams

        self.llm, self.core, self.rng, self.report = llm, llm.llm_engine, random.Random(seed), Report()
        self.sampling = SamplingParams(temperature=0.0, max_tokens=ANSWER, ignore_eos=True, detokenize=False)
        self.prompts: dict[str, list[int]] = {}
        self.told: list[list[int]] = [[5, 6, 7]]
        self.number = 0

    def prompt(self) -> list[int]:
        """Draw a prompt; half of them begin like an earlier one."""
        length = self.rng.choices(LENGTHS, WEIGHTS)[0]
        earlier = self.rng.choice(self.told)[: self.rng.randrange(1, length + 1)] if self.rng.random() < 0.5 else []
        drawn = earlier + [self.rng.randrange(4, 570) for _ in range(length - len(earlier))]
        self.told = [*self.told[-50:], drawn]
        return drawn

    def step(self) -> None:
        """Let requests arrive or be cancelled, then run one engine step."""
        while len(self.prompts) < 12 and self.rng.random() < 0.6:
            name = str(self.number)
            self.number += 1
            self.prompts[name] = self.prompt()
            self.core.add_request(name, {"prompt_token_ids": self.prompts[name]}, self.sampling)
        if self.prompts and self.rng.random() < 0.01:
            name = self.rng.choice(list(self.prompts))
            self.core.abort_request([name])
            del self.prompts[name]
            self.report.cancelled += 1
        for output in self.core.step():
            if output.finished and output.request_id in self.prompts:
                texts = (self.prompts.pop(output.request_id), output.outputs[0].token_ids)
                self.report.answers.append(tuple(array("H", text) for text in texts))
                self.report.finished += 1


def check_fields(llm: Any, report: Report) -> None:
    """Compute the fields of all complete pages that the last step decoded over, and compare."""
    import torch

    context = llm.llm_engine.vllm_config.compilation_config.static_forward_context.values()
    for impl in (layer.impl for layer in context):
        decodes, pages = impl.last_decodes, impl.pages
        if decodes is None:
            continue
        complete = torch.arange(decodes.max_pages) < (decodes.lengths // decodes.page_size)[:, None]
        numbers = decodes.pages[complete].unique()
        batched, every = impl.rule.batched, torch.arange(len(numbers))
        packed = batched.summarize(pages.raw_keys(numbers), pages.raw_values(numbers))
        stale = torch.zeros(len(numbers), dtype=torch.bool)
        for field_ in batched.layout.fields:
            stored = pages.fields_of(batched.layout).load(field_.name, numbers)
            differ = stored.view(torch.int32) != field_.load(packed, every).view(torch.int32)
            stale |= differ.flatten(1).any(1)
        report.pages_checked += len(numbers)
        report.stale_pages += int(stale.sum())


def soak(minutes: float, seed: int, *, sparse: bool) -> Report:
    """Run the load."""
    llm = engine(sparse, kv_cache_bytes=40 << 20)
    load = Load(llm, seed)
    start = checked = time.monotonic()
    told = start + min(WARM_S, 30 * minutes)
    while time.monotonic() - start < 60 * minutes:
        load.step()
        if sparse and time.monotonic() - checked > CHECK_S:
            checked = time.monotonic()
            check_fields(llm, load.report)
        if time.monotonic() > told:
            told += TOLD_S
            load.report.memory_mib.append(resident_mib())
    metrics = {m.name: m.value for m in llm.get_metrics() if hasattr(m, "value")}
    load.report.preemptions = int(metrics["vllm:num_preemptions"])
    load.report.prefix_hits = int(metrics["vllm:prefix_cache_hits"])
    return load.report


def resident_mib() -> int:
    """Give this process's memory, without what is free and was not given back yet."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def judge(answers: list[tuple[list[int], list[int]]]) -> dict[str, int]:
    """Let vLLM's own attention read every answer: tokens, those within the margin, those that are wrong."""
    from vllm import SamplingParams

    llm = engine(sparse=False, kv_cache_bytes=320 << 20)
    sampling = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=2, detokenize=False)
    found = {"tokens": 0, "close": 0, "wrong": 0}
    texts = [{"prompt_token_ids": prompt + answer} for prompt, answer in answers]
    for (prompt, answer), output in zip(answers, llm.generate(texts, sampling, use_tqdm=False), strict=True):
        for token, logprobs in zip(answer, output.prompt_logprobs[len(prompt) :], strict=True):
            best, second = sorted((each.logprob for each in logprobs.values() if each.rank <= 2), reverse=True)[:2]
            found["tokens"] += 1
            close = best - second <= MARGIN
            found["close"] += close
            found["wrong"] += not close and logprobs[token].rank != 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dense", action="store_true", help="on vLLM's own attention")
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)  # a process of its own for the dense engine
    given = parser.parse_args()
    if given.judge:
        told = json.loads((given.judge / "answers.json").read_text())
        told = random.Random(given.seed).sample(told, min(len(told), MOST_JUDGED))
        (given.judge / "judged.json").write_text(json.dumps(judge(told)))
        return 0
    report = soak(given.minutes, given.seed, sparse=not given.dense)
    told = {key: value for key, value in vars(report).items() if key != "answers"}
    told["answers_mib"] = sum(len(text) * text.itemsize for pair in report.answers for text in pair) >> 20
    told["growth_mib"] = report.growth_mib - told["answers_mib"]
    if not given.dense:
        told |= judged(report)
    save(told | {"minutes": given.minutes, "seed": given.seed, "dense": given.dense})
    failed = report.stale_pages or told.get("wrong") or not report.preemptions or told["growth_mib"] > GROWTH_MIB
    return int(bool(failed))


def judged(report: Report) -> dict[str, int]:
    """Have the answers judged by a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "answers.json").write_text(json.dumps([[list(text) for text in pair] for pair in report.answers]))
        subprocess.run([sys.executable, __file__, "--judge", name], check=True)
        return json.loads((folder / "judged.json").read_text())


def save(told: dict[str, Any]) -> None:
    """Show the report, and keep it with what it depends on."""
    from search.evaluator.identity import environment

    RESULTS.mkdir(exist_ok=True)
    now = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    described = {name: str(value) for name, value in asdict(environment(DTYPE)).items()}
    text = json.dumps({"environment": described, "time": now, "report": told}, indent=1)
    (RESULTS / f"soak_{now}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
