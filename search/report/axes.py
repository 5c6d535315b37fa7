"""Where numbers stand on an axis, and which of them are written beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MARGIN = 0.06  # of an axis that is left open at each end
NUM_TICKS = 5
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
DECADES = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`; `is_log`: equal factors are equally far apart. `ticks`: numbers to write."""

    title: str
    low: float
    high: float
    is_log: bool
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Give where a number stands, 0 at the lower end, 1 at the upper; beyond them it stays at the end."""
        share = (self._scaled(value) - self._scaled(self.low)) / (self._scaled(self.high) - self._scaled(self.low))
        return min(max(share, 0.0), 1.0)

    def _scaled(self, value: float) -> float:
        return math.log(max(value, self.low)) if self.is_log else value


def axis(title: str, values: Iterable[float], *, is_log: bool = False, ticks: Sequence[float] = ()) -> Axis:
    """Make an axis that holds all finite values, on a logarithmic one the positive ones; `ticks` replaces its own."""
    held = sorted(v for v in (*values, *ticks) if math.isfinite(v) and (v > 0 or not is_log)) or [1.0]
    low, high = _widened(held[0], held[-1], is_log=is_log)
    return Axis(title, low, high, is_log, tuple(ticks) or _ticks(low, high, is_log=is_log))


def written(value: float) -> str:
    """Write a tick as short as it can be."""
    return f"{value:.4g}"


def _widened(low: float, high: float, *, is_log: bool) -> tuple[float, float]:
    if is_log:
        factor = max((high / low) ** MARGIN, 1.05)
        return low / factor, high * factor
    room = max((high - low) * MARGIN, abs(high) * 0.02, 1e-6)
    return low - room, high + room


def _ticks(low: float, high: float, *, is_log: bool) -> tuple[float, ...]:
    if is_log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = tuple(t for d in decades for s in DECADES if low <= (t := s * 10.0**d) <= high)
        if 2 <= len(found) <= 2 * NUM_TICKS:
            return found
        if len(found) > 2 * NUM_TICKS:
            return tuple(10.0**d for d in decades if low <= 10.0**d <= high)
    step = _step((high - low) / NUM_TICKS)
    first = math.ceil(low / step)
    return tuple(round(i * step, 10) for i in range(first, math.floor(high / step) + 1))


def _step(least: float) -> float:
    """Give the smallest round step of at least this."""
    decade = 10.0 ** math.floor(math.log10(least))
    return next(s * decade for s in STEPS if s * decade >= least * (1 - 1e-9))
