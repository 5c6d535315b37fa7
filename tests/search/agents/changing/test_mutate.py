"""Which move is drawn, and that it is told."""

import random
from collections import Counter

import pytest

from search.agents.changing import mutate as mutating
from search.agents.changing.mutate import LEAST, OPERATORS, PRIORS, mutate
from search.agents.changing.source import Source
from vortex_dsl import zoo


@pytest.fixture
def drawn(monkeypatch):
    """Draw many moves by weights, none of which does anything."""

    def idle(operator):
        def move(_source, _rng):
            return "done"

        move.__name__ = operator.__name__
        return move

    monkeypatch.setattr(mutating, "OPERATORS", tuple((idle(operator), weight) for operator, weight in OPERATORS))
    source, rng = Source.parse(zoo.text("quest"), 64), random.Random(1)
    return lambda weights, times=4000: Counter(mutate(source, rng, weights).move for _ in range(times))


def test_names_are_told_apart():
    assert len(PRIORS) == len(OPERATORS)
    assert not any("+" in name for name in PRIORS)
    assert min(PRIORS.values()) > 0


def test_weights_decide_and_no_move_dies_out(drawn):
    found = drawn({**dict.fromkeys(PRIORS, 0.0), "restore": 1.0})
    share = found["restore"] / sum(found.values())
    assert abs(share - (1 - LEAST + LEAST / len(PRIORS))) < 0.03
    assert set(drawn({**dict.fromkeys(PRIORS, 0.0), "restore": 1.0}, 20_000)) == set(PRIORS)


def test_what_has_no_weight_has_its_prior(drawn):
    assert drawn({}) == drawn(PRIORS) or abs(drawn({})["retune"] - drawn(PRIORS)["retune"]) < 200
    assert drawn({"retune": 100.0})["retune"] > 2 * drawn({})["retune"]


def test_a_change_tells_its_move():
    source = Source.parse(zoo.text("quest"), 64)
    change = mutate(source, random.Random(3), {**dict.fromkeys(PRIORS, 0.0), "restore": 1e9})
    assert change.move == "restore"
    assert " in " in change.words
