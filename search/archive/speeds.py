"""How fast a candidate is: as measured, as fitted to what was measured, or as modelled for a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from search.records import Record

MEASURED_SPEED, MODELLED_SPEED = STEER_BY = "measured", "modelled"  # what a campaign may steer by
MODELLED = "modelled_speedup_"  # a measurement of this name ends in the device that it is modelled for
LEAST_SERVED = 3  # measured speeds, before they are told from the cost model by more than itself


def speedup(record: Record, ratio: float | None = None) -> float | None:
    """Give the measured throughput relative to dense attention, None where it was not served."""
    evaluation = record.evaluation(Stage.SERVE, ratio)
    return evaluation.value("speedup") if evaluation and evaluation.status is Status.OK else None


def speedup_low(record: Record, ratio: float | None = None) -> float | None:
    """Give the lower end of the measured speedup's interval, or the speedup where it has none."""
    evaluation = record.evaluation(Stage.SERVE, ratio)
    taken = evaluation.measurement("speedup") if evaluation and evaluation.status is Status.OK else None
    return None if taken is None else taken.value if taken.low is None else taken.low


def cost_ratio(record: Record, ratio: float | None = None) -> float | None:
    """Give the bytes that dense attention reads per byte of this program, by the cost model: more is faster."""
    return record.value(Stage.CHECK, "cost_ratio", ratio)


@dataclass(frozen=True)
class Speed:
    """Amdahl's law fitted to what has been served: 1 / speedup = fixed + share / cost ratio."""

    fixed: float = 0.0
    share: float = 1.0

    def __call__(self, cost_ratio: float) -> float:
        """Give the speedup that is foretold for a program never served; a cost ratio of 0 is one that is not known."""
        return 1.0 / (self.fixed + self.share / cost_ratio) if cost_ratio else 0.0

    def of(self, record: Record, ratio: float) -> tuple[float, float | None]:
        """Give a candidate's speed at a cost ratio and its lower end, None where it is only foretold."""
        measured = speedup(record, ratio)
        return self(cost_ratio(record, ratio) or 0.0) if measured is None else measured, speedup_low(record, ratio)


@dataclass(frozen=True)
class Modelled(Speed):
    """What the cost model says of a device, by bytes and launches: known of every program, whatever was measured."""

    device: str = ""

    def of(self, record: Record, ratio: float) -> tuple[float, float | None]:
        """Give a candidate's modelled speed at a cost ratio, which has no interval; 0 where it is not told."""
        found = record.value(Stage.CHECK, f"{MODELLED}{self.device}", ratio) or 0.0
        return found, found


class SpeedFit:
    """Fits measured speedups to cost ratios by least squares, one after the other (B. P. Welford, 1962).

    `steered_on`: the device whose modelled speed counts instead of what is measured and fitted, nothing for this.
    """

    def __init__(self, steered_on: str = "") -> None:
        self._steered_on = steered_on
        self._num = 0
        self._cost = self._time = self._quotient = 0.0  # means of 1 / cost ratio, of 1 / speedup, of this by that
        self._cost_spread = self._both_spread = 0.0  # sums of squares and of products about the means

    def add(self, record: Record) -> bool:
        """Take in what was measured of a record, at every cost ratio; say whether there was anything."""
        ratios = [e.ratio for e in record.evaluations if e.key.stage is Stage.SERVE]
        served = [(cost_ratio(record, ratio), speedup(record, ratio)) for ratio in ratios]
        for cost, fast in served:
            if cost and fast:
                self._add(1 / cost, 1 / fast)
        return bool(served)

    def _add(self, cost: float, time: float) -> None:
        self._num += 1
        off, off_time = cost - self._cost, time - self._time
        self._cost += off / self._num
        self._time += off_time / self._num
        self._quotient += (time / cost - self._quotient) / self._num
        self._cost_spread += off * (cost - self._cost)
        self._both_spread += off * (time - self._time)

    @property
    def speed(self) -> Speed:
        """Give what steers: the fit, unless a device was named.

        With fewer than three speeds, or all at one cost ratio, the cost model alone is trusted.
        """
        if self._steered_on:
            return Modelled(device=self._steered_on)
        if self._num < LEAST_SERVED or self._cost_spread <= 0:
            return Speed()
        share = max(0.0, self._both_spread / self._cost_spread)
        fixed = self._time - share * self._cost
        return Speed(fixed, share) if fixed > 0 else Speed(0.0, self._quotient)


def fit_speed(records: Iterable[Record], steered_on: str = "") -> Speed:
    """Fit measured speedups to cost ratios, unless a device is named that they are modelled for."""
    fit = SpeedFit(steered_on)
    for record in records:
        fit.add(record)
    return fit.speed
