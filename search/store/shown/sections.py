"""Sections: rows that may be compared, and how many there are of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, func, select

from search.records import digest_of
from search.store import models
from search.store.derived.place import BEYOND, at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

ROW = models.Standing
COLUMNS = tuple(getattr(ROW, name) for name in models.SECTION)
DIVIDED = (*COLUMNS, ROW.campaign_id)  # what an index begins with
MOST_SORTED = 2000  # rows of a section that are sooner sorted than found among others


@dataclass(frozen=True)
class Section:
    """Rows of one circumstance and one workload: see `search.ranking.front.Section`.

    `key`: the values of `models.SECTION`. `campaigns`: which have rows in it, each with how many, and how many of those
    were judged by decoding (they have a KL).
    """

    key: tuple[Any, ...]
    campaigns: tuple[tuple[int, int, int], ...]
    model: str
    device: str
    dtype: str

    @property
    def ratio(self) -> float:
        """The cost ratio, 0 for programs as written."""
        return float(self.key[-1])

    @property
    def lengths(self) -> str:
        """The lengths of texts, as people write them."""
        return ", ".join(f"{int(n):,}" for n in self.key[-2].split(",") if n)

    @property
    def evaluator(self) -> str:
        """The evaluator's version."""
        return str(self.key[3])

    @property
    def is_measured(self) -> bool:
        """Say whether anything was measured in it anywhere."""
        return bool(self.key[2])

    @property
    def slug(self) -> str:
        """A short name for URLs."""
        return digest_of(list(self.key))[:10]

    @property
    def place(self) -> str:
        """A short name of what sections of other cost ratios share with it."""
        return digest_of(list(self.key[:-1]))[:10]

    @property
    def num_rows(self) -> int:
        """How many rows it has."""
        return sum(number for _, number, _ in self.campaigns)

    @property
    def num_judged(self) -> int:
        """How many of them have a KL."""
        return sum(number for *_, number in self.campaigns)

    def num_rows_of(self, campaign: int) -> int:
        """How many of its rows are a campaign's."""
        return sum(number for each, number, _ in self.campaigns if each == campaign)

    def num_judged_of(self, campaign: int) -> int:
        """How many of these have a KL."""
        return sum(number for each, _, number in self.campaigns if each == campaign)

    @property
    def where(self) -> str:
        """Name the place: without it no figure means anything."""
        if not self.is_measured:
            return f"{self.model}: nothing measured yet"
        lengths = f"{self.lengths} tokens" if self.lengths else "lengths of their own"
        device = f"{self.device or 'unknown device'}, {self.dtype or 'unknown dtype'} [{self.key[2][:6]}]"
        return (
            f"{self.model} ({self.key[1][:6]}) · {device} · {lengths} · evaluator {self.evaluator} · {self.key[0][:6]}"
        )

    def holds(self, campaign: int | None = None) -> list[ColumnElement[bool]]:
        """Give the conditions for its rows, those of one campaign or of all."""
        mine = [column == value for column, value in zip(COLUMNS, self.key, strict=True)]
        return mine if campaign is None else [*mine, ROW.campaign_id == campaign]

    def hidden(self, campaign: int | None = None) -> list[ColumnElement[bool]]:
        """Give the same conditions as expressions for which no index serves."""
        mine = [(_hidden(column) == value) for column, value in zip(COLUMNS, self.key, strict=True)]
        return mine if campaign is None else [*mine, _hidden(ROW.campaign_id) == campaign]


def _hidden(column: Any) -> Any:
    return column.concat("") if isinstance(column.type, Text) else column + 0


def sections(session: Session, most: int | None = None) -> list[Section]:
    """Give all sections: those of the newest campaign first, then who has most that was judged.

    `most`: of how many sections and campaigns they are at most.
    """
    divided: dict[tuple[Any, ...], list[tuple[int, int, int]]] = {}
    for *key, campaign in itertools.islice(_keys(session), most):
        held = (column == value for column, value in zip(DIVIDED, (*key, campaign), strict=True))
        num_rows, num_judged = session.execute(select(func.count(), func.count(ROW.kl)).where(*held)).one()
        divided.setdefault(tuple(key), []).append((campaign, num_rows, num_judged))
    found = [Section(key, tuple(each), *_told(session, key)) for key, each in divided.items()]
    return sorted(found, key=_first)


def _keys(session: Session) -> Iterator[tuple[Any, ...]]:
    """Give what rows are divided by, and the campaign: each from the one before, by steps of an index."""
    found = session.execute(select(*DIVIDED).order_by(*DIVIDED).limit(1)).one_or_none()
    while found is not None:
        yield (key := tuple(found))
        steps = (_behind(session, key, place) for place in reversed(range(len(DIVIDED))))
        found = next((each for each in steps if each is not None), None)


def _behind(session: Session, key: tuple[Any, ...], place: int) -> Any:
    """Give the next that is the same up to a column, and greater there. SQLite seeks no whole rows in an index."""
    same = (column == value for column, value in zip(DIVIDED[:place], key[:place], strict=True))
    beyond = select(*DIVIDED).where(*same, DIVIDED[place] > key[place])
    return session.execute(beyond.order_by(*DIVIDED[place:]).limit(1)).one_or_none()


def _told(session: Session, key: tuple[Any, ...]) -> tuple[str, str, str]:
    """Give model, device and dtype, which rows of one section share."""
    one = (
        select(models.Campaign.model, ROW.device, ROW.dtype)
        .join(models.Campaign, models.Campaign.id == ROW.campaign_id)
        .where(*(column == value for column, value in zip(COLUMNS, key, strict=True)))
        .limit(1)
    )
    return tuple(session.execute(one).one())  # type: ignore[return-value]


def _first(section: Section) -> tuple[Any, ...]:
    newest = max(campaign for campaign, *_ in section.campaigns)
    return (not section.is_measured, not section.ratio, -newest, -section.num_judged, -section.num_rows, section.slug)


def of_campaign(found: Sequence[Section], campaign: int | None) -> list[Section]:
    """Keep the sections in which a campaign has rows; all of them for None."""
    return [s for s in found if campaign is None or any(each == campaign for each, *_ in s.campaigns)]


def beside(found: Sequence[Section], section: Section) -> list[Section]:
    """Give the sections of one place, by cost ratio, programs as written last."""
    return sorted((s for s in found if s.place == section.place), key=lambda s: (not s.ratio, s.ratio))


def held(
    session: Session, section: Section, campaign: int | None = None, sort: str = "", *, is_listed: bool = False,
    within: bytes = b"",
) -> list[ColumnElement[bool]]:  # fmt: skip
    """Give the conditions for a section's rows, so written that the index serves by which fewest rows are read.

    `sort`: the figure that they are read in the order of, else their places; `is_listed`: there is a list of the
    candidates that are meant; `within`: see `at_ratio`, of rows that are so anyway. SQLite knows of no distribution. It
    would read a whole section, to sort it, for the first few rows of an order that another index has, or for the few
    rows of candidates that are known: what is calculated, no index is used for.
    """
    name = sort.removeprefix("-")
    is_small = (section.num_rows if campaign is None else section.num_rows_of(campaign)) <= MOST_SORTED
    is_sorted = name and name not in models.SORTED
    if session.get_bind().dialect.name != "sqlite" or (not is_listed and (is_small or is_sorted)):
        return section.holds(campaign)
    hidden = section.hidden(campaign)
    if is_listed:
        return hidden
    if name:
        return [*hidden, ROW.ratio == section.ratio]
    mine = [] if campaign is None else [ROW.campaign_id == campaign]
    return [*hidden, *mine, at_ratio(section, within)]


def at_ratio(section: Section, within: bytes = b"") -> ColumnElement[bool]:
    """Say that a row is of the section's cost ratio, where rows are read in their order.

    `within`: with which bytes the places of those that are meant, and of all that stand behind them, go on.
    """
    begin = at(section.ratio)
    return ROW.place.between(begin + within, begin + BEYOND)
