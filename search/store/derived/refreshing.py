"""The leaderboard follows evaluations: a candidate's rows are written anew in the transaction that changes them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select

from search.archive.speeds import MODELLED
from search.records import Stage
from search.store import models, rows
from search.store.database import insert_new
from search.store.derived import tally
from search.store.derived.standing import IS_SHOWN, NAMES, summaries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from search.records import Evaluation

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
REMOVE = (
    delete(models.Standing)
    .where(models.Standing.candidate_id.in_(rows.IDS))
    .returning(models.Standing.candidate_id, models.Standing.status)
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
        # Sums, for which no index of candidates helps: SQLite would go through all of the campaign.
        models.Candidate.campaign_id + 0 == bindparam("campaign"),
        models.Candidate.id + 0 < bindparam("candidate"),
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


def refresh_linked(session: Session, evaluation_id: int) -> list[int]:
    """Write the standings of all candidates anew whose evaluation it is; gives the campaign of each of them."""
    locked = session.connection().execute(LOCK_LINKED, {"evaluation": evaluation_id}).all()
    _refresh(session, locked)
    return [each.campaign_id for each in locked]


def _refresh(session: Session, locked: Sequence[Any]) -> None:
    connection, ids = session.connection(), [each.id for each in locked]
    # Looked at after the locks: another stage of the same program may just have been finished elsewhere.
    listed: dict[int, list[str]] = defaultdict(list)
    for candidate_id, status in connection.execute(REMOVE, {"ids": ids}) if ids else ():
        listed[candidate_id].append(status)
    judged = _judged(session, sorted(listed)) if listed else {}
    written = []
    for each in locked:
        if each.id in listed:
            mine = judged.get(each.id, [])
            found = summaries(each, mine, _alike(session, each, mine))
            tally.note(session, each.campaign_id, tally.REACHED, tally.reached(listed[each.id]), -1)
            tally.note(session, each.campaign_id, tally.REACHED, tally.reached(row["status"] for row in found), 1)
            written += found
    if written:
        connection.execute(INSERT, written)


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
    return {candidate_id: rows.in_order(items) for candidate_id, items in found.items()}


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
