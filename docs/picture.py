"""Draw a database's leaderboard as docs/leaderboard.svg: `python docs/picture.py sqlite:///results.db`."""

from __future__ import annotations

import io
import sys
from contextlib import closing
from pathlib import Path

from rich.console import Console

from search.leaderboard import table
from search.store.ledger import SqlLedger

ROWS, WIDTH = 16, 150


def draw(url: str, target: Path) -> None:
    """Write the best rows of the newest campaign as SVG."""
    with closing(SqlLedger(url)) as ledger:
        campaign = ledger.campaign()
        standings = ledger.standings(campaign.id, ROWS)
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(table(standings))
    console.save_svg(str(target), title="vortex leaderboard")


if __name__ == "__main__":
    draw(sys.argv[1], Path(__file__).with_name("leaderboard.svg"))
