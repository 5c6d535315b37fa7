"""The Pareto front of each section, with what is told beside it: a ledger is not read whole for the few who lead it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select

from search.ranking.front import Front, front_of
from search.records import Choice
from search.store import models
from search.store.derived.tally import PROPOSED
from search.store.shown import board, sections

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

    from search.store.shown.sections import Section

    Conditions = Sequence[ColumnElement[bool]]

ROW, CANDIDATE = models.Standing, models.Candidate
ZOO = "zoo"  # the proposer of published rules
# What a rule is ranked by, each where it has none before; and what comes first.
LOSSES = ((ROW.kl, ROW.kl.asc()), (ROW.retrieval_loss, ROW.retrieval_loss.asc()), (ROW.accuracy, ROW.accuracy.desc()))
HAS_LOSS = or_(*(figure.is_not(None) for figure, _ in LOSSES))
HAS_FIGURE = or_(HAS_LOSS, ROW.recall.is_not(None), ROW.speedup.is_not(None))
IS_RULE = and_(~board.REFERENCE, ROW.status == "ok")
REFERENCES = b"\1"  # after the cost ratio, in the place of what is only a reference
MOST_PUBLISHED = 20_000  # candidates that are published rules
BATCH = 2000  # rows that are fetched at a time


@dataclass(slots=True)
class Ranked:
    """A row by what it may be beaten by: thousands are compared, so they are no rows of SQLAlchemy's."""

    id: int
    candidate_id: int
    confirmed: bool
    kl: float | None
    retrieval_loss: float | None
    accuracy: float | None
    speedup: float | None
    speedup_low: float | None
    modelled_speedup: float | None
    target: str


RANKED = tuple(getattr(ROW, each.name) for each in fields(Ranked))


def fronts(session: Session, campaign_id: int | None, choice: Choice, *, published: bool = False) -> list[Front]:
    """Give the front of every section, in the order of the leaderboard: see `search.contracts.Ledger`."""
    if choice.where or choice.sort:
        raise ValueError("A front is one of all rows of a section: no condition and no order chooses among them.")
    narrowed = _narrowed(choice)
    asked = _asked(session, campaign_id, narrowed)
    found = []
    for section in _chosen(session, campaign_id, choice):
        rows = _Rows(session, section, campaign_id, narrowed)
        first = session.execute(rows.select(ROW.place, ROW.id).order_by(ROW.place).limit(1)).one_or_none()
        if first is not None:
            found.append((first.place, rows.front(first.id, asked.get(section.key, (0, 0.0)), published=published)))
    return [front for _, front in sorted(found, key=lambda each: each[0])]


def of_sections(session: Session, campaign_id: int | None, choice: Choice) -> Iterator[tuple[Section, list[Ranked]]]:
    """Give of every section what `ranked` gives of it; `choice` may choose by ratio, model and device alone."""
    for section in _chosen(session, campaign_id, choice):
        yield section, ranked(session, section, campaign_id, _narrowed(choice))


def _chosen(session: Session, campaign_id: int | None, choice: Choice) -> list[Section]:
    mine = sections.of_campaign(sections.sections(session), campaign_id)
    return [each for each in mine if choice.ratio in (None, each.ratio)]


def _narrowed(choice: Choice) -> Conditions:
    return board.chosen(None, Choice(model=choice.model, device=choice.device))


def ranked(session: Session, section: Section, campaign: int | None = None, narrowed: Conditions = ()) -> list[Ranked]:
    """Give the rules of a section that have a loss and were not stopped, best first."""
    found: list[Ranked] = []
    for i, (figure, order) in enumerate(LOSSES):  # few rows have any, and an index for each knows them
        held = sections.held(session, section, campaign, figure.key)
        without = (each.is_(None) for each, _ in LOSSES[:i])
        query = select(*RANKED).where(*held, *narrowed, figure.is_not(None), *without, IS_RULE)
        read = session.execute(query.order_by(order, ROW.place), execution_options={"yield_per": BATCH})
        found += (Ranked(*each) for each in read)
    return found


def published_ids(session: Session, campaign: int | None = None) -> list[int]:
    """Give the candidates that are published rules, of one campaign or of all, read once in a session.

    No index finds them, but it is known how many there are, and they are the first steps of nearly every campaign.
    """
    kept = session.info.setdefault("published", {})
    if campaign not in kept:
        kept[campaign] = _published_ids(session, campaign)
    ids: list[int] = kept[campaign]
    return ids


def _published_ids(session: Session, campaign: int | None) -> list[int]:
    row = models.Tally
    numbers = select(row.campaign_id, row.number).where(row.kind == PROPOSED, row.name == ZOO)
    if campaign is not None:
        numbers = numbers.where(row.campaign_id == campaign)
    found: list[int] = []
    for each, number in session.execute(numbers).tuples().all():
        mine = CANDIDATE.campaign_id == each, CANDIDATE.proposer == ZOO, CANDIDATE.status == "ok"
        most = min(int(number), MOST_PUBLISHED - len(found))
        found += session.scalars(select(CANDIDATE.id).where(*mine).order_by(CANDIDATE.step).limit(most)).all()
    return found


@dataclass(frozen=True)
class _Rows:
    """Rows of a section: of one campaign or of all, and those that a model or a device narrows them to."""

    session: Session
    section: Section
    campaign: int | None
    narrowed: Conditions

    def select(self, *columns: Any, within: bytes = b"") -> Select[Any]:
        """Ask for rows by their places."""
        held = sections.held(self.session, self.section, self.campaign, within=within)
        return select(*columns).where(*held, *self.narrowed)

    def front(self, first: int, asked: tuple[int, float], *, published: bool) -> Front:
        """Put together what is told. `first`: the id of the first row; `asked`: see `_asked`."""
        rules = ranked(self.session, self.section, self.campaign, self.narrowed)
        members = [each.id for each in front_of(rules)]
        behind = self._behind(rules, set(members)) if published else []
        num_references, compared = self._references()
        ids = [first, *members, *behind, *compared]
        known = dict(zip(ids, board.of_ids(self.session, ids), strict=True))
        led, followed, beside = (tuple(known[each] for each in group) for group in (members, behind, compared))
        num_beaten, num_rules = len(rules) - len(members), self._num_rows() - num_references
        return Front(known[first], led, followed, beside, num_beaten, num_rules - len(rules), *asked)

    def _references(self) -> tuple[int, Sequence[int]]:
        """Give how many there are, and those that have a figure."""
        all_of_them = self.select(func.count(), within=REFERENCES).where(board.REFERENCE)
        known = self.select(ROW.id, within=REFERENCES).where(board.REFERENCE, HAS_FIGURE).order_by(ROW.place)
        return self._count(all_of_them), self.session.scalars(known).all()

    def _behind(self, rules: Sequence[Ranked], members: set[int]) -> list[int]:
        known = set(published_ids(self.session, self.campaign))
        beaten = (each for each in rules if each.id not in members)
        return [each.id for each in beaten if each.confirmed or each.candidate_id in known]

    def _num_rows(self) -> int:
        if not self.narrowed:
            return self.section.num_rows if self.campaign is None else self.section.num_rows_of(self.campaign)
        return self._count(select(func.count()).where(*self.section.holds(self.campaign), *self.narrowed))

    def _count(self, query: Select[Any]) -> int:
        return int(self.session.scalar(query) or 0)


def _asked(session: Session, campaign: int | None, narrowed: Conditions) -> dict[tuple[Any, ...], tuple[int, float]]:
    """Give by section how many of its programs an endpoint was asked for, and their dollars; nothing where none was."""
    # What is calculated, no index is used for: SQLite is to begin with the few who were asked, not with all rows.
    joined = CANDIDATE.id + 0 == ROW.candidate_id
    summed = select(*sections.COLUMNS, func.count(), func.sum(CANDIDATE.dollars)).join_from(CANDIDATE, ROW, joined)
    mine = [] if campaign is None else [CANDIDATE.campaign_id == campaign]
    found = session.execute(summed.where(board.IS_ASKED, *mine, *narrowed).group_by(*sections.COLUMNS))
    return {tuple(key): (int(number), float(dollars)) for *key, number, dollars in found}
