"""What was found, as files: one JSON object each, named by what it is about and when it was written."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.search.figures import gains, heights, pairs
from benchmarks.search.landscapes import Landscape
from benchmarks.search.problems import SEARCH
from benchmarks.search.runs import BASELINES, MIX
from search.evaluator.identity import EVALUATOR_VERSION, environment
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.search.problems import Selection
    from benchmarks.search.published import Published
    from benchmarks.search.runs import Judged, Run
    from benchmarks.search.trials import Asked, Skipped

LANDSCAPES = "landscapes"
DTYPE = "float32"  # in which figures are computed
FOLDER = Path(__file__).parents[1] / "results"


def of_selection(
    problem: Selection,
    asked: Asked,
    yardsticks: Mapping[float, Published],
    runs: Sequence[Run],
    skipped: Sequence[Skipped],
) -> dict[str, Any]:
    """Tell what searches chose on recorded or planted selection."""
    return _here() | {
        "problem": _described(problem),
        "asked": asdict(asked),
        "published": [_published(each) for each in yardsticks.values()],
        "gains": [asdict(each) for each in gains(runs, yardsticks)],
        "pairs": [asdict(each) for each in pairs(runs)],
        "best": [asdict(each) for each in _best(runs)],
        "skipped": [asdict(each) for each in skipped],
        "runs": _told(runs),
    }


def of_landscapes(asked: Asked, runs: Mapping[Landscape, Sequence[Run]]) -> dict[str, Any]:
    """Tell how high searches came on landscapes."""
    found = [
        heights(landscape.value, {method: reached(landscape, some, method) for method in asked.methods}, MIX, BASELINES)
        for landscape, some in runs.items()
    ]
    told = {landscape.value: _told(some) for landscape, some in runs.items()}
    return _here() | {"asked": asdict(asked), "heights": [asdict(each) for each in found], "runs": told}


def reached(landscape: Landscape, runs: Sequence[Run], method: str) -> list[float]:
    """Give how high each choice of a method really is, by seed; where cost is free, what the whole front dominates."""
    mine = [run for run in runs if run.method == method]
    return [run.volume if landscape is Landscape.TWO_OBJECTIVES else run.best[0].held_out for run in mine]


def _told(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [asdict(replace(run, best=tuple(map(_brief, run.best)))) for run in runs]


def _here() -> dict[str, Any]:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"measured_to": when, "environment": asdict(environment(DTYPE)), "evaluator_version": EVALUATOR_VERSION}


def _described(problem: Selection) -> dict[str, Any]:
    parts = {name: problem.parts[name] for name in (SEARCH, HELD_OUT)}
    told = {name: {"documents": part.documents, "layers": part.layers} for name, part in parts.items()}
    terms = problem.terms
    return {"name": problem.name, "digest": problem.digest, "lengths": terms.lengths, "layers": terms.num_layers} | told


def _published(found: Published) -> dict[str, Any]:
    rules = [asdict(_brief(rule)) for rule in found.rules]
    return {
        "ratio": found.ratio,
        "chosen": found.chosen.name,
        "hindsight": found.hindsight.name,
        "rules": rules,
        "unreached": found.unreached,
    }


def _best(runs: Sequence[Run]) -> list[Run]:
    """Give the run whose choice keeps most of what it saw, at each cost ratio: with its text."""
    found: dict[float, Run] = {}
    for run in runs:
        if run.ratio not in found or run.best[0].search > found[run.ratio].best[0].search:
            found[run.ratio] = run
    return [replace(run, best=run.best[:1]) for run in found.values()]


def _brief(rule: Judged) -> Judged:
    """Leave out the text, which would make files long."""
    return replace(rule, text="")


def write(about: str, found: Mapping[str, Any], folder: Path) -> Path:
    """Write a result into a file of its own."""
    folder.mkdir(exist_ok=True)
    path = folder / f"search_{about}_{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}.json"
    path.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    return path


def newest(about: str, folder: Path) -> dict[str, Any] | None:
    """Read the newest result about something, None where there is none."""
    paths = sorted(folder.glob(f"search_{about}_*.json"))
    return json.loads(paths[-1].read_text()) if paths else None
