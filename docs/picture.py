"""Draw a database's leaderboard as docs/leaderboard.svg: `python docs/picture.py sqlite:///results.db`."""

from __future__ import annotations

import io
import sys
from contextlib import closing
from pathlib import Path

from rich.console import Console

from search.leaderboard import highlights, table
from search.store.ledger import SqlLedger

WIDTH = 150


def draw(url: str, target: Path) -> None:
    """Write what stands out in the newest campaign as SVG."""
    with closing(SqlLedger(url)) as ledger:
        campaign = ledger.campaign()
        standings = ledger.standings(campaign.id)
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(table(highlights(standings), among=standings))
    console.save_svg(str(target), title="vortex leaderboard")


if __name__ == "__main__":
    draw(sys.argv[1], Path(__file__).with_name("leaderboard.svg"))
