"""Tables on a narrow terminal: columns that matter less are left out, and it is said which."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.measure import Measurement
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Column, Table

READABLE = 16  # characters of a line of text; narrower, a sentence is a tower of words
UNBOUNDED = 100_000  # characters: as wide as it likes


@dataclass(frozen=True)
class Fitted:
    """A table without the columns for which there is no room. `least`: headings, what is left out first first.

    `names` are what columns are called where their headings are broken over lines.
    """

    table: Table
    least: Sequence[str]
    names: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw what there is room for, and tell what there is none for."""
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
