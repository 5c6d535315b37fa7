"""What was found, as files: one JSON object each, named by what it is about and when it was written."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.evaluator.campaign import RANDOM, Entry, Origin
from benchmarks.evaluator.correlations import FIGURES, LOSSES, correlations
from benchmarks.evaluator.pace import funnel, rates
from benchmarks.evaluator.precision import precisions
from search.agents.seeds import Seeds
from search.evaluator.identity import environment
from search.parents import REFERENCE
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.evaluator.agreement import Agreement
    from benchmarks.evaluator.campaign import Told
    from benchmarks.evaluator.twice import Twice
    from search.records import Candidate

DTYPE = "float32"  # in which figures are computed
FOLDER = Path(__file__).parents[1] / "results"
CAMPAIGN, TWICE, AGREEMENT = "campaign", "twice", "agreement"  # what a file may be about


def of_campaign(told: Told, workers: int) -> dict[str, Any]:
    """Compute all that a campaign's rows tell."""
    times = [(each.begun_s, each.evaluation.elapsed_s) for each in told.entries if each.begun_s is not None]
    return {
        "measured_from": _date(min((begun_s for begun_s, _ in times), default=0.0)),
        "measured_to": _date(max((begun_s + elapsed_s for begun_s, elapsed_s in times), default=0.0)),
        "environment": asdict(told.environment),
        "evaluator_version": told.evaluator_version,
        "model": Path(told.model).name,  # where it lies on a machine is nobody's business
        "model_digest": told.model_digest,
        "campaign": {"id": told.id, "seed": told.seed, "ratios": told.ratios, "lengths": dict(told.lengths)},
        "workers": workers,
        "num_elsewhere": told.num_elsewhere,
        "candidates": _counted(told.candidates),
        "correlations": [asdict(each) for each in correlations(told.searched)],
        "precision": [asdict(each) for each in precisions(told.entries)],
        "rates": [asdict(each) for each in rates(told.searched, workers, told.ratios)],
        "funnel": [asdict(each) for each in funnel(told.entries)],
        "rules": _rules(told.searched),
    }


def of_twice(found: Twice) -> dict[str, Any]:
    """Tell what two evaluation seeds said."""
    return {"measured_to": _date(time.time())} | asdict(found)


def of_agreement(found: Sequence[Agreement]) -> dict[str, Any]:
    """Tell how far recall's figures are from more faithful ones."""
    here = {"measured_to": _date(time.time()), "environment": asdict(environment(DTYPE))}
    return here | {"agreement": [asdict(each) for each in found]}


def write(about: str, found: dict[str, Any], folder: Path) -> Path:
    """Write a result into a file of its own."""
    folder.mkdir(exist_ok=True)
    path = folder / f"evaluator_{about}_{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}.json"
    path.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    return path


def newest(about: str, folder: Path) -> dict[str, Any] | None:
    """Read the newest result about something, None where there is none."""
    paths = sorted(folder.glob(f"evaluator_{about}_*.json"))
    return json.loads(paths[-1].read_text()) if paths else None


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _counted(candidates: Sequence[Candidate]) -> dict[str, int]:
    """Count candidates by whom they are by, and those that were refused by why."""
    admitted = [each for each in candidates if each.status is Status.OK]
    refused = Counter(f"refused: {each.status.value}" for each in candidates if each.status is not Status.OK)
    return {"proposed": len(candidates)} | dict(Counter(map(_by_whom, admitted))) | dict(refused)


def _by_whom(candidate: Candidate) -> str:
    if candidate.proposal.operator == REFERENCE or candidate.name == RANDOM:
        return Origin.REFERENCE.value
    return (Origin.PUBLISHED if candidate.proposal.proposer == Seeds.name else Origin.FOUND).value


def _rules(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Give what the correlations are computed from: each published rule's figures at each cost ratio."""
    names = {Stage.RECALL: tuple(FIGURES)} | {stage: (loss,) for stage, loss in LOSSES.items()}
    found: dict[tuple[str, float], dict[str, Any]] = defaultdict(dict)
    for entry in entries:
        if entry.origin is Origin.PUBLISHED and entry.stage in names and entry.evaluation.status is Status.OK:
            figures = {f"{entry.stage.value}.{name}": entry.evaluation.value(name) for name in names[entry.stage]}
            found[entry.name, entry.ratio] |= figures
    return [{"name": name, "ratio": ratio} | figures for (name, ratio), figures in sorted(found.items())]
