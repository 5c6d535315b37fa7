"""Draw a database's leaderboard as docs/leaderboard.svg: `python docs/picture.py sqlite:///results.db`."""

from __future__ import annotations

import io
import sys
from contextlib import closing
from pathlib import Path

from rich.console import Console

from search.ranking.front import sections
from search.ranking.leaderboard import board
from search.store.ledger import SqlLedger

WIDTH = 150


def draw(url: str, target: Path) -> None:
    """Write the fronts of the newest campaign with its published rules as SVG, a table for each cost ratio."""
    with closing(SqlLedger(url)) as ledger:
        campaign = ledger.campaign()
        standings = ledger.standings(campaign.id)
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(board(sections(standings), published=True))
    console.save_svg(str(target), title="vortex leaderboard")


if __name__ == "__main__":
    draw(sys.argv[1], Path(__file__).with_name("leaderboard.svg"))
