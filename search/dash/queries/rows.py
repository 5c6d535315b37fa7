"""Rows of the leaderboard: chosen, ordered and cut off by the database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, null, or_, select, true

from search.ranking import conditions
from search.ranking.conditions import ConditionError
from search.ranking.front import front_of
from search.records import Choice
from search.store import models
from search.store.derived.place import at
from search.store.shown import board
from search.store.shown.fronts import IS_RULE, REFERENCES, ZOO, published_ids, ranked
from search.store.shown.sections import at_ratio, held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

    from search.ranking.standing import Standing
    from search.store.shown.fronts import Ranked
    from search.store.shown.sections import Section

ROW, CANDIDATE, SOURCE, REMARK = models.Standing, models.Candidate, models.Source, models.Remark
FOUND, PUBLISHED, REFERENCE = "found", "published", "reference"
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
MOST_COUNTED = 10_000  # rows: where a filter leaves more, nobody waits for their number


@dataclass(frozen=True)
class Asked:
    """Which rows of a section, and in which order. What is empty chooses all.

    `origin`: `FOUND`, `PUBLISHED`, `REFERENCE` or a proposer's name; `field`: of `FIELDS`; `task`: of `TASKS`;
    `search`: in names, ideas, ids and digests; `where` and `sort`: see `search.ranking.conditions`.
    """

    campaign: int | None = None
    origin: str = ""
    field: str = ""
    task: str = ""
    tag: str = ""
    search: str = ""
    where: str = ""
    sort: str = ""


@dataclass(frozen=True)
class Page:
    """Some rows in order; by its own id the row before which the page before ends, and the one the next follows."""

    standings: tuple[Standing, ...]
    previous: int | None = None
    next: int | None = None


def page(
    session: Session, section: Section, asked: Asked, limit: int, *, after: int | None = None, before: int | None = None
) -> Page:
    """Give rows that are asked for: the first, or those after or before a row, which costs the same anywhere.

    Raises ConditionError.
    """
    beside = after if before is None else before
    mark = None if beside is None else _mark(session, asked.sort, beside)
    ids, is_more = _ids(session, section, asked, mark, limit, is_back=before is not None)
    if before is not None and not is_more:  # the first page, whole
        return page(session, section, asked, limit)
    if before is not None:
        ids.reverse()
    has_previous, has_next = (is_more, True) if before is not None else (after is not None, is_more)
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    found = tuple(board.of_ids(session, ids))
    return Page(found, first if has_previous else None, last if has_next else None)


def count(session: Session, section: Section, asked: Asked) -> int | None:
    """Count the rows that are asked for; None for more than `MOST_COUNTED`. Raises ConditionError."""
    if asked == Asked(asked.campaign, sort=asked.sort):
        return section.num_rows if asked.campaign is None else section.num_rows_of(asked.campaign)
    some = _chosen(session, select(ROW.id), section, replace(asked, sort="")).limit(MOST_COUNTED + 1)
    number = session.scalar(select(func.count()).select_from(some.subquery())) or 0
    return number if number <= MOST_COUNTED else None


def front(session: Session, section: Section, campaign: int | None = None) -> list[Ranked]:
    """Give the rows that none in the section beats, best first; of one campaign's or of all."""
    return front_of(ranked(session, section, campaign))


def best(session: Session, section: Section, field: str, asked: Asked, limit: int) -> list[Standing]:
    """Give the best rules by a figure that they have, best first."""
    chosen = _chosen(session, select(ROW.id), section, replace(asked, sort=field))
    figure, is_falling = _figure(field)
    known = chosen.where(IS_RULE, figure.is_not(None)).order_by(
        figure.desc() if is_falling else figure.asc(), ROW.place
    )
    return board.of_ids(session, session.scalars(known.limit(limit)).all())


@dataclass(frozen=True)
class _Mark:
    """Where a row stands: its place, and the figure by which rows are sorted."""

    place: bytes
    figure: Any


def _mark(session: Session, sort: str, row: int) -> _Mark:
    figure = _figure(sort)[0] if sort else null()
    query = select(ROW.place, figure).join(CANDIDATE, CANDIDATE.id == ROW.candidate_id)
    query = query.join(models.Campaign, models.Campaign.id == ROW.campaign_id).where(ROW.id == row)
    found = session.execute(query).one_or_none()
    if found is None:
        raise ConditionError(f"there is no row {row} of the leaderboard to go on from")
    return _Mark(*found)


def _ids(
    session: Session, section: Section, asked: Asked, mark: _Mark | None, limit: int, *, is_back: bool
) -> tuple[list[int], bool]:
    """Give the rows' own ids, in the order in which they are read, and whether there are more."""
    found: list[int] = []
    for where, order in _stretches(section, asked.sort, mark, is_back=is_back):
        left = limit + 1 - len(found)
        if left > 0:
            query = _chosen(session, select(ROW.id), section, asked).where(*where).order_by(*order)
            found += session.scalars(query.limit(left))
    return found[:limit], len(found) > limit


def _stretches(
    section: Section, sort: str, mark: _Mark | None, *, is_back: bool
) -> Iterator[tuple[list[Any], list[Any]]]:
    """Give conditions and order of rows that follow each other: those with the figure, then those without.

    So an index does for both, whatever a database holds of NULL.
    """
    place = ROW.place.desc() if is_back else ROW.place.asc()
    beyond = true() if mark is None else ROW.place < mark.place if is_back else ROW.place > mark.place
    if not sort:
        yield [beyond], [place]
        return
    figure, is_falling = _figure(sort)
    order = [figure.desc() if is_falling != is_back else figure.asc(), place]
    is_unknown = mark is not None and mark.figure is None
    further: ColumnElement[bool] = true()
    if mark is not None and not is_unknown:
        less = figure < mark.figure if is_falling != is_back else figure > mark.figure
        further = or_(less, and_(figure == mark.figure, beyond))
    known = [figure.is_not(None), further], order
    unknown = [figure.is_(None), at_ratio(section), beyond if is_unknown else true()], [place]
    stretches = [known, unknown] if sort.removeprefix("-") in board.NULLABLE else [known]
    if is_back:
        stretches.reverse()
    yield from stretches[-1:] if mark is not None and is_unknown != is_back else stretches


def _figure(sort: str) -> tuple[Any, bool]:
    """Give what rows are sorted by, and whether the greatest come first. Raises ConditionError."""
    name, is_falling = conditions.order_of(sort)
    return board.EXPRESSIONS[name] if name in board.EXPRESSIONS else getattr(ROW, name), is_falling


def _chosen(session: Session, query: Select[Any], section: Section, asked: Asked) -> Select[Any]:
    is_listed = bool(asked.tag) or asked.origin == PUBLISHED
    own = held(session, section, asked.campaign, asked.sort, is_listed=is_listed)
    query = query.where(*own, *board.chosen(None, Choice(where=asked.where)))
    if asked.origin or asked.search or asked.field or asked.where or asked.sort:
        query = query.join(CANDIDATE, CANDIDATE.id == ROW.candidate_id)
    if asked.where or asked.sort:
        query = query.join(models.Campaign, models.Campaign.id == ROW.campaign_id)
    if asked.origin:
        query = query.where(*_origin(session, asked.origin, section.ratio))
    if asked.task:
        query = query.where(TASKS[asked.task])
    if asked.field:
        query = query.join(SOURCE, SOURCE.digest == CANDIDATE.source_digest).where(_field(asked.field))
    if asked.tag:
        tagged = select(REMARK.candidate_id).where(REMARK.kind == "tag", REMARK.text == asked.tag)
        query = query.where(ROW.candidate_id.in_(tagged))
    if asked.search:
        query = query.where(_search(asked.search))
    return query


def _origin(session: Session, origin: str, ratio: float) -> list[ColumnElement[bool]]:
    if origin == REFERENCE:
        return [board.REFERENCE, ROW.place >= at(ratio) + REFERENCES]
    if origin == PUBLISHED:
        return [~board.REFERENCE, ROW.candidate_id.in_(published_ids(session))]
    return [~board.REFERENCE, CANDIDATE.proposer != ZOO] if origin == FOUND else [CANDIDATE.proposer == origin]


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
