"""Steps go to what earns, and still a few to everything."""

import random

import pytest

from search.agents.credit import LEAST, shares
from search.archive.archive import Earned
from search.archive.experience import Experience

PRIORS = {"a": 4.0, "b": 2.0, "c": 1.0, "d": 1.0}


def earned(number, gain, typical_s=1.0):
    return Earned(number, {8.0: gain}, number * typical_s)


def simulated(chances, num_steps, *, learns=True, turn=None, lag=16, seed=0):
    """Give the gain of so many steps, each operator gaining 1 with its chance; in the end the chances of `turn`."""
    rng = random.Random(seed)
    outcomes, known, total = [], {}, 0.0
    for step in range(num_steps):
        if step >= lag:
            name, gain = outcomes[step - lag]
            before = known.get(name, Earned())
            known[name] = earned(before.num_candidates + 1, before.gain + gain)
        found = shares(PRIORS, known if learns else {})
        (name,) = rng.choices(list(found), list(found.values()))
        chance = (turn if turn and step > num_steps / 2 else chances)[name]
        outcomes.append((name, float(rng.random() < chance)))
        total += outcomes[-1][1]
    return total, outcomes


def test_without_anything_earned_the_prior_weights_decide():
    assert shares(PRIORS, {}) == {"a": 0.5, "b": 0.25, "c": 0.125, "d": 0.125}
    assert shares(PRIORS, {"seed": earned(30, 9.0), "a": earned(3, 0.0)}) == shares(PRIORS, {})


def test_what_earns_more_gets_more():
    found = shares(PRIORS, {"a": earned(50, 1.0), "b": earned(50, 1.0), "c": earned(50, 1.0), "d": earned(50, 9.0)})
    assert found["d"] > 0.8
    assert found["c"] < 0.125
    assert sum(found.values()) == pytest.approx(1.0)


def test_gain_counts_by_the_second():
    found = shares(PRIORS, {"c": earned(50, 5.0, typical_s=1.0), "d": earned(50, 5.0, typical_s=10.0)})
    assert found["c"] > 4 * found["d"]


def test_nothing_dies_out():
    hopeless = {name: earned(1000, 0.0) for name in "abc"} | {"d": earned(1000, 100.0)}
    found = shares(PRIORS, hopeless)
    assert found["a"] > LEAST * 0.5
    assert found["c"] > LEAST * 0.125


def test_what_was_seldom_tried_gets_a_chance():
    """Equal rates, and yet more for the one that few tries speak for; most for the one that was never tried."""
    often = {"a": earned(400, 4.0), "b": earned(200, 2.0)}
    found = shares(PRIORS, often | {"c": earned(10, 0.1)})
    assert found["d"] > found["c"] > 0.5 * found["b"] * 1.3
    assert found["d"] > 0.125


@pytest.mark.parametrize("lag", [1, 16, 64])
def test_it_learns_what_the_prior_weights_do_not_know(lag):
    chances = {"a": 0.05, "b": 0.05, "c": 0.1, "d": 0.5}
    gains = [simulated(chances, 300, lag=lag, seed=i)[0] for i in range(10)]
    by_weight = [simulated(chances, 300, learns=False, seed=i)[0] for i in range(10)]
    assert sum(gains) > 1.8 * sum(by_weight)


def test_it_follows_where_gains_change():
    first, then = {"a": 0.4, "b": 0.05, "c": 0.05, "d": 0.05}, {"a": 0.0, "b": 0.05, "c": 0.4, "d": 0.05}
    late = [simulated(first, 600, turn=then, seed=i)[1][500:] for i in range(10)]
    share = sum(name == "c" for outcomes in late for name, _ in outcomes) / 1000
    assert share > 1.5 * 0.125


def test_where_the_prior_weights_are_right_little_is_lost():
    chances = {"a": 0.4, "b": 0.2, "c": 0.1, "d": 0.1}
    gains = [simulated(chances, 300, seed=i)[0] for i in range(10)]
    by_weight = [simulated(chances, 300, learns=False, seed=i)[0] for i in range(10)]
    assert sum(gains) > 0.95 * sum(by_weight)


def test_earlier_campaigns_count_until_this_one_knows_better():
    experience = [Experience("d", 4.0, 200), Experience("gone", 9.0, 9)]
    begun = shares(PRIORS, {}, experience)
    assert begun["d"] > begun["a"]
    against = {"a": earned(200, 20.0), "d": earned(200, 2.0)}
    assert shares(PRIORS, against, experience)["d"] < 0.05
