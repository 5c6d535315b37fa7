"""Intervals: known values, symmetry, coverage by simulation."""

import math

import numpy as np
import pytest

from search.evaluator.intervals import (
    Interval,
    clustered_mean,
    clustered_share,
    mean,
    median_and_spread,
    paired_ratio,
    paired_shares,
    student_quantile,
    widening,
    wider,
    wilson,
)


def test_wilson_agrees_with_published_values():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=1e-4)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_proportion(successes, n):
    with pytest.raises(ValueError, match="no proportion"):
        wilson(successes, n)


def test_student_quantiles_fall_towards_the_normal_one():
    quantiles = [student_quantile(n) for n in range(1, 400)]
    assert quantiles == sorted(quantiles, reverse=True)
    assert student_quantile(60) == pytest.approx(2.0003, abs=2e-4)
    assert student_quantile(10**6) == pytest.approx(1.95996, abs=1e-5)


@pytest.mark.parametrize(
    ("degrees", "tail", "quantile"),
    [(1, 0.025, 12.7062), (5, 0.025, 2.5706), (23, 0.025, 2.0687), (5, 0.0005, 6.8688), (30, 0.0005, 3.6460),
     (2, 0.001, 22.327), (4, 0.001, 7.1732)],
)  # fmt: skip
def test_student_quantiles_are_those_of_tables(degrees, tail, quantile):
    assert student_quantile(degrees, tail) == pytest.approx(quantile, rel=1e-4)


def test_intervals_that_shall_all_hold_are_wider():
    assert widening(1) == widening(1, 5) == 1.0
    assert widening(10) == pytest.approx(2.8070 / 1.95996, abs=1e-4)
    assert widening(50, 5) == pytest.approx(6.8688 / 2.5706, rel=1e-4)
    assert widening(0, 5) == 1.0, "nobody was compared"


def test_answers_that_are_alike_do_not_prove_that_rules_are():
    low, high = paired_shares(0, 0, 12)
    assert low == -high
    assert high == pytest.approx(0.198, abs=1e-3)
    few, many = paired_shares(2, 0, 2), paired_shares(12, 0, 12)
    assert few[0] < 0, "two questions do not decide"
    assert many[0] > 0.4
    with pytest.raises(ValueError, match="no questions"):
        paired_shares(0, 0, 0)


def test_the_wider_of_two_intervals_encloses_both():
    assert wider(Interval(0.5, 0.4, 0.6, 9), 0.45, 0.7) == Interval(0.5, 0.4, 0.7, 9)
    assert wider(Interval(0.5, None, None, 1), 0.1, 0.9).low is None, "one sample has no interval"
    assert wider(Interval(0.0, 0.0, 0.2, 9), 0.1, 0.3) == Interval(0.0, 0.0, 0.3, 9)
    assert wider(Interval(0.0, 0.0, 0.0, 9), -0.1, 0.1) == Interval(0.0, -0.1, 0.1, 9)


def test_a_share_is_never_certain_and_never_beyond_0_and_1():
    sure = clustered_share(clustered_mean([[1.0] * 4] * 6))
    assert (sure.value, sure.high) == (1.0, 1.0)
    assert sure.low == pytest.approx(wilson(24, 24)[0])
    apart = clustered_share(clustered_mean([[1.0] * 4, [0.0] * 4, [1.0] * 4]))
    assert (apart.low, apart.high) == (0.0, 1.0)
    assert clustered_share(clustered_mean([[1.0] * 4])).low == pytest.approx(wilson(4, 4)[0])


def test_a_paired_ratio_and_its_inverse_agree():
    pairs = [(2.0, 1.0), (3.0, 1.0), (8.0, 3.0)]
    ratio, inverse = paired_ratio(pairs), paired_ratio([(b, a) for a, b in pairs])
    assert ratio.value == pytest.approx(8 / 3)
    assert (ratio.low, ratio.high) == (pytest.approx(2), pytest.approx(3))  # so few pairs: the whole range
    assert ratio.value * inverse.value == pytest.approx(1)
    assert ratio.low * inverse.high == pytest.approx(1)
    assert ratio.num_samples == 3


def test_pairing_removes_what_both_sides_share():
    rng = np.random.default_rng(1)
    load = rng.uniform(1, 10, 12)
    ratio = paired_ratio([(3 * x * math.exp(e), x) for x, e in zip(load, rng.normal(0, 0.01, 12), strict=True)])
    assert ratio.low < 3 < ratio.high
    assert ratio.high - ratio.low < 0.1


def test_a_burst_in_few_pairs_decides_nothing():
    rng = np.random.default_rng(2)
    calm = [(1.5 * math.exp(e), 1.0) for e in rng.normal(0, 0.01, 12)]
    burst = [(3 * a, b) if i in (2, 7) else (a, b) for i, (a, b) in enumerate(calm)]
    assert paired_ratio(burst).value == pytest.approx(paired_ratio(calm).value, rel=0.01)
    assert paired_ratio(burst).high < 1.6


@pytest.mark.parametrize("n", [6, 8, 12])
def test_a_ratio_is_covered_nineteen_times_of_twenty(n):
    rng = np.random.default_rng(0)
    found = [paired_ratio([(a, 1.0) for a in np.exp(rng.normal(0.3, 0.1, n))]) for _ in range(1000)]
    assert np.mean([each.low <= math.exp(0.3) <= each.high for each in found]) >= 0.94


def test_one_pair_has_no_interval_and_none_no_ratio():
    assert paired_ratio([(3.0, 2.0)]) == type(paired_ratio([(1.0, 1.0)]))(1.5, None, None, 1)
    with pytest.raises(ValueError, match="no samples"):
        paired_ratio([])
    with pytest.raises(ValueError, match="positive"):
        paired_ratio([(1.0, 0.0)])


@pytest.mark.parametrize("n", [3, 8, 40])
def test_the_mean_is_covered_nineteen_times_of_twenty(n):
    rng = np.random.default_rng(0)
    intervals = [mean(rng.normal(5, 2, n).tolist()) for _ in range(2000)]
    covered = np.mean([i.low <= 5 <= i.high for i in intervals])
    assert 0.935 < covered < 0.965


def test_hops_of_one_problem_are_drawn_together():
    rng = np.random.default_rng(0)
    alike = [[bool(rng.random() < 0.5)] * 8 for _ in range(40)]
    apart = [[bool(rng.random() < 0.5) for _ in range(8)] for _ in range(40)]
    wide, narrow = clustered_mean(alike), clustered_mean(apart)
    assert wide.num_samples == narrow.num_samples == 320
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 20])
def test_a_mean_of_few_clusters_is_covered_nearly_as_often(n):
    """Normal clusters: for eight a plain percentile interval covers .88 of the means, for two an expanded one .5."""
    rng = np.random.default_rng(0)
    intervals = [clustered_mean(rng.normal(5, 2, (n, 1)).tolist(), seed) for seed in range(1000)]
    assert 0.915 < np.mean([i.low <= 5 <= i.high for i in intervals]) < 0.97


def test_a_single_problem_has_no_interval():
    assert clustered_mean([[True, False]]).low is None
    with pytest.raises(ValueError, match="no samples"):
        clustered_mean([[]])


def test_the_median_and_the_order_statistics_around_it():
    assert median_and_spread([3.0, 1.0, 2.0]) == type(median_and_spread([1.0]))(2.0, 1.0, 3.0, 3)
    ten = median_and_spread([float(i) for i in range(1, 11)])
    assert (ten.value, ten.low, ten.high) == (5.5, 2.0, 9.0)  # P(B(10) <= 1) = 0.0107, P(B(10) <= 2) = 0.0547
    with pytest.raises(ValueError, match="no samples"):
        median_and_spread([])


def test_the_median_is_covered_at_least_nineteen_times_of_twenty():
    rng = np.random.default_rng(0)
    intervals = [median_and_spread(rng.exponential(1, 15).tolist()) for _ in range(2000)]
    covered = np.mean([i.low <= math.log(2) <= i.high for i in intervals])
    assert 0.95 <= covered < 0.99
