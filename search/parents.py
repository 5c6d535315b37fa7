"""Who leads and who breeds: pure functions of records."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.records import Record, Stage, Status

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

SEED = "seed"  # the operator of a seed's proposal
REFERENCE = "reference"  # that of a yardstick's: dense attention and the oracles, which nobody could serve faster
LEADER_LOSS = 0.05  # a leader loses at most so much more than the best: nats per token, or a share of the answers
PARENT_LOSS = 0.5  # a parent, this
LEAST_RATIO = 2.0  # what reads more than half of dense attention's bytes is a yardstick, not a result
NUM_LEADERS = 3
FAILED = (Status.WRONG_RESULT, Status.NOT_SPARSE, Status.CRASHED, Status.TIMED_OUT, Status.OUT_OF_MEMORY)
# By what a candidate loses, the first that was measured: how far from dense attention it is, or answers it gets wrong.
LOSSES = {Stage.FIDELITY: "kl", Stage.PROBE: "accuracy", Stage.RETRIEVAL: "accuracy"}


def loss(record: Record, ratio: float | None = None, stage: Stage | None = None) -> float | None:
    """Give what a candidate loses at a cost ratio (else the first): its mean KL, else the share of wrong answers.

    By one stage, or by the first of `LOSSES` that was passed; None where there is none.
    """
    for each, name in LOSSES.items():
        evaluation = record.evaluation(each, ratio) if stage in (None, each) else None
        value = evaluation.value(name) if evaluation and evaluation.status is Status.OK else None
        if value is not None:
            return value if name == "kl" else 1.0 - value
    return None


def accuracy(record: Record, ratio: float | None = None) -> float | None:
    """Give the share of probe hops answered rightly, None where the probe was not passed."""
    evaluation = record.evaluation(Stage.PROBE, ratio)
    return evaluation.value("accuracy") if evaluation and evaluation.status is Status.OK else None


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


def is_sparse(record: Record, ratio: float | None = None) -> bool:
    """Say whether a program saves anything, by the cost model: dense attention and the oracles do not."""
    found = cost_ratio(record, ratio)
    return record.candidate.proposal.operator != REFERENCE and (found is None or found >= LEAST_RATIO)


def judged_ratios(records: Iterable[Record]) -> list[float]:
    """Give the cost ratios at which something is known of what candidates lose, yardsticks aside."""
    candidates = [r for r in records if r.candidate.proposal.operator != REFERENCE]
    return sorted({e.ratio for r in candidates for e in r.evaluations if e.key.stage in LOSSES})


@dataclass(frozen=True)
class Leader:
    """A candidate that leads at a cost ratio, 0 for as written."""

    record: Record
    ratio: float


@dataclass(frozen=True)
class Speed:
    """Amdahl's law fitted to what has been served: 1 / speedup = fixed + share / cost ratio."""

    fixed: float = 0.0
    share: float = 1.0

    def __call__(self, record: Record, ratio: float | None = None) -> float:
        """Give the measured speedup, or the one that the cost model predicts for a program never served."""
        measured = speedup(record, ratio)
        if measured is not None:
            return measured
        found = cost_ratio(record, ratio)
        return 1.0 / (self.fixed + self.share / found) if found else 0.0


def fit_speed(records: Iterable[Record]) -> Speed:
    """Fit measured speedups to cost ratios by least squares; with fewer than three, trust the cost model alone."""
    served = [(r, e.ratio) for r in records for e in r.evaluations if e.key.stage is Stage.SERVE]
    pairs = [(1 / cost, 1 / fast) for r, at in served if (cost := cost_ratio(r, at)) and (fast := speedup(r, at))]
    if len(pairs) < 3 or len({x for x, _ in pairs}) < 2:
        return Speed()
    share = max(0.0, statistics.linear_regression(*zip(*pairs, strict=True)).slope)
    fixed = statistics.fmean(y for _, y in pairs) - share * statistics.fmean(x for x, _ in pairs)
    return Speed(fixed, share) if fixed > 0 else Speed(0.0, statistics.fmean(y / x for x, y in pairs))


def front(records: Sequence[Record], ratio: float | None = None) -> list[Record]:
    """Give the Pareto front of (loss, speed) at a cost ratio: the measured records that no other one beats in both.

    Of records that are equal in both, the oldest stays. In step order. Without a ratio, the fronts at all of them.
    """
    if ratio is None:
        found = {r.candidate.step: r for each in judged_ratios(records) for r in front(records, each)}
        return [found[step] for step in sorted(found)]
    speed = fit_speed(records)
    candidates = [r for r in records if r.candidate.proposal.operator != REFERENCE and not _failed(r)]
    points = [(lost, speed(r, ratio), r) for r in candidates if (lost := loss(r, ratio)) is not None]
    best: list[tuple[float, float, Record]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1], p[2].candidate.step)):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return sorted((record for _, _, record in best), key=lambda r: r.candidate.step)


def leaders(records: Sequence[Record], num: int = NUM_LEADERS) -> list[Leader]:
    """Give the fastest sparse programs of the front at each cost ratio that lose little more than the best.

    At each ratio up to `num`, the fastest first by the lower end of what was measured; what was never served last.
    """
    speed = fit_speed(records)
    found: list[Leader] = []
    for ratio in judged_ratios(records):
        ranked = sorted(_accurate(records, ratio, LEADER_LOSS), key=lambda r: _rank(r, ratio, speed))
        found += [Leader(record, ratio) for record in ranked[:num]]
    return found


def untimed(records: Sequence[Record]) -> list[Leader]:
    """Give who has still to be timed before leaders can be told: these, and the best published rules beside them.

    The best at each cost ratio by each stage that tells what is lost.
    """
    published = [record for record in records if record.candidate.proposal.operator == SEED]
    found = leaders(records)
    for ratio, stage in itertools.product(judged_ratios(records), LOSSES):
        lost = [(each, r.candidate.step, r) for r in published if (each := loss(r, ratio, stage)) is not None]
        found += [Leader(best[2], ratio) for best in ([min(lost)] if lost else [])]
    steps = {(each.record.candidate.step, each.ratio): each for each in found}
    return [each for each in steps.values() if each.record.evaluation(Stage.SERVE, each.ratio) is None]


def _rank(record: Record, ratio: float, speed: Speed) -> tuple[bool, float, int]:
    low = speedup_low(record, ratio)
    return low is None, -(speed(record, ratio) if low is None else low), record.candidate.step


def tournament(records: Sequence[Record], rng: random.Random, size: int = 2) -> Record | None:
    """Draw `size` accurate sparse members of the front at a ratio and give the best of them; None while there is none.

    Where candidates are judged at several cost ratios, one of these is drawn first.
    """
    ratios = judged_ratios(records)
    ratio = rng.choice(ratios) if len(ratios) > 1 else next(iter(ratios), 0.0)
    members = _accurate(records, ratio, PARENT_LOSS)
    if not members:
        return None
    drawn = [rng.choice(members) for _ in range(size)]
    return min(drawn, key=lambda r: (_loss(r, ratio), r.candidate.step))


def _accurate(records: Sequence[Record], ratio: float, more: float) -> list[Record]:
    """Give the front of the sparse programs, as far as it loses at most so much more than the best of them."""
    members = front([record for record in records if is_sparse(record, ratio)], ratio)
    best = min((_loss(r, ratio) for r in members), default=0.0)
    return [r for r in members if _loss(r, ratio) <= best + more]


def _loss(record: Record, ratio: float) -> float:
    found = loss(record, ratio)
    assert found is not None, "members of a front have been measured"
    return found


def _failed(record: Record) -> bool:
    return any(evaluation.status in FAILED for evaluation in record.evaluations)
