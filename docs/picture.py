"""Draw a database's leaderboard and its front, docs/*.svg: `python docs/picture.py sqlite:///results.db [RATIO]`."""

from __future__ import annotations

import io
import sys
from contextlib import closing
from pathlib import Path

from rich.console import Console

from search.plots import front, save
from search.ranking.leaderboard import board
from search.store.ledger import SqlLedger

WIDTH = 150


def draw(url: str, folder: Path, ratio: float) -> None:
    """Write the newest campaign's front at a cost ratio, and a table of those at all with its published rules."""
    with closing(SqlLedger(url)) as ledger:
        campaign = ledger.campaign()
        standings, fronts = ledger.standings(campaign.id), ledger.fronts(campaign.id, published=True)
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(board(fronts))
    console.save_svg(str(folder / "leaderboard.svg"), title="vortex leaderboard")
    save(front(standings, ratio), folder / "front.svg")


if __name__ == "__main__":
    draw(sys.argv[1], Path(__file__).parent, float(sys.argv[2]) if len(sys.argv) > 2 else 8.0)
