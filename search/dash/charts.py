"""Charts as data: what `static/charts.js` draws, and beside which a table always says the same."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from search.dash.wording import cell

if TYPE_CHECKING:
    from search.ranking.standing import Standing

Role = Literal["found", "published", "reference"]


@dataclass(frozen=True)
class Point:
    """A point, with its intervals as far as they are known; `url`: where a click leads."""

    x: float
    y: float
    label: str = ""
    url: str = ""
    x_low: float | None = None
    x_high: float | None = None
    y_low: float | None = None
    y_high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points of one kind; `is_line` joins them, `is_faint` sets them behind the others."""

    name: str
    role: Role
    points: tuple[Point, ...]
    is_line: bool = False
    is_faint: bool = False


@dataclass(frozen=True)
class Axis:
    """What an axis shows; `is_log`: equal factors are equally far apart; `one`: a line where nothing is gained."""

    title: str
    is_log: bool = False
    one: float | None = None


@dataclass(frozen=True)
class Chart:
    """A chart of points, and in words what it shows."""

    title: str
    alt: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]

    def data(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Bars:
    """A chart of bars: one for each label, one beside the other within each of `series`."""

    title: str
    alt: str
    unit: str
    labels: tuple[str, ...]
    series: tuple[tuple[str, tuple[float, ...]], ...]

    def data(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return {"bars": True, **asdict(self)}


def point(standing: Standing, x: str, y: str) -> Point | None:
    """Give a rule by two of its figures, with their intervals; None where one is missing, or has no place."""
    at, on = _finite(standing, x), _finite(standing, y)
    if at is None or on is None:
        return None
    ends = (_finite(standing, f"{name}_{end}") for name in (x, y) for end in ("low", "high"))
    return Point(at, on, f"{cell(standing.name)} ({standing.id})", f"/rules/{standing.id}", *ends)


def _finite(standing: Standing, name: str) -> float | None:
    """Give a figure that has a place on an axis: JSON has no infinities, and one would keep a page's charts away."""
    value: float | None = getattr(standing, name, None)
    return value if value is not None and math.isfinite(value) else None
