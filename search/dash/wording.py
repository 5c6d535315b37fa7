"""How pages write figures, times and what others wrote."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from search.ranking.leaderboard import NOTHING, interval, modelled, number, speedup, spread
from search.report.wording import duration, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from search.store.shown.sections import Section

MOST_SHOWN = 2000  # characters of a text in a page; the whole is fetched on demand
MOST_CELL = 160


def text(written: str, most: int = MOST_SHOWN) -> str:
    """Make what somebody wrote showable: control characters made visible, cut where it is too long."""
    cut = written if len(written) <= most else f"{written[:most]}…"
    return shown(cut, most + 1)


def cell(written: str) -> str:
    """Make what somebody wrote short enough for a table."""
    return text(" ".join(written[: 4 * MOST_CELL].split()), MOST_CELL)


def moment(when: datetime | None) -> str:
    """Write a time in UTC."""
    return NOTHING if when is None else f"{_utc(when):%Y-%m-%d %H:%M} UTC"


def _utc(when: datetime) -> datetime:
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def dollars(value: float | None) -> str:
    """Write a price; what costs less than a cent shows it."""
    if value is None:
        return NOTHING
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def ratio(value: float) -> str:
    """Name a cost ratio."""
    return f"{value:g}x" if value else "as written"


def at(value: float) -> str:
    """Say at which cost ratio."""
    return f"at {ratio(value)}" if value else "as written"


def breaking(written: str) -> Markup:
    """Let a name of several parts break between them."""
    parts = (escape(part) for part in re.split(r"(?<=[/+_])", cell(written)))
    return Markup("<wbr>").join(parts)


def twice(values: Iterable[object]) -> list[tuple[object, object]]:
    """Give options of a form whose values are what people read; what cannot be read is not offered."""
    return [(value, str(value)) for value in values if str(value).isprintable()]


def placed(places: Sequence[Section], chosen: Section) -> list[tuple[str, str]]:
    """Give the places as options of a form: the chosen one by the section that is chosen in it."""
    return [(chosen.slug if s.place == chosen.place else s.slug, s.where) for s in places]


def figure(written: str) -> Markup:
    """Set the interval of a figure apart, so that the eye reads the figure first."""
    value, _, rest = written.partition(" ")
    return Markup("{} <small>{}</small>").format(value, rest) if rest else escape(written)


FILTERS: dict[str, Callable[..., Any]] = {
    "shown": text,
    "cell": cell,
    "moment": moment,
    "dollars": dollars,
    "ratio": ratio,
    "at": at,
    "breaking": breaking,
    "number": number,
    "speedup": speedup,
    "modelled": modelled,
    "spread": spread,
    "interval": interval,
    "duration": duration,
    "twice": twice,
    "placed": placed,
    "figure": figure,
}
