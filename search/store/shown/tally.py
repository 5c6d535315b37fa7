"""How far campaigns are, counted as it happens: a million rows are not read to be counted.

A write notes what it changes, and one statement at its end adds that up, in the same transaction and in the order of
the table's key, so that writers never wait for each other in a circle.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, delete, func, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from search.records import Status
from search.store import models
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

ROW = models.Tally
# Kinds of counts, and what the name of one is.
REACHED = "reached"  # candidates by status: OK where one circumstance is, else the first of its rows' by name
MEASURED = "measured"  # finished evaluations of candidates, by stage and status; those that are held out aside
SPENT = "spent"  # dollars by proposer
PROPOSED = "proposed"  # programs that were admitted, by proposer
BETWEEN = "/"  # a stage and a status
ASKING = (
    select(models.Candidate.campaign_id)
    .join(models.CandidateEvaluation, models.CandidateEvaluation.candidate_id == models.Candidate.id)
    .join(models.Evaluation, models.Evaluation.id == models.CandidateEvaluation.evaluation_id)
    .join(models.Workload, models.Workload.digest == models.Evaluation.workload_digest)
    .where(models.Evaluation.id == bindparam("evaluation"), models.Workload.split != HELD_OUT)
)


def reached(statuses: Iterable[str]) -> str:
    """Give how far a candidate of these rows got."""
    found = set(statuses)
    return Status.OK.value if Status.OK in found else min(found)


def note(session: Session, campaign_id: int, kind: str, name: str, number: float) -> None:
    """Note a change in this transaction."""
    session.info.setdefault("tally", Counter())[campaign_id, kind, name] += number


def note_candidate(session: Session, row: models.Candidate) -> None:
    """Note a candidate that is new."""
    note(session, row.campaign_id, REACHED, row.status, 1)
    note(session, row.campaign_id, SPENT, row.proposer, row.dollars)
    note(session, row.campaign_id, PROPOSED, row.proposer, row.status == Status.OK)


def note_evaluation(session: Session, evaluation_id: int, stage: str, before: str | None, after: str | None) -> None:
    """Note that an evaluation has another status, for every campaign that asked for it; None while it has none."""
    if before != after:
        asking = session.connection().scalars(ASKING, {"evaluation": evaluation_id}).all()
        note_status(session, asking, stage, before, after)


def note_status(session: Session, asking: Iterable[int], stage: str, before: str | None, after: str | None) -> None:
    """Note the same for these campaigns, each of them once for every candidate that it asked for."""
    for campaign_id in asking:
        for status, sign in ((before, -1), (after, 1)):
            if status is not None:
                note(session, campaign_id, MEASURED, f"{stage}{BETWEEN}{status}", sign)


def note_link(session: Session, candidate_id: int, row: models.Evaluation) -> None:
    """Note that a candidate asks for what has a status already."""
    asked = session.get_one(models.Workload, row.workload_digest)
    if asked.split != HELD_OUT:
        campaign_id = session.get_one(models.Candidate, candidate_id).campaign_id
        note(session, campaign_id, MEASURED, f"{row.stage}{BETWEEN}{row.status}", 1)


def store(session: Session) -> None:
    """Add up what was noted."""
    noted = session.info.pop("tally", {})
    changes = [
        {"campaign_id": campaign_id, "kind": kind, "name": name, "number": number}
        for (campaign_id, kind, name), number in sorted(noted.items())
        if number
    ]
    if changes:
        connection = session.connection()
        connection.execute(_adding(connection.dialect.name), changes)


@cache
def _adding(dialect: str) -> Any:
    given: Any = (sqlite if dialect == "sqlite" else postgresql).insert(ROW)
    key = (ROW.campaign_id, ROW.kind, ROW.name)
    return given.on_conflict_do_update(index_elements=key, set_={"number": ROW.number + given.excluded.number})


def read(session: Session, campaign_id: int) -> dict[str, dict[str, float]]:
    """Give a campaign's counts by kind and name."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    asked = select(ROW.kind, ROW.name, ROW.number).where(ROW.campaign_id == campaign_id)
    for kind, name, number in session.execute(asked).tuples():
        found[kind][name] = number
    return found


def rebuild(session: Session) -> None:
    """Count everything anew: what an older version did not count."""
    session.execute(delete(ROW))
    columns = ["campaign_id", "kind", "name", "number"]
    for counted in (_reached(), _measured(), _of_proposers(SPENT), _of_proposers(PROPOSED)):
        session.execute(insert(ROW).from_select(columns, counted))


def _reached() -> Any:
    row, candidate = models.Standing, models.Candidate
    status = func.coalesce(func.max(case((row.status == Status.OK, row.status))), func.min(row.status))
    best = select(row.candidate_id, status.label("status")).group_by(row.candidate_id).subquery()
    name = func.coalesce(best.c.status, candidate.status)
    counted = select(candidate.campaign_id, literal(REACHED), name, func.count())
    joined = counted.outerjoin_from(candidate, best, best.c.candidate_id == candidate.id)
    return joined.group_by(candidate.campaign_id, name)


def _measured() -> Any:
    row, link, candidate = models.Evaluation, models.CandidateEvaluation, models.Candidate
    counted = select(candidate.campaign_id, literal(MEASURED), row.stage + BETWEEN + row.status, func.count())
    return (
        counted.select_from(link)
        .join(candidate, candidate.id == link.candidate_id)
        .join(row, row.id == link.evaluation_id)
        .join(models.Workload, models.Workload.digest == row.workload_digest)
        .where(row.status.is_not(None), models.Workload.split != HELD_OUT)
        .group_by(candidate.campaign_id, row.stage, row.status)
    )


def _of_proposers(kind: str) -> Any:
    row = models.Candidate
    number = func.sum(row.dollars if kind == SPENT else case((row.status == Status.OK, 1), else_=0))
    return select(row.campaign_id, literal(kind), row.proposer, number).group_by(row.campaign_id, row.proposer)
