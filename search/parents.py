"""Who leads and who breeds: pure functions of records."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.records import Record, Stage, Status

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

LEADER_SHARE = 0.95  # a leader keeps at least this share of the best accuracy
PARENT_SHARE = 0.5  # a parent, this one
LEAST_RATIO = 2.0  # what reads more than half of dense attention's bytes is a yardstick, not a result
FAILED = (Status.WRONG_RESULT, Status.NOT_SPARSE, Status.CRASHED, Status.TIMED_OUT, Status.OUT_OF_MEMORY)


def accuracy(record: Record) -> float | None:
    """Give the share of probe hops answered rightly, None where the probe was not passed."""
    evaluation = record.evaluation(Stage.PROBE)
    return evaluation.value("accuracy") if evaluation and evaluation.status is Status.OK else None


def speedup(record: Record) -> float | None:
    """Give the measured throughput relative to dense attention, None where it was not served."""
    evaluation = record.evaluation(Stage.SERVE)
    return evaluation.value("speedup") if evaluation and evaluation.status is Status.OK else None


def cost_ratio(record: Record) -> float | None:
    """Give the bytes that dense attention reads per byte of this program, by the cost model: more is faster."""
    return record.value(Stage.CHECK, "cost_ratio")


def is_sparse(record: Record) -> bool:
    """Say whether a program saves anything, by the cost model: dense attention and the oracles do not."""
    ratio = cost_ratio(record)
    return ratio is None or ratio >= LEAST_RATIO


@dataclass(frozen=True)
class Speed:
    """Amdahl's law fitted to what has been served: 1 / speedup = fixed + share / cost ratio."""

    fixed: float = 0.0
    share: float = 1.0

    def __call__(self, record: Record) -> float:
        """Give the measured speedup, or the one that the cost model predicts for a program never served."""
        measured = speedup(record)
        if measured is not None:
            return measured
        ratio = cost_ratio(record)
        return 1.0 / (self.fixed + self.share / ratio) if ratio else 0.0


def fit_speed(records: Iterable[Record]) -> Speed:
    """Fit measured speedups to cost ratios by least squares; with fewer than three, trust the cost model alone."""
    pairs = [(1 / ratio, 1 / fast) for r in records if (ratio := cost_ratio(r)) and (fast := speedup(r))]
    if len(pairs) < 3 or len({x for x, _ in pairs}) < 2:
        return Speed()
    share = max(0.0, statistics.linear_regression(*zip(*pairs, strict=True)).slope)
    fixed = statistics.fmean(y for _, y in pairs) - share * statistics.fmean(x for x, _ in pairs)
    return Speed(fixed, share) if fixed > 0 else Speed(0.0, statistics.fmean(y / x for x, y in pairs))


def front(records: Sequence[Record]) -> list[Record]:
    """Give the Pareto front of (accuracy, speed): the measured records that no other one beats in both.

    Of records that are equal in both, the oldest stays. In step order.
    """
    speed = fit_speed(records)
    points = [(found, speed(r), r) for r in records if (found := accuracy(r)) is not None and not _failed(r)]
    best: list[tuple[float, float, Record]] = []
    for point in sorted(points, key=lambda p: (-p[0], -p[1], p[2].candidate.step)):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return sorted((record for _, _, record in best), key=lambda r: r.candidate.step)


def leaders(records: Sequence[Record], num: int = 3) -> list[Record]:
    """Give the fastest sparse programs of the front that keep `LEADER_SHARE` of the best accuracy, fastest first."""
    speed = fit_speed(records)
    return sorted(_accurate(records, LEADER_SHARE), key=lambda r: (-speed(r), r.candidate.step))[:num]


def tournament(records: Sequence[Record], rng: random.Random, size: int = 2) -> Record | None:
    """Draw `size` accurate sparse members of the front and give the most accurate; None while there is none."""
    members = _accurate(records, PARENT_SHARE)
    if not members:
        return None
    drawn = [rng.choice(members) for _ in range(size)]
    return max(drawn, key=lambda r: (accuracy(r) or 0.0, -r.candidate.step))


def _accurate(records: Sequence[Record], share: float) -> list[Record]:
    """Give the front of the sparse programs, as far as it keeps a share of their best accuracy."""
    members = front([record for record in records if is_sparse(record)])
    best = max((accuracy(r) or 0.0 for r in members), default=0.0)
    return [r for r in members if (accuracy(r) or 0.0) >= share * best]


def _failed(record: Record) -> bool:
    return any(evaluation.status in FAILED for evaluation in record.evaluations)
