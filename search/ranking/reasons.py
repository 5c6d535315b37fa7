"""Why rows of the leaderboard have no more figures, a line for each: a reason may hold all that an engine wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from search.report.columns import Fitted
from search.report.wording import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType

BEFORE = ("id", "name")
BLANKS = 4  # at the table's edges and between its columns
CUT = "…"
LEAST = 40  # characters of a reason, however narrow the console: then it takes several lines
MOST = 300  # however wide


@dataclass(frozen=True)
class Reasons:
    """Rows of an id, a name and a reason, which is cut to the console's width; it is told where it stands whole."""

    rows: Sequence[tuple[str, str, str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw them, and beneath that some are cut."""
        room = self._room(options.max_width)
        drawn = Table(title="why there is no more of", box=SIMPLE_HEAD, pad_edge=False, padding=0, title_justify="left")
        for heading in (*BEFORE, "reason"):
            drawn.add_column(heading, overflow="fold")
        reasons = [cut(reason, room) for *_, reason in self.rows]
        for (number, name, _), reason in zip(self.rows, reasons, strict=True):
            drawn.add_row(Text(number), Text(name), Text(reason))
        yield Fitted(drawn, ())
        if any(reason.endswith(CUT) for reason in reasons):
            yield Text(f"a reason that ends in {CUT} is cut: `vortex show ID` tells all of it", style="dim italic")

    def _room(self, width: int) -> int:
        """Give how many characters of a reason fit beside the other columns."""
        taken = (max(cell_len(heading), *(cell_len(row[i]) for row in self.rows)) for i, heading in enumerate(BEFORE))
        return min(MOST, max(LEAST, width - sum(taken) - BLANKS))
