"""Half-widths as shares, of which rows, and against which goal."""

import pytest

from benchmarks.evaluator.campaign import read
from benchmarks.evaluator.precision import half_width, precisions
from search.records import Measurement, Stage


def found(handmade):
    return {(p.what, p.figure, p.ratio): p for p in precisions(read(handmade.url).entries)}


@pytest.mark.parametrize(
    ("measured", "share"),
    [((0.2, 0.15, 0.35), 0.5), ((0.2, None, None), None), ((0.0, -0.1, 0.1), None), ((2.0, 1.9, 2.1), 0.05)],
)
def test_half_of_the_width_over_the_value(measured, share):
    assert half_width(Measurement("kl", *measured)) == (None if share is None else pytest.approx(share))


def test_median_worst_and_how_many_reach_the_goal(handmade):
    for name, low, high in (("A", 0.9, 1.1), ("B", 0.8, 1.2), ("C", 0.5, 1.5)):
        handmade.evaluation(handmade.candidate(name), Stage.FIDELITY, kl=(1.0, low, high))
    handmade.evaluation(handmade.candidate("D", "grammar"), Stage.FIDELITY, kl=1.0)
    handmade.evaluation(handmade.reference(), Stage.FIDELITY, kl=(1.0, 0.0, 9.0))
    kl = found(handmade)["candidates", "kl", 4.0]
    assert (kl.median, kl.worst, kl.worst_name) == (pytest.approx(0.2), pytest.approx(0.5), "C")
    assert (kl.num, kl.num_within, kl.num_without, kl.goal) == (3, 2, 1, 0.25)


def test_confirmed_leaders_are_those_of_the_held_out_split(handmade):
    quest = handmade.candidate("Quest")
    handmade.evaluation(quest, Stage.FIDELITY, 8.0, kl=(1.0, 0.8, 1.2))
    handmade.evaluation(quest, Stage.FIDELITY, 8.0, kl=(1.0, 0.9, 1.1), split="held_out")
    handmade.evaluation(quest, Stage.SERVE, 8.0, speedup=(2.0, 1.8, 2.2))
    told = found(handmade)
    assert {key: (each.num, each.num_within) for key, each in told.items()} == {
        ("candidates", "kl", 8.0): (1, 1),
        ("confirmed leaders", "kl", 8.0): (1, 1),
        ("candidates", "speedup", 8.0): (1, 0),
    }
    assert told["confirmed leaders", "kl", 8.0].median == pytest.approx(0.1)
