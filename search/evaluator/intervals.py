"""Intervals of 95 % for what the evaluator measures. NumPy only; everything seeded; no figure without its spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Z = 1.959963984540054  # normal quantile at 0.975
# Student's t at 0.975 by degrees of freedom 1 ... 30; beyond, Cornish-Fisher is good to four digits.
T = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)
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


def student_quantile(degrees: int) -> float:
    """Give Student's t at 0.975."""
    if degrees <= len(T):
        return T[degrees - 1]
    return Z + (Z**3 + Z) / (4 * degrees) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * degrees**2)


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
    is too narrow by the factor sqrt((n - 1) / n) and by Student's t over the normal's quantile.
    """
    n = len(sums)
    estimate = float(sums.sum() / counts.sum())
    if n < 2:
        return Interval(estimate, None, None, int(counts.sum()))
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
