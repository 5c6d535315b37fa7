"""One search: the real loop on a small recording, what it chose, and the published rules beside it."""

import pytest

from benchmarks.search.published import NO_RULES, published
from benchmarks.search.runs import METHODS, MIX, NUM_BEST, NUM_POINTS, judge, run
from search.config import PROPOSERS
from vortex_dsl import zoo

RATIO = 4.0


@pytest.fixture(scope="module")
def found(selection):
    return run(selection, "grammar", RATIO, seed=1, num=5)


def test_a_run_evaluates_as_many_programs_as_were_asked_for(found):
    assert (found.method, found.ratio, found.seed, found.num_evaluated) == ("grammar", RATIO, 1, 5)
    assert len(found.curve) == NUM_POINTS
    assert list(found.curve) == sorted(found.curve)


def test_the_best_by_what_was_seen_come_first(found):
    seen = [each.search for each in found.best]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == NUM_BEST
    assert found.best[0].held_out != found.best[0].search


def test_the_same_seed_finds_the_same(found, selection):
    assert run(selection, "grammar", RATIO, seed=1, num=5) == found


def test_the_house_s_own_round_is_what_campaigns_have():
    assert METHODS[MIX] == PROPOSERS


def test_published_rules_are_judged_at_equal_cost(selection):
    found = published(selection, RATIO)
    names = {name for name in zoo.names() if name not in NO_RULES}
    assert len(found.rules) + len(found.unreached) == len(names) > 30
    assert found.chosen.search == max(rule.search for rule in found.rules)
    assert found.hindsight.held_out == max(rule.held_out for rule in found.rules)
    again = judge(selection, found.chosen.text, (("dense_layers", 0),), RATIO, "")
    assert again.values == found.chosen.values
    assert again.digest == found.chosen.digest


def test_a_ratio_that_no_rule_reaches_is_told(selection):
    with pytest.raises(ValueError, match="no published rule reaches a cost ratio of 1000"):
        published(selection, 1000.0)


def test_a_rule_that_does_not_reach_the_ratio_is_not_judged(selection):
    assert judge(selection, zoo.text("oracle_mass"), (), 8.0, "") is None
