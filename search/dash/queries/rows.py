"""Rows of the leaderboard: chosen, ordered and cut off by the database."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, func, or_, select

from search.ranking.front import front_of
from search.records import Choice
from search.store import models
from search.store.shown import board

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

    from search.dash.queries.sections import Section
    from search.ranking.standing import Standing

ROW, CANDIDATE, SOURCE, REMARK = models.Standing, models.Candidate, models.Source, models.Remark
ZOO = "zoo"  # the proposer of published rules
FOUND, PUBLISHED, REFERENCE = "found", "published", "reference"
ORIGINS = (FOUND, PUBLISHED, REFERENCE)
# Which stage gave a figure, by what people call the task.
TASKS: dict[str, ColumnElement[bool]] = {
    "recall": ROW.recall.is_not(None),
    "fidelity": ROW.kl.is_not(None),
    "retrieval": ROW.retrieval_loss.is_not(None),
    "probe": ROW.accuracy.is_not(None),
    "lm-eval task": ROW.task_loss.is_not(None),
    "speed": ROW.speedup.is_not(None),
    "confirmed": ROW.confirmed.is_(True),
}
# What a program keeps for each page, told from its text.
FIELDS = {
    "mean": (".mean('token'", '.mean("token"'),
    "max or min": (".max('token'", '.max("token"', ".min('token'", '.min("token"'),
    "fp8": ("'fp8_e4m3'", '"fp8_e4m3"'),
    "int8": ("'int8'", '"int8"'),
    "int4": ("'int4'", '"int4"'),
    "sign": ("'sign'", '"sign"'),
    "nothing": (),
}
HAS_LOSS = or_(ROW.kl.is_not(None), ROW.retrieval_loss.is_not(None), ROW.accuracy.is_not(None))
IS_RULE = and_(~board.REFERENCE, ROW.status == "ok", HAS_LOSS)
MOST_RANKED = 40_000  # rows among which a front is looked for


@dataclass(slots=True)
class Ranked:
    """A row by what it may be beaten by: thousands are compared, so they are no rows of SQLAlchemy's."""

    id: int
    candidate_id: int
    kl: float | None
    retrieval_loss: float | None
    accuracy: float | None
    speedup: float | None
    speedup_low: float | None
    modelled_speedup: float | None
    target: str


RANKED = tuple(getattr(ROW, each.name) for each in fields(Ranked))


@dataclass(frozen=True)
class Asked:
    """Which rows of a section, and in which order. What is empty chooses all.

    `origin`: one of `ORIGINS` or a proposer's name; `field`: of `FIELDS`; `task`: of `TASKS`; `search`: in names,
    ideas, ids and digests; `where` and `sort`: see `search.ranking.conditions`.
    """

    campaign: int | None = None
    origin: str = ""
    field: str = ""
    task: str = ""
    tag: str = ""
    search: str = ""
    where: str = ""
    sort: str = ""


def count(session: Session, section: Section, asked: Asked) -> int:
    """Count the rows that are asked for. Raises ConditionError."""
    return session.scalar(_chosen(select(func.count(ROW.id)), section, asked)) or 0


def page(session: Session, section: Section, asked: Asked, offset: int, limit: int) -> list[Standing]:
    """Give some of the rows that are asked for, in order. Raises ConditionError."""
    ids = _chosen(select(ROW.id), section, asked).order_by(*board.order(asked.sort)).offset(offset).limit(limit)
    return board.of_ids(session, session.scalars(ids).all())


def front(session: Session, section: Section, campaign: int | None = None) -> list[Ranked]:
    """Give the rows that none in the section beats, by KL; of one campaign's or of all.

    Of more than `MOST_RANKED` the best by KL are compared.
    """
    ranked = select(*RANKED).where(*section.holds(campaign), IS_RULE).order_by(ROW.kl.asc().nulls_last(), ROW.id)
    return front_of([Ranked(*each) for each in session.execute(ranked.limit(MOST_RANKED))])


def best(session: Session, section: Section, field: str, asked: Asked, limit: int) -> list[Standing]:
    """Give the best rules by a figure that they have, best first."""
    chosen = _chosen(select(ROW.id), section, replace(asked, sort=field))
    known = chosen.where(~board.REFERENCE, ROW.status == "ok", getattr(ROW, field).is_not(None))
    return board.of_ids(session, session.scalars(known.order_by(*board.order(field)).limit(limit)).all())


def _chosen(query: Select[Any], section: Section, asked: Asked) -> Select[Any]:
    query = query.where(*section.holds(asked.campaign), *board.chosen(None, Choice(where=asked.where)))
    if asked.origin or asked.search or asked.field or asked.where or asked.sort:
        query = query.join(CANDIDATE, CANDIDATE.id == ROW.candidate_id)
    if asked.where or asked.sort:
        query = query.join(models.Campaign, models.Campaign.id == ROW.campaign_id)
    if asked.origin:
        query = query.where(_origin(asked.origin))
    if asked.task:
        query = query.where(TASKS[asked.task])
    if asked.field:
        query = query.join(SOURCE, SOURCE.digest == CANDIDATE.source_digest).where(_field(asked.field))
    if asked.tag:
        mine = REMARK.candidate_id == ROW.candidate_id
        query = query.where(exists().where(mine, REMARK.kind == "tag", REMARK.text == asked.tag))
    if asked.search:
        query = query.where(_search(asked.search))
    return query


def _origin(origin: str) -> ColumnElement[bool]:
    if origin == REFERENCE:
        return board.REFERENCE
    if origin in (FOUND, PUBLISHED):
        return and_(~board.REFERENCE, CANDIDATE.proposer == ZOO if origin == PUBLISHED else CANDIDATE.proposer != ZOO)
    return CANDIDATE.proposer == origin


def _field(name: str) -> ColumnElement[bool]:
    told = FIELDS[name]
    if not told:
        return ~SOURCE.text.contains("def summarize", autoescape=True)
    return or_(*(SOURCE.text.contains(each, autoescape=True) for each in told))


def _search(text: str) -> ColumnElement[bool]:
    said = text.lower()
    found: list[ColumnElement[bool]] = [
        func.lower(CANDIDATE.name).contains(said, autoescape=True),
        func.lower(CANDIDATE.rationale).contains(said, autoescape=True),
        ROW.program_digest.startswith(text, autoescape=True),
    ]
    if text.isdecimal() and text.isascii() and len(text) < 18:
        found.append(ROW.candidate_id == int(text))
    return or_(*found)
