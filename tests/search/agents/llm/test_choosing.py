"""Which operator a model is asked for: by its own record, a little by that of others, and never always the same."""

import random
from collections import Counter
from dataclasses import replace

from search.agents.llm.choosing import OPERATORS, operator_of
from search.archive.archive import Archive, Earned
from search.records import Context


def context_with(**pairs):
    """A context in which `model__operator` earned (candidates, gain)."""
    earned = {tuple(key.split("__")): Earned(n, {8.0: gain}, float(n), n * 0.01) for key, (n, gain) in pairs.items()}
    return Context(0, 40, (), frozenset(), 2, 64, 1000, archive=Archive(40, pairs=earned))


def counts(context, name="one"):
    return Counter(operator_of(context, name, random.Random(f"{i}")) for i in range(400))


def test_without_a_record_the_prior_weights_decide():
    found = counts(context_with())
    assert set(found) == set(OPERATORS)
    assert abs(found["explore"] - 120) < 40


def test_a_model_is_asked_for_what_it_is_good_at():
    records = {"one__cross": (30, 5.0), "one__explore": (30, 0.0), "two__cross": (30, 0.0), "two__explore": (30, 5.0)}
    context = context_with(**records)
    one, two = counts(context, "one"), counts(context, "two")
    assert one["cross"] > 2 * one["explore"]
    assert two["explore"] > 2 * two["cross"]
    assert min(one[name] for name in OPERATORS) > 0


def test_a_new_model_begins_with_what_others_learned_and_not_with_the_grammars_moves():
    others = context_with(two__tune=(20, 5.0), two__explore=(20, 0.0), grammar__cross=(99, 90.0))
    found = counts(others, "one")
    assert found["tune"] > found["explore"]
    assert found["cross"] < 200
    without = replace(others, archive=Archive(40, pairs={("grammar", "cross"): Earned(99, {8.0: 90.0}, 99.0)}))
    assert counts(without, "one") == counts(context_with(), "one")
