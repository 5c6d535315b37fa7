"""What an exported wheel says of itself, as data: `exported.json`. Its runtime reads this, and so does verification."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.fit import Terms
    from search.records import Environment, Evaluation, Record, Workload

VERIFIED = (Stage.PROBE, Stage.SERVE)  # stages whose answers are recorded and can be asked again


@dataclass(frozen=True)
class Circumstances:
    """Where the exported numbers come from.

    `workload`: that by whose answers a wheel is verified; `terms`: the model's shape and the lengths that were judged;
    `workloads`: of every evaluation, by digest.
    """

    workload: Workload
    model: str
    environment: Environment
    terms: Terms
    workloads: Mapping[str, Workload]


def answered(record: Record, ratio: float | None = None) -> Evaluation | None:
    """Give the evaluation by whose recorded answers a wheel is verified, None where there is none."""
    done = (record.evaluation(stage, ratio) for stage in VERIFIED)
    return next((e for e in done if e is not None and e.status is Status.OK and e.answers), None)


def card_of(record: Record, circumstances: Circumstances) -> dict[str, Any]:
    """Give what the wheel says of itself: program, tunables, scores with intervals, where they were measured."""
    candidate, terms = record.candidate, circumstances.terms
    return {
        "name": candidate.name,
        "digest": candidate.program_digest,
        "text": candidate.proposal.text,
        "values": dict(candidate.proposal.values),
        "origin": f"{candidate.proposal.proposer}/{candidate.proposal.operator}",
        "parents": list(candidate.proposal.parents),
        "shape": {"group": terms.shape.group, "head_dim": terms.shape.head_dim},
        "num_layers": terms.num_layers,
        "lengths": list(terms.lengths),
        "ratio": circumstances.workload.ratio,
        "environment": asdict(circumstances.environment),
        "workload": asdict(circumstances.workload),
        "model": Path(circumstances.model).name,
        "runtime": version("vortex-search"),
        "evaluations": [_evaluation(each, circumstances.workloads) for each in record.evaluations],
    }


def _evaluation(evaluation: Evaluation, workloads: Mapping[str, Workload]) -> dict[str, Any]:
    workload = workloads[evaluation.key.workload_digest]
    return {
        "key": asdict(evaluation.key),
        "status": evaluation.status,
        "answers": evaluation.answers,
        "split": workload.split,
        "lengths": list(workload.all_lengths),
        "measurements": [asdict(m) for m in evaluation.measurements],
    }
