"""What a report consists of. Frozen data without markup: whoever wrote a text, renderers escape it.

Bounds are kept here, so that no maker of parts can forget them: a table has at most `MAX_ROWS` rows and says how many
are left out, a cell or an item at most `MAX_CELL` characters, a listing `MAX_LISTING`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from search.report.wording import cut, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.ranking.standing import Standing

MAX_ROWS = 40
MAX_CELL = 300
MAX_WORDS = 4_000
MAX_LISTING = 20_000  # characters; a program has at most 16 KiB


@dataclass(frozen=True)
class Words:
    """A paragraph; a quiet one only explains what stands beside it."""

    text: str
    is_quiet: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", cut(self.text, MAX_WORDS))


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(cut(each, MAX_WORDS) for each in self.items[:MAX_ROWS]))


@dataclass(frozen=True)
class Column:
    """A heading, and whether what stands below it is numbers."""

    heading: str
    is_number: bool = False


@dataclass(frozen=True)
class Grid:
    """A table. `num_more`: rows that are left out, besides those that its bounds cut off. `strong`: rows to see first.

    Without rows `empty` is said in its place.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    num_more: int = 0
    strong: tuple[int, ...] = ()
    empty: str = "There is none."

    def __post_init__(self) -> None:
        kept = tuple(tuple(cut(cell, MAX_CELL) for cell in row) for row in self.rows[:MAX_ROWS])
        object.__setattr__(self, "num_more", self.num_more + len(self.rows) - len(kept))
        object.__setattr__(self, "rows", kept)


@dataclass(frozen=True)
class Picture:
    """Rows as a figure: the front at a cost ratio, or the best over all of them for None.

    `name` is its file's, without an ending; `alt` says in words what it shows, for who cannot see it.
    """

    name: str
    rows: tuple[Standing, ...]
    ratio: float | None
    alt: str
    caption: str

    @cached_property
    def svg(self) -> bytes:
        """The figure as a file, drawn once."""
        from search.plots import curve, encoded, front

        figure = curve(self.rows) if self.ratio is None else front(self.rows, self.ratio)
        return encoded(figure, "svg", self.alt)


@dataclass(frozen=True)
class Listing:
    """A text to be shown as it is, in the language that colours it."""

    text: str
    language: str = "python"

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", shown(self.text, MAX_LISTING))


@dataclass(frozen=True)
class Part:
    """A headed part of the report, maybe with parts of its own."""

    title: str
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", cut(self.title, MAX_CELL))


Block: TypeAlias = "Words | Items | Grid | Picture | Listing | Part"


@dataclass(frozen=True)
class Answer:
    """A sentence that answers the report's question, whether it says yes, why not, and what to know besides."""

    holds: bool
    text: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The whole: the honest sentences first, then the parts."""

    title: str
    subtitle: str
    headline: Answer
    answers: tuple[Answer, ...]
    parts: tuple[Part, ...]


def columns(*headings: str, numbers: Sequence[str] = ()) -> tuple[Column, ...]:
    """Give columns of these headings; `numbers` are those of figures."""
    return tuple(Column(each, each in numbers) for each in headings)
