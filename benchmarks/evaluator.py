"""What the evaluator's cheap stages say about the dear ones: `python -m benchmarks.evaluator --model FOLDER`.

Every published rule runs through recall, and through the stages whose order recall should foretell, at a budget fitted
to each declared cost ratio. Printed, and written to benchmarks/results/ with device, dtype and versions:

* speed: seconds of recall for one program by one worker, and programs an hour by all cores;
* agreement: how far a program's figures at the judged steps are from those at every recorded step, and from those on
  keys and values rounded to bfloat16, which is eight times coarser than what is kept;
* correlation: Spearman's and Kendall's coefficients of each of recall's figures with each loss over the rules at equal
  cost, with bootstrap intervals of 95 % over rules. The figure that foretells best is what should gate.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr

if sys.path[0] == str(Path(__file__).parent):  # run as a file: `kernels` must not mean a file beside this one
    sys.path[0] = str(Path(__file__).parents[1])

from search.evaluator.arms import WorkerSettings
from search.evaluator.engine import EngineSettings
from search.evaluator.identity import EVALUATOR_VERSION
from search.evaluator.models import model_facts, model_folder
from search.evaluator.recall import figures, recordings
from search.evaluator.worker import Worker
from search.records import Evaluation, EvaluationKey, EvaluationTask, Stage, Status, Workload, digest_of
from vortex_dsl import Shape, load_program, trace, zoo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESULTS = Path(__file__).parent / "results"
REFERENCES = ("dense", "oracle_mass", "oracle_max", "random_pages")  # told, but no rules to be ranked
PREDICTORS = {"recall": 1, "mass": 1, "output_error": -1}  # sign: more of it is better or worse
LOSSES = {Stage.FIDELITY: "kl", Stage.RETRIEVAL: "loss"}
AGREEING = ("quest", "centroid", "sparq", "step_reuse", "ema", "sign_keys", "two_stage", "shadowkv", "streaming")
NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class Judged:
    """A rule with its budget, and what each stage said."""

    name: str
    ratio: float
    evaluations: dict[Stage, Evaluation]

    def value(self, stage: Stage, name: str) -> float | None:
        found = self.evaluations.get(stage)
        return found.value(name) if found and found.status is Status.OK else None


def workloads(lengths: tuple[int, ...], stages: Sequence[Stage]) -> list[Workload]:
    longest, asked = max(lengths), (max(lengths) // 4, max(lengths) // 2)
    every = (
        Workload(Stage.RECALL, longest, 4 * len(lengths), lengths=lengths),
        Workload(Stage.FIDELITY, longest, 2 * len(lengths), lengths=lengths, num_decoded=32),
        Workload(Stage.RETRIEVAL, max(asked), 24, lengths=asked),
    )
    return [workload for workload in every if workload.stage in stages]


def values_at(name: str, ratio: float, pages: int, judge: Judge) -> tuple[tuple[str, Any], ...] | None:
    """Give a rule's values at a cost ratio (at so many pages where it is 0), None where it cannot reach it."""
    program = load_program(zoo.text(name))
    if not ratio:
        return (("pages", pages),) if "pages" in program.values else ()
    from search.fit import Terms, fit

    fitted = fit(zoo.text(name), (), Terms(Shape(*judge.shape), judge.num_layers, judge.lengths), ratio)
    return None if fitted.refusal else fitted.values


class Judge:
    """One worker with what its tasks have in common."""

    def __init__(self, folder: Path, lengths: tuple[int, ...], scratch: Path) -> None:
        facts = model_facts(folder)
        self.shape, self.lengths, self.digest = (facts.group, facts.head_dim), lengths, facts.digest
        self.num_layers = facts.num_layers
        engine = EngineSettings(str(folder), sparse=True, max_tokens=max(lengths) + 192, kv_cache_bytes=2 << 30)
        self.worker = Worker(WorkerSettings(engine, scratch, self.shape))

    def run(self, name: str, values: tuple[tuple[str, Any], ...], workload: Workload) -> Evaluation:
        text = zoo.text(name)
        parts = (digest_of([name, values]), workload.stage, workload.digest, self.digest, "", EVALUATOR_VERSION, 0)
        return self.worker.run(EvaluationTask(EvaluationKey(*parts), text, values, workload))


def judged(judge: Judge, ratio: float, pages: int, stages: Sequence[Stage]) -> list[Judged]:
    """Run every published rule through the stages, stage by stage, so that an engine's cache serves all of them."""
    fitted = {name: values_at(name, ratio, pages, judge) for name in zoo.names()}
    found: dict[str, dict[Stage, Evaluation]] = {name: {} for name, values in fitted.items() if values is not None}
    for workload in workloads(judge.lengths, stages):
        for name, evaluations in found.items():
            values = fitted[name]
            assert values is not None
            done = judge.run(name, values, replace(workload, ratio=ratio))
            evaluations[workload.stage] = done
            told = " ".join(f"{m.name}={m.value:.3f}" for m in done.measurements[:7])
            print(
                f"{workload.stage:9} {ratio:4g} {name:18} {done.elapsed_s:6.2f} s  {told or done.message}", flush=True
            )
    return [Judged(name, ratio, evaluations) for name, evaluations in found.items()]


def speed(rules: Sequence[Judged]) -> dict[str, float]:
    """Leave out the first, which waits for recording."""
    seconds = sorted(rule.evaluations[Stage.RECALL].elapsed_s for rule in rules[1:] if Stage.RECALL in rule.evaluations)
    mean, cores = float(np.mean(seconds)), os.cpu_count() or 1
    return {"mean_s": mean, "median_s": float(np.median(seconds)), "programs_per_hour": 3600 * cores / mean}


def correlations(rules: Sequence[Judged]) -> list[dict[str, Any]]:
    """Correlate each figure of recall with each loss, over the rules that have both."""
    rows = []
    ranked = [rule for rule in rules if rule.name not in REFERENCES]
    for stage, loss in LOSSES.items():
        for figure, sign in PREDICTORS.items():
            both = [(rule.value(Stage.RECALL, figure), rule.value(stage, loss)) for rule in ranked]
            pairs = np.array([(-sign * a, b) for a, b in both if a is not None and b is not None])
            if len(pairs) < 3:
                continue
            row: dict[str, Any] = {"figure": figure, "with": f"{stage}.{loss}", "num_rules": len(pairs)}
            for kind, of in (("spearman", spearmanr), ("kendall", kendalltau)):
                row[kind], row[f"{kind}_low"], row[f"{kind}_high"] = _with_interval(pairs, of)
            rows.append(row)
    return rows


def _with_interval(pairs: np.ndarray, of: Callable[..., Any]) -> tuple[float, float, float]:
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(pairs), (NUM_RESAMPLES, len(pairs)))
    found = [of(*pairs[draw].T).statistic for draw in draws]
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(of(*pairs.T).statistic), float(low), float(high)


def agreement(file: Path, pages: int) -> dict[str, dict[str, float]]:
    """Say how far figures are at most, over some rules, from those of all steps and of coarser numbers."""
    kept = recordings.load(file)
    rough = tuple(replace(each, k=each.k.bfloat16(), v=each.v.bfloat16()) for each in kept.by_length)
    usual = _figures(figures.Asking(kept), pages)
    others = {
        "every step": lambda: figures.Asking(kept, judged_every=1),
        "bfloat16": lambda: figures.Asking(replace(kept, by_length=rough)),
    }
    found = {}
    for what, asking in others.items():
        other = _figures(asking(), pages)
        found[what] = {
            name: max(abs(usual[rule][name] - other[rule][name]) for rule in AGREEING) for name in PREDICTORS
        }
        for name in PREDICTORS:
            both = ([each[rule][name] for rule in AGREEING] for each in (usual, other))
            found[what][f"spearman of {name}"] = float(spearmanr(*both).statistic)
    return found


def _figures(asking: figures.Asking, pages: int) -> dict[str, dict[str, float]]:
    found = {}
    for name in AGREEING:
        program = load_program(zoo.text(name))
        program = program.with_values(pages=pages) if "pages" in program.values else program
        graph = trace(program, Shape(asking.group, asking.head_dim))
        found[name] = {m.name: m.value for m in figures.measure(graph, asking)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="a folder, or a name that `vortex model` knows")
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 2000, 4000], help="tokens of texts")
    parser.add_argument("--ratios", type=float, nargs="+", default=[8.0, 16.0], help="cost ratios; 0: at --pages")
    parser.add_argument("--pages", type=int, default=8, help="of rules that are judged at no ratio")
    parser.add_argument("--stages", nargs="+", default=["recall", "fidelity", "retrieval"], type=Stage)
    parser.add_argument("--scratch", type=Path, default=Path.home() / ".cache" / "vortex-search" / "benchmarks")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = model_folder(given.model)
    judge = Judge(folder, tuple(given.lengths), given.scratch)
    try:
        rules = [rule for ratio in given.ratios for rule in judged(judge, ratio, given.pages, given.stages)]
    finally:
        judge.worker.close()
    newest = max((given.scratch / "recordings").glob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    result = {
        "environment": asdict(judge.worker.environment()), "load": os.getloadavg()[0], "model": folder.name,
        "model_digest": judge.digest, "lengths": given.lengths, "speed": speed(rules),
        "agreement": agreement(newest, given.pages),
        "correlations": {f"{ratio:g}": correlations([rule for rule in rules if rule.ratio == ratio])
                         for ratio in given.ratios},
        "rules": [{"name": rule.name, "ratio": rule.ratio,
                   **{stage.value: {m.name: m.value for m in done.measurements if "_layer_" not in m.name}
                      or {"status": done.status, "message": done.message}
                      for stage, done in rule.evaluations.items()}} for rule in rules],
    }  # fmt: skip
    print(json.dumps({name: result[name] for name in ("speed", "agreement", "correlations")}, indent=1))
    given.out.mkdir(exist_ok=True)
    path = given.out / f"evaluator_{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
