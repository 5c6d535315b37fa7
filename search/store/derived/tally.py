"""How far campaigns are, counted as it happens: a million rows are not read to be counted.

A write notes what it changes, and one statement at its end adds that up, in the same transaction and in the order of
the table's key, so that writers never wait for each other in a circle.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, delete, func, insert, literal, select, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from search.records import Status
from search.store import models, rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from search.records import Evaluation

ROW, EVALUATION, LINK, CANDIDATE = models.Tally, models.Evaluation, models.CandidateEvaluation, models.Candidate
# Kinds of counts, and what the name of one is.
REACHED = "reached"  # candidates by status: OK where one circumstance is, else the first of its rows' by name
MEASURED = "measured"  # ended evaluations, one for each candidate that asks for it: stage, split, ratio and status
RAN = "ran"  # ended evaluations that were not there before the campaign, each once: stage, split and ratio
TOOK = "took"  # seconds of workers in those: the same
SPENT = "spent"  # dollars by proposer
PROPOSED = "proposed"  # programs that were admitted, by proposer
BETWEEN = "/"  # the parts of a name
# Whether an evaluation ended after a campaign began, to which it was given otherwise.
IS_OURS = func.coalesce(EVALUATION.finished_at >= models.Campaign.created_at, true())
ASKING = (
    select(CANDIDATE.campaign_id, IS_OURS)
    .select_from(LINK)
    .join(CANDIDATE, CANDIDATE.id == LINK.candidate_id)
    .join(models.Campaign, models.Campaign.id == CANDIDATE.campaign_id)
    .join(EVALUATION, EVALUATION.id == LINK.evaluation_id)
    .where(LINK.evaluation_id == bindparam("evaluation"))
)
OTHER = aliased(CANDIDATE)
ASKING_TOO = ASKING.where(
    CANDIDATE.campaign_id == select(OTHER.campaign_id).where(OTHER.id == bindparam("candidate")).scalar_subquery()
)


@dataclass(frozen=True)
class Ended:
    """What is counted of an evaluation that has ended."""

    stage: str
    workload_digest: str
    status: str
    elapsed_s: float

    @classmethod
    def of(cls, row: Any) -> Ended:
        """Read a row of the table as it stands."""
        return cls(row.stage, row.workload_digest, row.status, row.elapsed_s)


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


def note_result(session: Session, evaluation: Evaluation, asking: Sequence[int]) -> None:
    """Note a result that has just been stored, for campaigns: each is named once for every candidate that asks."""
    key = evaluation.key
    ended = Ended(key.stage.value, key.workload_digest, evaluation.status.value, evaluation.elapsed_s)
    _note_ended(session, ended, asking, asking, 1)


def note_evaluation(session: Session, row: Any, sign: int) -> None:
    """Note that an evaluation, a row as it stands, has ended (1) or is free again (-1), for all who asked for it."""
    asking = session.connection().execute(ASKING, {"evaluation": row.id}).all()
    ours = [campaign_id for campaign_id, is_ours in asking if is_ours]
    _note_ended(session, Ended.of(row), [campaign_id for campaign_id, _ in asking], ours, sign)


def note_link(session: Session, candidate_id: int, row: models.Evaluation) -> None:
    """Note that a candidate asks for what has ended already."""
    given = {"evaluation": row.id, "candidate": candidate_id}
    (campaign_id, is_ours), *others = session.connection().execute(ASKING_TOO, given)
    _note_ended(session, Ended.of(row), [campaign_id], [campaign_id] if is_ours and not others else [], 1)


def _note_ended(session: Session, ended: Ended, asking: Iterable[int], ours: Iterable[int], sign: int) -> None:
    where = _where(session, ended.stage, ended.workload_digest)
    for campaign_id in asking:
        note(session, campaign_id, MEASURED, f"{where}{BETWEEN}{ended.status}", sign)
    for campaign_id in set(ours):
        note(session, campaign_id, RAN, where, sign)
        note(session, campaign_id, TOOK, where, sign * ended.elapsed_s)


def _where(session: Session, stage: str, workload_digest: str) -> str:
    asked = rows.Definitions.of(session).asked(session, workload_digest)
    return BETWEEN.join((stage, asked.split, str(asked.ratio)))


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
    session.info.pop("tally", None)
    session.execute(delete(ROW))
    columns = ["campaign_id", "kind", "name", "number"]
    for counted in (_reached(), _of_proposers(SPENT), _of_proposers(PROPOSED)):
        session.execute(insert(ROW).from_select(columns, counted))
    for campaign_id, stage, digest, status, num in session.execute(_measured()).all():
        note(session, campaign_id, MEASURED, f"{_where(session, stage, digest)}{BETWEEN}{status}", num)
    for campaign_id, stage, digest, num, seconds in session.execute(_ran()).all():
        note(session, campaign_id, RAN, _where(session, stage, digest), num)
        note(session, campaign_id, TOOK, _where(session, stage, digest), seconds)
    store(session)


def _reached() -> Any:
    row, candidate = models.Standing, models.Candidate
    status = func.coalesce(func.max(case((row.status == Status.OK, row.status))), func.min(row.status))
    best = select(row.candidate_id, status.label("status")).group_by(row.candidate_id).subquery()
    name = func.coalesce(best.c.status, candidate.status)
    counted = select(candidate.campaign_id, literal(REACHED), name, func.count())
    joined = counted.outerjoin_from(candidate, best, best.c.candidate_id == candidate.id)
    return joined.group_by(candidate.campaign_id, name)


def _measured() -> Any:
    divided = (CANDIDATE.campaign_id, EVALUATION.stage, EVALUATION.workload_digest, EVALUATION.status)
    return (
        select(*divided, func.count())
        .select_from(LINK)
        .join(CANDIDATE, CANDIDATE.id == LINK.candidate_id)
        .join(EVALUATION, EVALUATION.id == LINK.evaluation_id)
        .where(EVALUATION.status.is_not(None))
        .group_by(*divided)
    )


def _ran() -> Any:
    asked = select(CANDIDATE.campaign_id, LINK.evaluation_id).join(LINK, LINK.candidate_id == CANDIDATE.id)
    each = asked.distinct().subquery()
    divided = (each.c.campaign_id, EVALUATION.stage, EVALUATION.workload_digest)
    return (
        select(*divided, func.count(), func.sum(EVALUATION.elapsed_s))
        .join_from(each, EVALUATION, EVALUATION.id == each.c.evaluation_id)
        .join(models.Campaign, models.Campaign.id == each.c.campaign_id)
        .where(EVALUATION.status.is_not(None), IS_OURS)
        .group_by(*divided)
    )


def _of_proposers(kind: str) -> Any:
    row = models.Candidate
    number = func.sum(row.dollars if kind == SPENT else case((row.status == Status.OK, 1), else_=0))
    return select(row.campaign_id, literal(kind), row.proposer, number).group_by(row.campaign_id, row.proposer)
