"""Intervals of 95 % for what the evaluator measures. NumPy only; everything seeded; no figure without its spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Z = 1.959963984540054  # normal quantile at 0.975
TAIL = 0.025  # beyond either end of an interval of 95 %
LEAST_DRAWN = 6  # clusters: fewer, drawn anew, stray too little, and of two only half of all intervals hold the mean
NUM_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval of 95 %; `low` and `high` are None where the samples do not give one."""

    value: float
    low: float | None
    high: float | None
    num_samples: int


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Give Wilson's score interval of a proportion (JASA 22, 1927). Raises ValueError unless 0 <= successes <= n > 0.

    It holds for independent trials; hops of one problem are not, see `clustered_mean`.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes in {n} trials is no proportion")
    p = successes / n
    scale = 1 + Z * Z / n
    centre = (p + Z * Z / (2 * n)) / scale
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


@lru_cache(maxsize=4096)
def student_quantile(degrees: int, tail: float = TAIL) -> float:
    """Give what Student's t exceeds in a share `tail` of all cases, at most one half."""
    low, high = 0.0, 1.0
    while _beyond(high, degrees) > tail:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _beyond(middle, degrees) > tail else (low, middle)
    return high


def widening(num: int, degrees: int | None = None) -> float:
    """Give how many times as wide intervals must be so that all of `num` hold at once in 95 % (Bonferroni).

    degrees: of Student's t; None for the normal distribution.
    """
    tail = TAIL / max(1, num)
    if degrees is None:
        return NormalDist().inv_cdf(1 - tail) / NormalDist().inv_cdf(1 - TAIL)
    return student_quantile(degrees, tail) / student_quantile(degrees)


def _beyond(t: float, degrees: int) -> float:
    """Give how often Student's t exceeds `t`, by the finite series for whole degrees of freedom.

    M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(degrees))
    square, odd = math.cos(angle) ** 2, degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for i in range(2 + odd, degrees - 1, 2):
        term *= square * (i - 1) / i
        total += term
    within = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return (1 - within) / 2


def paired_shares(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Give the interval of (gained - lost) / n: of n questions, that only one of two answers, and only the other.

    D. G. Bonett and R. M. Price (J. Educ. Behav. Stat. 37, 2012): a question more is counted for either. So it has a
    width even where both answer alike. Raises ValueError without questions.
    """
    if n <= 0:
        raise ValueError("no questions, no difference")
    mine, theirs = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    centre = mine - theirs
    half = Z * math.sqrt((mine + theirs - centre**2) / (n + 2))
    return max(-1.0, centre - half), min(1.0, centre + half)


def wider(interval: Interval, low: float, high: float) -> Interval:
    """Give an interval with its ends moved out as far as these; one without ends stays so."""
    if interval.low is None or interval.high is None:
        return interval
    return Interval(interval.value, min(low, interval.low), max(high, interval.high), interval.num_samples)


def clustered_share(clustered: Interval) -> Interval:
    """Give a share from `clustered_mean` of rights and wrongs with the wider of its interval and Wilson's.

    Marks of one cluster are not independent, and where all are right their bootstrap has no width.
    """
    n = clustered.num_samples
    whole = Interval(clustered.value, *wilson(round(clustered.value * n), n), n)
    if clustered.low is None or clustered.high is None:
        return whole
    return wider(whole, max(0.0, clustered.low), min(1.0, clustered.high))


def mean(samples: Sequence[float]) -> Interval:
    """Give the mean with Student's interval; no interval from one sample. Raises ValueError without samples."""
    if not samples:
        raise ValueError("no samples, no mean")
    values = np.asarray(samples, dtype=np.float64)
    centre, n = float(values.mean()), len(samples)
    if n == 1:
        return Interval(centre, None, None, 1)
    half = student_quantile(n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(centre, centre - half, centre + half, n)


def paired_ratio(pairs: Sequence[tuple[float, float]]) -> Interval:
    """Give the median numerator / denominator of pairs measured side by side, enclosed as by `median_and_spread`.

    So a ratio and its inverse agree, and a burst of other load in few of the pairs decides nothing. Raises ValueError
    without pairs or where a figure is not positive.
    """
    if any(not (a > 0 and b > 0) for a, b in pairs):
        raise ValueError("a ratio needs positive figures")
    logs = median_and_spread([math.log(a / b) for a, b in pairs])
    if len(pairs) == 1:
        return Interval(math.exp(logs.value), None, None, 1)
    assert logs.low is not None and logs.high is not None, "a median has a spread"  # noqa: PT018
    return Interval(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.num_samples)


def difference(a: Interval, b: Interval) -> Interval:
    """Give a - b with an interval from theirs alone: MOVER (G. Y. Zou and A. Donner, Statistics in Medicine 27, 2008).

    It takes them for independent: of estimates that rise and fall together it is too wide, and errs on that side.
    """
    value, num_samples = a.value - b.value, min(a.num_samples, b.num_samples)
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Interval(value, None, None, num_samples)
    below = math.hypot(a.value - a.low, b.high - b.value)
    above = math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, value - below, value + above, num_samples)


def clustered_mean(clusters: Sequence[Sequence[float]], seed: int = 0) -> Interval:
    """Give the mean over all samples with a bootstrap interval that draws whole clusters.

    A cluster holds what shares a context, hops of a problem or positions of a text, so that it is not independent.
    `num_samples` counts samples. Raises ValueError without samples.
    """
    sums = np.array([sum(cluster) for cluster in clusters], dtype=np.float64)
    counts = np.array([len(cluster) for cluster in clusters], dtype=np.float64)
    if not counts.sum():
        raise ValueError("no samples, no mean")
    return _bootstrap(sums, counts, seed)


def _bootstrap(sums: np.ndarray, counts: np.ndarray, seed: int) -> Interval:
    """Give sum(sums) / sum(counts) with its percentile interval under resampling of clusters.

    The percentiles are Hesterberg's expanded ones (The American Statistician 69, 2015): a plain bootstrap of n clusters
    is too narrow by the factor sqrt((n - 1) / n) and by Student's t over the normal's quantile. Of fewer clusters than
    `LEAST_DRAWN` no percentile reaches far enough, and Student's interval takes its place.
    """
    n = len(sums)
    estimate = float(sums.sum() / counts.sum())
    if n < 2:
        return Interval(estimate, None, None, int(counts.sum()))
    if n < LEAST_DRAWN:
        strayed = float(np.std((sums - estimate * counts) / counts.mean(), ddof=1))
        half = student_quantile(n - 1) * strayed / math.sqrt(n)
        return Interval(estimate, estimate - half, estimate + half, int(counts.sum()))
    draws = np.random.default_rng(seed).integers(0, n, (NUM_RESAMPLES, n))
    resampled = sums[draws].sum(1) / np.maximum(counts[draws].sum(1), 1)
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * student_quantile(n - 1))
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Interval(estimate, float(low), float(high), int(counts.sum()))


def median_and_spread(samples: Sequence[float]) -> Interval:
    """Give the median with the order statistics that enclose it at 95 % whatever the distribution.

    Fewer than six samples cannot enclose it so surely: then the interval is their whole range. Raises ValueError
    without samples.
    """
    if not samples:
        raise ValueError("no samples, no median")
    ordered = sorted(samples)
    n = len(ordered)
    middle = float(np.median(ordered))
    below, tail = 0, 0.5**n
    while below < (n - 1) // 2 and tail <= 0.025:
        below += 1
        tail += math.comb(n, below) * 0.5**n
    rank = max(below - 1, 0)
    return Interval(middle, float(ordered[rank]), float(ordered[n - 1 - rank]), n)
