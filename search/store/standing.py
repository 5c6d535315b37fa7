"""The leaderboard: a summary of each candidate, computed from its evaluations, and the order of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Select, select

from search.records import Evaluation, Measurement, Stage, Standing, Status
from search.store import models, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

# Numbers count where the program behaved, however good it is: what cheated or crashed has none.
MEASURED = (Status.OK, Status.BELOW_GATE)
HELD_OUT = "held_out"


def refresh(session: Session, candidate_ids: Sequence[int]) -> None:
    """Write the standings of candidates anew. Rows are locked in the order of their ids, so that none deadlock."""
    if not candidate_ids:
        return
    chosen = models.Standing.candidate_id.in_(candidate_ids)
    query = select(models.Standing).where(chosen).order_by(models.Standing.candidate_id)
    standings = session.scalars(query.with_for_update(key_share=True)).all()
    # Read after the locks: another stage of the same program may just have been finished elsewhere.
    judged = rows.judged(session, [standing.candidate_id for standing in standings])
    for standing in standings:
        summarize(standing, judged.get(standing.candidate_id, []))


def summarize(standing: models.Standing, judged: Sequence[rows.Judged]) -> None:
    """Fill a standing from a candidate's finished evaluations, given in stage order."""
    search = [item for item in judged if item.split != HELD_OUT]
    found = [item.evaluation for item in search]
    confirming = [item.evaluation for item in judged if item.split == HELD_OUT]
    standing.status = found[-1].status if found else Status.OK
    standing.device = search[-1].device if search else ""
    standing.accuracy, standing.accuracy_low, standing.accuracy_high = _interval(found, Stage.PROBE, "accuracy")
    standing.speedup, standing.speedup_low, standing.speedup_high = _interval(found, Stage.SERVE, "speedup")
    standing.recall, _, _ = _interval(found, Stage.RECALL, "recall")
    standing.bytes_per_page, _, _ = _interval(found, Stage.CHECK, "bytes_per_page")
    standing.pages_attended = _first_of(found, (Stage.PROBE, Stage.SERVE), "pages_attended")
    _confirm(standing, confirming)


def _confirm(standing: models.Standing, confirming: Sequence[Evaluation]) -> None:
    accuracy, low, high = _interval(confirming, Stage.PROBE, "accuracy")
    standing.confirmed = accuracy is not None
    standing.confirmed_accuracy, standing.confirmed_accuracy_low, standing.confirmed_accuracy_high = accuracy, low, high


def _taken(evaluations: Sequence[Evaluation], stage: Stage, name: str) -> Measurement | None:
    """Give a stage's number, from its first evaluation that has it."""
    named = (e.measurement(name) for e in evaluations if e.key.stage is stage and e.status in MEASURED)
    return next((measurement for measurement in named if measurement), None)


def _interval(
    evaluations: Sequence[Evaluation], stage: Stage, name: str
) -> tuple[float | None, float | None, float | None]:
    taken = _taken(evaluations, stage, name)
    return (taken.value, taken.low, taken.high) if taken else (None, None, None)


def _first_of(evaluations: Sequence[Evaluation], stages: Sequence[Stage], name: str) -> float | None:
    taken = (_taken(evaluations, stage, name) for stage in stages)
    return next((measurement.value for measurement in taken if measurement), None)


def best_first(campaign_id: int | None, limit: int | None) -> Select[models.Standing, models.Candidate, str]:
    """Give the query for the leaderboard, one campaign's or everybody's."""
    row = models.Standing
    query = (
        select(row, models.Candidate, models.Campaign.model)
        .join(models.Candidate, models.Candidate.id == row.candidate_id)
        .join(models.Campaign, models.Campaign.id == row.campaign_id)
        .order_by(
            row.accuracy.desc().nulls_last(),
            row.speedup.desc().nulls_last(),
            row.bytes_per_page.asc().nulls_last(),
            row.candidate_id,
        )
        .limit(limit)
    )
    return query if campaign_id is None else query.where(row.campaign_id == campaign_id)


def standing(row: models.Standing, candidate: models.Candidate, model: str) -> Standing:
    """Read a row of the leaderboard."""
    return Standing(
        id=row.candidate_id,
        name=candidate.name,
        digest=row.program_digest,
        origin=f"{candidate.proposer}/{candidate.operator}",
        parents=tuple(candidate.parents),
        accuracy=row.accuracy,
        accuracy_low=row.accuracy_low,
        accuracy_high=row.accuracy_high,
        recall=row.recall,
        speedup=row.speedup,
        speedup_low=row.speedup_low,
        speedup_high=row.speedup_high,
        pages_attended=row.pages_attended,
        bytes_per_page=row.bytes_per_page,
        device=row.device,
        model=model,
        status=row.status,
        confirmed=row.confirmed,
        confirmed_accuracy=row.confirmed_accuracy,
        confirmed_accuracy_low=row.confirmed_accuracy_low,
        confirmed_accuracy_high=row.confirmed_accuracy_high,
    )
