"""The leaderboard for people: one line for each program, best first, with the circumstances underneath."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import JustifyMethod

    from search.records import Standing

NOTHING = "–"
DIGEST_DIGITS = 8
PUBLISHED = "zoo/"  # the origin of a published rule
# Heading and alignment. Docs name these columns, and a test compares the two.
COLUMNS = (
    ("id", "right"),
    ("name", "left"),
    ("accuracy", "right"),
    ("recall", "right"),
    ("speed-up", "right"),
    ("pages", "right"),
    ("bytes/page", "right"),
    ("origin", "left"),
    ("parents", "left"),
    ("confirmed", "right"),
)
# Below 88 columns Rich cuts the table; from there on it folds cells, and an interval stays in one piece.
LEAST_WIDTHS = {"name": 9, "accuracy": 13, "speed-up": 13, "bytes/page": 5, "origin": 6, "parents": 4, "confirmed": 5}


def highlights(standings: Sequence[Standing]) -> list[Standing]:
    """Keep what a person looks for first: what nothing beats in both accuracy and speed, leaders, published rules."""
    beaten = {s.id for s in standings for other in standings if _beats(other, s)}
    return [s for s in standings if s.origin.startswith(PUBLISHED) or s.confirmed or (s.speedup and s.id not in beaten)]


def _beats(one: Standing, other: Standing) -> bool:
    """Say whether one is at least as accurate and as fast as the other, and better in one of them."""
    points = [(s.accuracy or 0.0, s.speedup or 0.0) for s in (one, other)]
    return points[0] != points[1] and all(a >= b for a, b in zip(*points, strict=True))


def table(standings: Sequence[Standing], title: str = "", among: Sequence[Standing] = ()) -> Table:
    """Draw standings in the order given; the caption says on what device and which model they were measured.

    `among` are all that are known, so that parents which are not drawn are named by their ids too.
    """
    told = caption(standings)
    drawn = Table(title=title or None, caption=told, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    drawn.title_justify = drawn.caption_justify = "left"
    for heading, side in COLUMNS:
        justify: JustifyMethod = "right" if side == "right" else "left"
        # On a narrow terminal an interval moves below its number; nothing is cut off.
        drawn.add_column(heading, justify=justify, overflow="fold", min_width=LEAST_WIDTHS.get(heading, len(heading)))
    ids = {standing.digest: standing.id for standing in reversed(among or standings) if standing.digest}
    for standing in standings:
        drawn.add_row(*_cells(standing, ids), style="" if standing.status == "ok" else "dim")
    return drawn


def caption(standings: Sequence[Standing]) -> str:
    """Say where the numbers come from: without it none of them means anything."""
    devices = sorted({standing.device for standing in standings if standing.device})
    models = sorted({standing.model for standing in standings if standing.model})
    if not devices:
        return "nothing has been measured yet"
    return f"device: {', '.join(devices)}\nmodel: {', '.join(models)}\nintervals: 95 %"


def interval(value: float | None, low: float | None, high: float | None, unit: str = "") -> str:
    """Write a number with its interval, as far as both are known."""
    if value is None:
        return NOTHING
    if low is None or high is None:
        return f"{value:.3f}{unit}"
    return f"{value:.3f}{unit} [{low:.3f},{high:.3f}]"


def number(value: float | None, digits: int = 0) -> str:
    """Write a number with so many decimals, a dash where there is none."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def lineage(parents: Sequence[str], ids: Mapping[str, int]) -> str:
    """Name parents by their ids where these programs are known, by the head of their digests elsewhere."""
    return ", ".join(str(ids.get(digest, digest[:DIGEST_DIGITS])) for digest in parents) or NOTHING


def _cells(standing: Standing, ids: Mapping[str, int]) -> list[Text]:
    confirmed = interval(standing.confirmed_accuracy, standing.confirmed_accuracy_low, standing.confirmed_accuracy_high)
    failed = "" if standing.status == "ok" else f" ({standing.status})"
    cells = (
        str(standing.id),
        f"{standing.name or NOTHING}{failed}",
        interval(standing.accuracy, standing.accuracy_low, standing.accuracy_high),
        number(standing.recall, 3),
        interval(standing.speedup, standing.speedup_low, standing.speedup_high, "x"),
        number(standing.pages_attended, 1),
        number(standing.bytes_per_page),
        standing.origin,
        lineage(standing.parents, ids),
        confirmed if standing.confirmed else NOTHING,
    )
    return [Text(cell) for cell in cells]  # a program's name is nobody's markup
