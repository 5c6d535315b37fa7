"""Pareto fronts of (loss, speed), whole or member by member, and the hypervolume that they span."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from search.archive.archive import Point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LEAST_LOSS = 1e-4  # what loses less counts as this, in nats per token or as a share of the answers
MOST_LOSS = 1.0  # what loses more spans nothing


def front_of(points: Iterable[Point]) -> tuple[Point, ...]:
    """Give the points that no other one beats in both, the least loss first.

    Of points that are equal in both, the one with the greater cost ratio stays, then the oldest. The front of two
    fronts' points is that of all points behind them.
    """
    best: list[Point] = []
    for point in sorted(points, key=_order):
        if not best or point.speed > best[-1].speed:
            best.append(point)
    return tuple(best)


def _order(point: Point) -> tuple[float, float, float, int]:
    return point.loss, -point.speed, -point.cost_ratio, point.step


def hypervolume(front: Sequence[Point]) -> float:
    """Give the area that a front spans in ln(most loss / loss) and ln(1 + speed): E. Zitzler and L. Thiele, 1999.

    On both axes a tenth counts the same wherever the search stands. `front` as `front_of` gives it.
    """
    area, reached = 0.0, 0.0
    for point in front:
        width = math.log1p(point.speed)
        area += (width - reached) * max(0.0, math.log(MOST_LOSS / max(point.loss, LEAST_LOSS)))
        reached = width
    return area


class Front:
    """The front at one cost ratio, member by member.

    What was served has a measured speed; that of all others changes with each new fit. A fit never turns the order of
    cost ratios round, so that what is beaten in (loss, cost ratio) stays beaten.
    """

    def __init__(self) -> None:
        self._served: tuple[Point, ...] = ()
        self._modelled: tuple[Point, ...] = ()  # their speed is their cost ratio

    def add(self, point: Point) -> None:
        """Take in a point, whose speed matters only if it was served."""
        if point.low is not None:
            self._served = front_of((*self._served, point))
        else:
            self._modelled = front_of((*self._modelled, replace(point, speed=point.cost_ratio)))

    def members(self, foretold: Callable[[float], float]) -> tuple[Point, ...]:
        """Give the front where speed is foretold from the cost ratio for what was never served."""
        modelled = (replace(point, speed=foretold(point.cost_ratio)) for point in self._modelled)
        return front_of((*self._served, *modelled))
