"""What runs say of methods: gains over the published rules, methods against each other, and how often they err.

Intervals are Student's over seeds, of 95 %.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

from search.evaluator import intervals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.search.published import Published
    from benchmarks.search.runs import Run
    from search.evaluator.intervals import Interval


@dataclass(frozen=True)
class Gain:
    """What one method chose at one cost ratio, by the part that it did not see.

    `gain`: held-out mass of its choice less that of the published rule that one would choose by the same data;
    `hindsight`: less that of the published rule that turned out best. `share_better`: of seeds whose choice keeps more
    than the first. `share_wrong`: of seeds for which another of the run's five best would have been a better choice;
    `regret`: by how much, on average over seeds.
    """

    method: str
    ratio: float
    num_seeds: int
    mass: Interval
    gain: Interval
    hindsight: Interval
    share_better: float
    share_wrong: float
    regret: float


@dataclass(frozen=True)
class Height:
    """How high searches came on one landscape: by method, and the house's own against the best baseline.

    `shortfall`: by which share of the best baseline's mean height the house's own stays below it; negative is above.
    `difference`: between the two with the same seed.
    """

    landscape: str
    heights: dict[str, Interval]
    best_baseline: str
    shortfall: float
    difference: Interval


@dataclass(frozen=True)
class Pair:
    """How much more of the held-out mass one method's choice keeps than another's with the same seed."""

    method: str
    other: str
    ratio: float
    difference: Interval


def gains(runs: Iterable[Run], yardsticks: Mapping[float, Published]) -> list[Gain]:
    """Compare each method's choices with the published rules, at each cost ratio."""
    return [_gain(method, ratio, some, yardsticks[ratio]) for (method, ratio), some in _by_method(runs).items()]


def _gain(method: str, ratio: float, runs: Sequence[Run], yardstick: Published) -> Gain:
    chosen = [run.best[0].held_out for run in runs]
    lost = [max(each.held_out for each in run.best) - run.best[0].held_out for run in runs]
    gained = [each - yardstick.chosen.held_out for each in chosen]
    return Gain(
        method,
        ratio,
        len(runs),
        mass=intervals.mean(chosen),
        gain=intervals.mean(gained),
        hindsight=intervals.mean([each - yardstick.hindsight.held_out for each in chosen]),
        share_better=fmean(each > 0 for each in gained),
        share_wrong=fmean(each > 0 for each in lost),
        regret=fmean(lost),
    )


def heights(landscape: str, reached: Mapping[str, Sequence[float]], own: str, baselines: Sequence[str]) -> Height:
    """Compare what methods reached on a landscape, by seed in the same order."""
    found = {method: intervals.mean(each) for method, each in reached.items()}
    best = max(baselines, key=lambda method: found[method].value)
    differences = [mine - theirs for mine, theirs in zip(reached[own], reached[best], strict=True)]
    shortfall = 1.0 - found[own].value / found[best].value
    return Height(landscape, found, best, shortfall, intervals.mean(differences))


def pairs(runs: Iterable[Run]) -> list[Pair]:
    """Compare each two methods over the seeds that both had, at each cost ratio."""
    found = _by_method(runs)
    return [
        Pair(method, other, ratio, intervals.mean(differences))
        for ((method, ratio), mine), ((other, same), theirs) in combinations(found.items(), 2)
        if ratio == same and (differences := _differences(mine, theirs))
    ]


def _differences(mine: Sequence[Run], theirs: Sequence[Run]) -> list[float]:
    other = {run.seed: run.best[0].held_out for run in theirs}
    return [run.best[0].held_out - other[run.seed] for run in mine if run.seed in other]


def _by_method(runs: Iterable[Run]) -> dict[tuple[str, float], list[Run]]:
    found: dict[tuple[str, float], list[Run]] = defaultdict(list)
    for run in runs:
        found[run.method, run.ratio].append(run)
    return found
