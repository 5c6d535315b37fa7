"""The leaderboard follows evaluations: a candidate's rows are written anew in the transaction that changes them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select

from search.records import Stage
from search.store import models, rows
from search.store.database import insert_new
from search.store.shown import tally
from search.store.standing import IS_SHOWN, MODELLED, NAMES, summaries
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from search.records import Evaluation

    Statuses = dict[int, list[str]]  # of a candidate's rows

BATCH = 500  # candidates whose rows are written anew at a time
SHOWN = rows.Reading(rows.IDS, IS_SHOWN)
# Built once: building them costs more than a database takes to answer.
LOCK = (
    select(models.Candidate.id, models.Candidate.campaign_id, models.Candidate.program_digest, models.Campaign.settings)
    .join(models.Campaign, models.Campaign.id == models.Candidate.campaign_id)
    .order_by(models.Candidate.id)
    .with_for_update(key_share=True, of=models.Candidate)
)
LOCK_THESE = LOCK.where(models.Candidate.id.in_(rows.IDS))
LINK = models.CandidateEvaluation
LOCK_LINKED = LOCK.join(LINK, LINK.candidate_id == models.Candidate.id).where(
    LINK.evaluation_id == bindparam("evaluation")
)
LISTED = (
    select(models.Standing.id)
    .where(
        models.Standing.campaign_id == bindparam("campaign_id"),
        models.Standing.program_digest == bindparam("program_digest"),
    )
    .limit(1)
)
FINISHED = (
    select(LINK.candidate_id, LINK.evaluation_id)
    .join(models.Evaluation, models.Evaluation.id == LINK.evaluation_id)
    .where(LINK.candidate_id.in_(rows.IDS), models.Evaluation.status.is_not(None))
)
ROW = models.Standing
STATUSES = select(ROW.candidate_id, ROW.status).where(ROW.candidate_id.in_(rows.IDS))
REMOVE = delete(ROW).where(ROW.candidate_id.in_(rows.IDS)).returning(ROW.candidate_id, ROW.status)
PLACE = models.CIRCUMSTANCE[2:]
# A result changes rows of its own circumstance, and those of programs as written, of which one may be empty.
REMOVE_AT = REMOVE.where(
    ROW.ratio.in_((0.0, bindparam("ratio"))),
    or_(
        ROW.environment_digest == "", and_(*(getattr(ROW, name) == bindparam(name) for name in models.CIRCUMSTANCE[2:]))
    ),
)
INSERT = insert(models.Standing)
ALIKE = (
    select(models.Evaluation.answers, func.min(models.Candidate.id))
    .join(models.CandidateEvaluation, models.CandidateEvaluation.evaluation_id == models.Evaluation.id)
    .join(models.Candidate, models.Candidate.id == models.CandidateEvaluation.candidate_id)
    .where(
        models.Evaluation.answers.in_(bindparam("answers", expanding=True)),
        models.Evaluation.workload_digest.in_(bindparam("workloads", expanding=True)),
        models.Evaluation.stage == Stage.SCREEN.value,
        models.Candidate.campaign_id == bindparam("campaign"),
        models.Candidate.id < bindparam("candidate"),
    )
    .group_by(models.Evaluation.answers)
)


class _Listed(NamedTuple):
    """A candidate as `LOCK` gives it."""

    id: int
    campaign_id: int
    program_digest: str
    settings: str


def admit(session: Session, candidate: models.Candidate, settings: str) -> None:
    """Put a new candidate of a campaign with these settings on the leaderboard, once per program and campaign."""
    where = {"campaign_id": candidate.campaign_id, "program_digest": candidate.program_digest}
    if session.connection().execute(LISTED, where).first() is None:
        listed = _Listed(candidate.id, candidate.campaign_id, candidate.program_digest or "", settings)
        (row,) = summaries(listed, (), {})
        insert_new(session, models.Standing, **row)


def refresh(session: Session, candidate_ids: Sequence[int]) -> None:
    """Write the standings of candidates anew. Candidates are locked in the order of their ids: none deadlock."""
    if candidate_ids:
        _refresh(session, session.connection().execute(LOCK_THESE, {"ids": candidate_ids}).all())


def refresh_linked(session: Session, evaluation_id: int, evaluation: Evaluation) -> list[int]:
    """Write what a result changes of all candidates whose it is; gives the campaign of each of them."""
    locked = session.connection().execute(LOCK_LINKED, {"evaluation": evaluation_id}).all()
    asked = rows.Definitions.of(session).asked(session, evaluation.key.workload_digest)
    is_a_part = asked.ratio and asked.split != HELD_OUT
    _refresh(session, locked, _Part(asked.ratio, *_where(evaluation)) if is_a_part else None)
    return [each.campaign_id for each in locked]


class _Part(NamedTuple):
    """The rows that a result at a cost ratio can change: the fields are columns of `models.Standing`."""

    ratio: float
    model_digest: str
    environment_digest: str
    evaluator_version: str

    def has(self, item: rows.Judged) -> bool:
        """Say whether an evaluation counts in them."""
        return item.evaluation.ratio in (0.0, self.ratio) and _where(item.evaluation) == self[1:]


def _where(evaluation: Evaluation) -> tuple[str, str, str]:
    key = evaluation.key
    return key.model_digest, key.environment_digest, key.evaluator_version


def _refresh(session: Session, locked: Sequence[Any], part: _Part | None = None) -> None:
    """Write rows of candidates anew, all of them or a part."""
    if not locked:
        return
    # Looked at after the locks: another stage of the same program may just have been finished elsewhere.
    removed, left = _removed(session, [each.id for each in locked], part)
    listed = sorted({*removed, *left})
    judged = _judged(session, listed) if listed else {}
    written = []
    for each in locked:
        if each.id in removed or each.id in left:
            mine = judged.get(each.id, [])
            counted = mine if part is None else [item for item in mine if part.has(item)]
            found = summaries(each, counted, _alike(session, each, mine))
            now = [*left[each.id], *(row["status"] for row in found)]
            tally.note(session, each.campaign_id, tally.REACHED, tally.reached(left[each.id] + removed[each.id]), -1)
            tally.note(session, each.campaign_id, tally.REACHED, tally.reached(now), 1)
            written += found
    if written:
        session.connection().execute(INSERT, written)


def _removed(session: Session, ids: Sequence[int], part: _Part | None) -> tuple[Statuses, Statuses]:
    """Remove rows; gives by candidate the statuses of those, and of the rows that are left."""
    connection = session.connection()
    given = {"ids": ids, **({} if part is None else part._asdict())}
    removed: Statuses = defaultdict(list)
    left: Statuses = defaultdict(list)
    for candidate_id, status in connection.execute(REMOVE if part is None else REMOVE_AT, given):
        removed[candidate_id].append(status)
    for candidate_id, status in () if part is None else connection.execute(STATUSES, {"ids": ids}):
        left[candidate_id].append(status)
    return removed, left


def note(session: Session, finished: rows.Finished, evaluation_id: int, evaluation: Evaluation) -> None:
    """Remember a result that has just been stored, as `SHOWN` would read it."""
    shown = (each for each in evaluation.measurements if each.name in NAMES or each.name.startswith(MODELLED))
    asked = rows.Definitions.of(session).asked(session, evaluation.key.workload_digest)
    taken = replace(evaluation, measurements=tuple(shown), ratio=asked.ratio)
    finished.add(evaluation_id, rows.judged(session, taken))


def _judged(session: Session, candidate_ids: Sequence[int]) -> dict[int, list[rows.Judged]]:
    """Give by candidate what is finished, in stage order: read again only where something of it is not remembered."""
    finished = rows.Finished.of(session)
    if finished is None:
        return SHOWN(session, ids=candidate_ids)
    found: dict[int, list[rows.Judged]] = defaultdict(list)
    for candidate_id, evaluation_id in session.connection().execute(FINISHED, {"ids": candidate_ids}):
        known = finished.get(evaluation_id)
        if known is None:
            return _read(session, candidate_ids, finished)
        found[candidate_id].append(known)
    return {candidate_id: sorted(items, key=rows.in_order) for candidate_id, items in found.items()}


def _read(session: Session, candidate_ids: Sequence[int], finished: rows.Finished) -> dict[int, list[rows.Judged]]:
    found = SHOWN.by_id(session, ids=candidate_ids)
    for evaluation_id, each in itertools.chain.from_iterable(found.values()):
        finished.add(evaluation_id, each)
    return rows.ordered(found)


def rebuild(session: Session) -> None:
    """Write the standings of every candidate anew: what a new version shows of old evaluations."""
    last = 0
    while True:
        row = models.Standing.candidate_id
        ids = session.scalars(select(row).where(row > last).distinct().order_by(row).limit(BATCH)).all()
        if not ids:
            return
        refresh(session, ids)
        session.expunge_all()
        last = ids[-1]


def _alike(session: Session, candidate: Any, judged: Sequence[rows.Judged]) -> dict[str, str]:
    """Name for each behaviour that a screen noted the first candidate of the campaign before it that has it too."""
    found = [item.evaluation for item in judged]
    went_on = {e.ratio for e in found if e.key.stage not in (Stage.CHECK, Stage.SCREEN)}
    screened = [e for e in found if e.key.stage is Stage.SCREEN and e.answers and e.ratio not in went_on]
    if not screened:
        return {}
    given = {
        "answers": [e.answers for e in screened],
        "workloads": [e.key.workload_digest for e in screened],
        "campaign": candidate.campaign_id,
        "candidate": candidate.id,
    }
    first = dict(session.connection().execute(ALIKE, given).all())
    if not first:
        return {}
    other = models.Candidate
    names = dict(session.execute(select(other.id, other.name).where(other.id.in_(first.values()))).tuples().all())
    return {answers: f"{names[each]} (id {each})" for answers, each in first.items()}
