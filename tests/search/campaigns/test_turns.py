"""Whose turn a step is: by what proposers earned, the same whoever measures, and never without the baselines."""

from collections import Counter
from dataclasses import dataclass

import pytest

from search.archive.archive import Archive, Earned
from search.campaigns.turns import KEPT, Turns, turn_shares
from search.config import CampaignConfig

ROUND = ("good", "grammar", "bad", "random")


@dataclass
class Named:
    name: str


def turns(names=ROUND, seed=0, *, bandit=True):
    config = CampaignConfig(proposers=names, seed=seed, bandit=bandit)
    return Turns(config, [Named(name) for name in names])


def drawn(found, archive, numbers=range(400)):
    return [found.of(number, archive).name for number in numbers]


def earned(num_candidates, gain, dollars=0.0):
    return Earned(num_candidates, {8.0: gain}, float(num_candidates), dollars)


GAINS = {"good": (20, 4.0), "grammar": (20, 1.0), "bad": (20, 0.0), "random": (9, 0.0)}
LEARNED = Archive(60, proposers={name: earned(*each) for name, each in GAINS.items()})


def test_without_anything_earned_shares_are_those_of_the_round_and_as_even():
    names = ("a", "a", "b", "c")
    for start in (0, 100, 1000):
        counts = Counter(drawn(turns(names), Archive(), range(start, start + 40)))
        assert abs(counts["a"] - 20) <= 2
        assert abs(counts["b"] - 10) <= 2
        assert abs(counts["c"] - 10) <= 2


def test_a_fixed_round_stays_one():
    assert drawn(turns(bandit=False), LEARNED, range(8)) == [*ROUND, *ROUND]


def test_what_earned_gets_the_turns_and_nothing_dies_out():
    counts = Counter(drawn(turns(), LEARNED))
    assert counts["good"] > 200
    assert counts["good"] > 2 * counts["grammar"]
    assert counts["bad"] >= 0.01 * 400


def test_a_baseline_keeps_its_part_whatever_it_earns():
    found = turn_shares(dict.fromkeys(ROUND, 1.0), LEARNED)
    assert found["random"] >= KEPT / 4
    assert found["bad"] < found["random"]
    assert sum(found.values()) == pytest.approx(1.0)


def test_dollars_count_as_seconds_do():
    same = {"good": earned(20, 2.0, dollars=5.0), "bad": earned(20, 2.0), "grammar": earned(20, 2.0)}
    found = turn_shares(dict.fromkeys(ROUND, 1.0), Archive(60, proposers=same))
    assert found["good"] < 0.5 * found["bad"]


def test_draws_depend_on_the_seed_and_on_what_is_seen_and_not_on_the_order_of_asking():
    forth, back = turns(), turns()
    numbers = list(range(50))
    assert drawn(forth, LEARNED, numbers) == drawn(back, LEARNED, numbers[::-1])[::-1]
    assert drawn(turns(seed=1), LEARNED) != drawn(turns(seed=2), LEARNED)
    assert drawn(turns(), Archive()) != drawn(turns(), LEARNED)
