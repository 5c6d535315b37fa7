"""A study is what is known and a seed, and nothing else."""

import pytest

from search.agents.tuning.study import Known, Study
from vortex_dsl.tunables import Choice, Float, Int

SPACE = (("a", Float(0.5, 0.0, 1.0)), ("n", Int(4, 1, 64, log=True)), ("way", Choice("x", ("x", "y"))))
KNOWN = [Known({"a": i / 10, "n": 1 + 2 * i, "way": "xy"[i % 2]}, (i / 10 - 0.7) ** 2) for i in range(10)]


def test_rebuilt_equals_grown():
    grown = Study(SPACE, KNOWN[:5], seed=3)
    for each in KNOWN[5:]:
        grown.add(each)
    rebuilt = Study(SPACE, KNOWN, seed=3)
    assert [grown.ask() for _ in range(5)] == [rebuilt.ask() for _ in range(5)]


def test_the_seed_decides():
    assert Study(SPACE, KNOWN, seed=3).ask() == Study(SPACE, KNOWN, seed=3).ask()
    assert Study(SPACE, KNOWN, seed=3).ask() != Study(SPACE, KNOWN, seed=4).ask()


def test_what_is_asked_for_is_accepted():
    study = Study(SPACE, KNOWN, seed=0)
    for _ in range(20):
        values = study.ask()
        for name, tunable in SPACE:
            assert tunable.accept(values[name]) == values[name]
        study.refuse()


def test_it_asks_near_what_loses_little():
    asked = [Study(SPACE, KNOWN, seed=i).ask()["a"] for i in range(30)]
    far = [Study(SPACE, [], seed=i).ask()["a"] for i in range(30)]
    assert sum(abs(a - 0.7) for a in asked) < 0.7 * sum(abs(a - 0.7) for a in far)


def test_what_misses_the_cost_ratio_is_kept_away_from():
    """Everything above .5 is too dear, though it would lose least."""
    known = [Known({"a": i / 20, "n": 4, "way": "x"}, None if i > 10 else 1 - i / 20, max(i / 20 - 0.5, 0.0))
             for i in range(21)]  # fmt: skip
    dear = sum(Study(SPACE, known, seed=i).ask()["a"] > 0.6 for i in range(40))
    assert dear < 8
    free = [Known(each.values, 1 - each.values["a"]) for each in known]
    assert sum(Study(SPACE, free, seed=i).ask()["a"] > 0.6 for i in range(40)) > 20


def test_what_tells_nothing_changes_nothing():
    outside = Known({"a": 2.0, "n": 4, "way": "x"}, 0.1)
    unmeasured = Known({"a": 0.2, "n": 4, "way": "x"}, None)
    assert Study(SPACE, [*KNOWN, outside, unmeasured], seed=1).ask() == Study(SPACE, KNOWN, seed=1).ask()


def test_what_is_kept_stays_and_the_rest_is_drawn():
    study = Study(SPACE, KNOWN, seed=3)
    asked = [study.ask({"n": 7, "way": "y"}) for _ in range(10)]
    assert {(each["n"], each["way"]) for each in asked} == {(7, "y")}
    assert len({each["a"] for each in asked}) > 5


def test_refusing_needs_a_question():
    with pytest.raises(AssertionError):
        Study(SPACE, [], seed=0).refuse()
