"""Candidates with what was measured and said of them: all of a campaign, some of its steps, or one by its name."""

from __future__ import annotations

import itertools
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, func, select

from search.behaviour import Sketched
from search.records import Record, Stage, Status
from search.store import entries, models, rows
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import InstrumentedAttribute, Session

    from search.records import Evaluation

MAX_DIGITS = 18  # of an id: more would not fit 64 bits
MOST_NAMED = 5  # digests that a beginning may mean
BEYOND = "\U0010ffff"  # sorts behind whatever a digest goes on with
ALL = range(2**62)
MOST_STEPS = 2000  # at a time: beside the records themselves, what they are made from takes as much memory
UNREAD = ("source_digest", "created_at", "conversation")  # by a record
STEPS = and_(
    models.Candidate.campaign_id == bindparam("campaign"),
    models.Candidate.step >= bindparam("first"),
    models.Candidate.step < bindparam("end"),
)
OF_STEPS = rows.Reading(select(models.Candidate.id).where(STEPS))
IS_NOTED = and_(
    models.Evaluation.stage == Stage.SCREEN.value,
    models.Evaluation.status.is_not(None),
    models.Evaluation.answers != "",
)
# Columns alone: objects of SQLAlchemy's own, which only a change needs, take longer to make than ours.
TEXTS = (
    select(*(column for name, column in models.Candidate.__table__.columns.items() if name not in UNREAD))
    .add_columns(models.Source.text)
    .join(models.Source, models.Source.digest == models.Candidate.source_digest)
    .where(STEPS)
    .order_by(models.Candidate.step)
)
# Neither texts nor measurements: of two hundred candidates they would be most of what is read.
SCREENS = (
    select(models.Candidate.id, models.Candidate.step, models.Candidate.name, *rows.READ)
    .join(models.CandidateEvaluation, models.CandidateEvaluation.candidate_id == models.Candidate.id)
    .join(models.Evaluation, models.Evaluation.id == models.CandidateEvaluation.evaluation_id)
    .where(STEPS, IS_NOTED)
    .order_by(models.Candidate.step, models.Evaluation.id)
)


def selected() -> Select[models.Candidate, str]:
    """Give the query for candidates, each with its text."""
    source = models.Source
    return select(models.Candidate, source.text).join(source, source.digest == models.Candidate.source_digest)


def of_step(session: Session, campaign_id: int, step: int) -> tuple[models.Candidate, str]:
    """Give the candidate of a step, which is there, with its text."""
    row, text = session.execute(OF_STEP, {"campaign": campaign_id, "step": step}).one()
    return row, text


def written(session: Session, candidate_id: int) -> entries.Written:
    """Give what was written beside a candidate's program."""
    return entries.read(session, models.Candidate.id == candidate_id).get(candidate_id, entries.NOTHING)


OF_STEP = selected().where(
    models.Candidate.campaign_id == bindparam("campaign"), models.Candidate.step == bindparam("step")
)


def records(session: Session, campaign_id: int, steps: range) -> list[Record]:
    """Give the candidates of consecutive steps of a campaign, with their evaluations but never the held-out ones."""
    if len(steps) <= MOST_STEPS:
        return _records(session, campaign_id, steps)
    row = models.Candidate
    last = session.scalar(select(func.max(row.step)).where(row.campaign_id == campaign_id))
    end = 0 if last is None else min(steps.stop, last + 1)
    parts = (range(first, min(first + MOST_STEPS, end)) for first in range(steps.start, end, MOST_STEPS))
    return [record for part in parts for record in _records(session, campaign_id, part)]


def _records(session: Session, campaign_id: int, steps: range) -> list[Record]:
    given = {"campaign": campaign_id, "first": steps.start, "end": steps.stop}
    with rows.UNCOLLECTED:
        judged = OF_STEPS(session, **given)
        mine = STEPS.params(given)
        said = entries.read(session, mine)
        found = session.connection().execute(TEXTS, given).all()
        return [
            Record(
                rows.candidate(row, row.text, said.get(row.id, entries.NOTHING)),
                tuple(each.evaluation for each in judged.get(row.id, ()) if each.split != HELD_OUT),
            )
            for row in found
        ]


def step_of(session: Session, campaign_id: int, digest: str) -> int | None:
    """Give the first step of a campaign whose program has this digest, None where none has."""
    row = models.Candidate
    return session.scalar(
        select(func.min(row.step)).where(row.campaign_id == campaign_id, row.program_digest == digest)
    )


def sketched(session: Session, campaign_id: int, steps: range) -> list[Sketched]:
    """Give those candidates of consecutive steps of whose behaviour a screen noted something, in step order."""
    found = session.connection().execute(SCREENS, {"campaign": campaign_id, "first": steps.start, "end": steps.stop})
    return [
        Sketched(number, step, name, tuple(_noted(session, row) for row in noted))
        for (number, step, name), noted in itertools.groupby(found, itemgetter(0, 1, 2))
    ]


def _noted(session: Session, row: Any) -> Evaluation:
    return rows.evaluation(row, (), rows.Definitions.of(session).asked(session, row.workload_digest).ratio)


def record(session: Session, candidate_id: int) -> Record | None:
    """Give one candidate with all that was measured and said of it, None where there is none."""
    query = selected().add_columns(models.Candidate.conversation).where(models.Candidate.id == candidate_id)
    found = session.execute(query).one_or_none()
    if found is None:
        return None
    judged = rows.OF_CANDIDATES(session, ids=[candidate_id]).get(candidate_id, [])
    row, text, conversation = found
    said = written(session, candidate_id)
    return Record(rows.candidate(row, text, said, conversation), tuple(each.evaluation for each in judged))


def find(session: Session, name: str) -> Record:
    """Give a candidate by its id or by the beginning of a digest: see `search.contracts.Ledger`. Raises LookupError."""
    if name.isdecimal() and len(name) < MAX_DIGITS and (found := record(session, int(name))) is not None:
        return found
    known = _newest(session, models.Candidate.program_digest, name)
    if len(set(known.values())) != 1:
        known = _newest(session, models.Evaluation.program_digest, name) | known
    if len(set(known.values())) != 1:
        several = f"several programs' digests begin with {name!r}: {', '.join(sorted(known)[:MOST_NAMED])}"
        raise LookupError(several if known else f"there is no candidate {name!r}")
    found = record(session, next(iter(known.values())))
    assert found is not None, "this transaction has just seen it"
    return found


def _newest(session: Session, digest: InstrumentedAttribute[Any], beginning: str) -> dict[str, int]:
    """Give the first digests that begin so, each with the newest candidate admitted with it or measured as it."""
    candidate, link = models.Candidate, models.CandidateEvaluation
    query = select(digest, func.max(candidate.id)).select_from(candidate)
    if digest.class_ is models.Evaluation:
        query = query.join(link, link.candidate_id == candidate.id)
        query = query.join(models.Evaluation, models.Evaluation.id == link.evaluation_id)
    chosen = query.where(_begins(session, digest, beginning), candidate.status == Status.OK)
    return dict(session.execute(chosen.group_by(digest).order_by(digest).limit(MOST_NAMED + 1)).tuples().all())


def _begins(session: Session, digest: InstrumentedAttribute[Any], beginning: str) -> ColumnElement[bool]:
    """Say that a digest begins so, in words for which an index helps: digests are ordered by bytes."""
    if session.get_bind().dialect.name == "sqlite":  # its LIKE takes "A" for "a", and no index
        return and_(digest >= beginning, digest < beginning + BEYOND)
    return digest.startswith(beginning, autoescape=True)
