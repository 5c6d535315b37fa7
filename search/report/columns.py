"""Tables on a narrow terminal: columns that matter less are left out, and it is said which."""

from __future__ import annotations

import itertools
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.measure import Measurement
from rich.segment import Segment
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Column, Table

READABLE = 16  # characters of a line of text; narrower, a sentence is a tower of words
MANY = 200  # rows
UNBOUNDED = 100_000  # characters: as wide as it likes


@dataclass(frozen=True)
class Fitted:
    """A table without the columns for which there is no room. `least`: headings, what is left out first first.

    `names` are what columns are called where their headings are broken over lines.
    """

    table: Table
    least: Sequence[str]
    names: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType | Segment]:
        """Draw what there is room for, and tell what there is none for."""
        if len(self.table.rows) >= MANY and (widths := _widths(self.table, options.max_width)):
            yield from _of_many(self.table, widths, console)
            return
        names = list(self.names) or [str(column.header) for column in self.table.columns]
        room, whole = options.max_width, needed(self.table, console, options)
        shown, left_out = _without(self.table, []), list[str]()
        for name in (each for each in self.least if each in names):
            if needed(shown, console, options) <= room:
                break
            left_out.append(name)
            shown = _without(self.table, [i for i, each in enumerate(names) if each in left_out])
        yield shown
        if left_out:
            told = f"not shown in {room} columns: {', '.join(left_out)}; {whole} columns or --json show them"
            yield Text(told, style="dim italic")


def _widths(table: Table, room: int) -> list[int]:
    """Give each column's width where the whole table fits and is one section; nothing where it does not."""
    lines = ((line for cell in (column.header, *column.cells) for line in _lines(cell)) for column in table.columns)
    widths = [max(map(cell_len, each)) for each in lines]
    is_one = table.box is SIMPLE_HEAD and not any(row.end_section for row in table.rows[:-1])
    return widths if is_one and sum(widths) + len(widths) + 1 <= room else []


def _of_many(table: Table, widths: Sequence[int], console: Console) -> Iterator[RenderableType | Segment]:
    """Draw the table as Rich does, its head by Rich itself: of rows by the thousand that takes ten times as long."""
    head = copy(table)
    head.columns = [
        replace(column, _cells=[], min_width=width) for column, width in zip(table.columns, widths, strict=True)
    ]
    head.rows = []
    *drawn, last = console.render_lines(head, console.options, pad=False)
    for line in drawn:
        yield from (*line, Segment.line())
    sides = [column.justify == "right" for column in table.columns]
    columns = (column.cells for column in table.columns)
    for row, cells in zip(table.rows, zip(*columns, strict=True), strict=True):
        style = console.get_style(row.style or "")
        for parts in itertools.zip_longest(*map(_lines, cells), fillvalue=""):
            padded = map(_padded, parts, widths, sides)
            yield Segment(f" {' '.join(padded)} \n", style)
    yield from (*last, Segment.line())


def _lines(cell: RenderableType) -> list[str]:
    return str(cell).split("\n")


def _padded(part: str, width: int, is_right: bool) -> str:
    space = " " * (width - cell_len(part))
    return space + part if is_right else part + space


def needed(table: Table, console: Console, options: ConsoleOptions) -> int:
    """Give the width below which a table's figures are broken, or its text is hardly to be read."""
    wide = options.update(max_width=UNBOUNDED)
    return table.__rich_measure__(console, wide).minimum + sum(_more(column, console, wide) for column in table.columns)


def _more(column: Column, console: Console, options: ConsoleOptions) -> int:
    """Give what a column needs beyond its longest word."""
    cells = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
    word, whole = max(cell.minimum for cell in cells), max(cell.maximum for cell in cells)
    return max(0, (whole if column.no_wrap else min(whole, READABLE)) - word)


def _without(table: Table, places: Sequence[int]) -> Table:
    """Give the table without some columns; whatever text is too long in the others is folded, never cropped."""
    kept = [column for i, column in enumerate(table.columns) if i not in places]
    shown = copy(table)
    shown.columns = [replace(column, _index=i, overflow="fold") for i, column in enumerate(kept)]
    return shown
