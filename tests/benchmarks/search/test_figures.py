"""Gains, wrong choices and pairs, from runs whose figures are planted."""

import pytest

from benchmarks.search.figures import gains, pairs
from benchmarks.search.published import Published
from benchmarks.search.runs import Judged, Run


def rule(name, search, held_out):
    return Judged(name, name, "", (), "", search, held_out)


def planted(method, seed, *best):
    """A run with these (search, held_out) figures."""
    return Run(method, 8.0, seed, 10, 0, tuple(rule("x", *each) for each in best), ())


YARDSTICKS = {8.0: Published(8.0, (rule("a", 0.8, 0.70), rule("b", 0.7, 0.75)), ())}


def test_gains_are_told_by_what_was_not_seen():
    runs = [
        planted("mix", 0, (0.9, 0.80), (0.8, 0.85)),
        planted("mix", 1, (0.9, 0.76), (0.8, 0.60)),
        planted("mix", 2, (0.9, 0.69), (0.8, 0.60)),
    ]
    (found,) = gains(runs, YARDSTICKS)
    assert found.gain.value == pytest.approx(0.05)
    assert found.hindsight.value == pytest.approx(0.0)
    half = 4.3027 * 0.0556776 / 3**0.5  # Student's t with two degrees of freedom, and the spread of .10, .06, -.01
    assert found.gain.high - found.gain.value == pytest.approx(half, rel=1e-3)
    assert found.share_better == pytest.approx(2 / 3)
    assert (found.share_wrong, found.regret) == (pytest.approx(1 / 3), pytest.approx(0.05 / 3))


def test_methods_are_paired_by_seed():
    runs = [planted("mix", seed, (0.9, 0.5 + 0.1 * seed)) for seed in range(3)]
    runs += [planted("random", seed, (0.9, 0.4 + 0.1 * seed)) for seed in (2, 1, 0)]
    (found,) = pairs(runs)
    assert (found.method, found.other) == ("mix", "random")
    assert found.difference.value == pytest.approx(0.1)
    assert found.difference.high - found.difference.low < 1e-9
    assert found.difference.num_samples == 3


def test_seeds_that_only_one_method_had_do_not_count():
    runs = [planted("mix", 0, (0.9, 0.5)), planted("mix", 1, (0.9, 0.9)), planted("random", 0, (0.9, 0.4))]
    (found,) = pairs(runs)
    assert (found.difference.value, found.difference.num_samples) == (pytest.approx(0.1), 1)
