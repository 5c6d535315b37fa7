"""The probe as lm-eval tasks: one local `generate_until` task for each kind of chain, scored hop by hop.

lm-eval builds the requests, calls the model and gathers the metrics; nothing is downloaded. The tasks are built once,
so that judging one more program costs its generation and some milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

from search.evaluator.probe.chains import Problem, score
from search.evaluator.tasks.harness import DECODED_OUTPUT, evaluate, generating_model, quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lm_eval.api.task import ConfigurableTask

    Generate = Callable[[list[str], int], list[list[str]]]  # prompts, max_tokens -> emitted tokens of each

SPLIT = "test"


@dataclass(frozen=True)
class ProbeResult:
    """What came of one pass over the problems.

    `hops` holds one tuple of right and wrong scored hops for each problem, in the problems' order; `accuracy` is
    lm-eval's own mean for each kind.
    """

    hops: tuple[tuple[bool, ...], ...]
    kinds: tuple[str, ...]  # of each problem
    by_kind: tuple[tuple[str, float], ...]

    @property
    def correct(self) -> tuple[bool, ...]:
        """All scored hops, problem after problem: the unit of paired comparison."""
        return tuple(hop for hops in self.hops for hop in hops)

    @property
    def num_scored(self) -> int:
        """How many hops were judged."""
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        """The share of scored hops that are right."""
        return sum(self.correct) / self.num_scored


class ProbeTasks:
    """A fixed set of problems as lm-eval tasks, to be run for one program after another."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Order the problems by kind, each kind in its given order. Raises ValueError where there is none."""
        given = list(problems)
        kinds = list(dict.fromkeys(problem.kind for problem in given))
        self.problems = tuple(sorted(given, key=lambda problem: kinds.index(problem.kind)))
        if not self.problems:
            raise ValueError("no probe problems were given: make some with chains.make_problems")

    @cached_property
    def tasks(self) -> dict[str, ConfigurableTask]:
        """The lm-eval task of each kind."""
        with quiet():
            return {kind: _make_task(kind, list(group)) for kind, group in groupby(self.problems, lambda p: p.kind)}

    def run(self, generate: Generate) -> ProbeResult:
        """Answer every problem in one call of `generate` and score it.

        `generate(prompts, max_tokens)` gives each prompt's emitted tokens in order, greedily decoded.
        """
        report = evaluate(generating_model(lambda requests: _answers(generate, requests)), self.tasks)
        hops = tuple(
            tuple(sample["hops"])
            for kind in self.tasks
            for sample in sorted(report["samples"][kind], key=lambda sample: sample["doc_id"])
        )
        by_kind = tuple((kind, float(report["results"][kind]["hop_accuracy,none"])) for kind in self.tasks)
        return ProbeResult(hops, tuple(problem.kind for problem in self.problems), by_kind)


def _make_task(kind: str, problems: Sequence[Problem]) -> ConfigurableTask:
    """Give the lm-eval task of one kind, its documents made in memory."""
    from lm_eval.api.task import ConfigurableTask

    def process_results(doc: dict[str, Any], results: list[list[str]]) -> dict[str, Any]:
        hops = score(problems[doc["index"]], results[0])
        return {"hop_accuracy": sum(hops) / len(hops), "hops": hops}

    return ConfigurableTask(
        config={
            "task": kind,
            "custom_dataset": lambda **_: {SPLIT: _make_documents(problems)},
            "test_split": SPLIT,
            "output_type": DECODED_OUTPUT,
            "doc_to_text": "{{prompt}}",
            "doc_to_target": "{{chain}}",
            "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": _num_hops(problems)},
            "process_results": process_results,
            "metric_list": [
                {"metric": "hop_accuracy", "aggregation": "mean", "higher_is_better": True},
                {"metric": "hops", "aggregation": _flat_mean, "higher_is_better": True},
            ],
            "metadata": {"version": 1},
        }
    )


def _make_documents(problems: Sequence[Problem]) -> Any:
    from datasets import Dataset

    rows = [{"index": i, "prompt": p.prompt, "chain": " ".join(p.chain)} for i, p in enumerate(problems)]
    return Dataset.from_list(rows)


def _num_hops(problems: Sequence[Problem]) -> int:
    return max(problem.num_hops for problem in problems)


def _flat_mean(items: list[list[bool]]) -> float:
    flat = [hop for hops in items for hop in hops]
    return sum(flat) / len(flat)


def _answers(generate: Generate, requests: list[Any]) -> list[list[str]]:
    """Answer lm-eval's requests in one call."""
    prompts = [request.args[0] for request in requests]
    return generate(prompts, max(request.args[1]["max_gen_toks"] for request in requests))
