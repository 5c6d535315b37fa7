"""Landscapes: the best place is where it is said to be, and each has what it is named for."""

from statistics import fmean

import pytest

from benchmarks.search.figures import heights
from benchmarks.search.landscapes import RATIO, TERMS, Landscape, Synthetic, best_program
from benchmarks.search.problems import SEARCH
from benchmarks.search.results import reached
from benchmarks.search.runs import Judged, Run, run, volume
from search.fit import fit, traced
from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status
from search.workloads import HELD_OUT
from vortex_dsl import zoo

RULES = ("quest", "centroid", "mass_lse", "streaming", "sign_keys", "ema")


def graphs(landscape):
    fitted = [(zoo.text(name), fit(zoo.text(name), (), TERMS, landscape.ratio)) for name in RULES]
    return [traced(text, each.values, TERMS.shape)[1] for text, each in fitted]


@pytest.mark.parametrize("landscape", Landscape)
def test_the_best_place_is_the_highest(landscape):
    problem = Synthetic(landscape, seed=3)
    best = best_program(3, 0, TERMS, landscape.ratio)
    assert problem.measured(best, HELD_OUT).figures == {"mass": pytest.approx(1.0)}
    for graph in graphs(Landscape.SMOOTH):
        try:
            assert 0 <= problem.measured(graph, HELD_OUT).figures["mass"] < 0.99
        except LookupError:
            assert landscape is Landscape.INVALID


def test_only_a_noisy_one_differs_between_splits():
    for landscape in set(Landscape) - {Landscape.INVALID}:
        problem = Synthetic(landscape, seed=0)
        differences = [
            abs(problem.measured(graph, SEARCH).figures["mass"] - problem.measured(graph, HELD_OUT).figures["mass"])
            for graph in graphs(Landscape.SMOOTH)
        ]
        assert (fmean(differences) > 0.01) == (landscape is Landscape.NOISY)


def test_a_deceptive_one_has_a_false_peak():
    false = best_program(0, 1, TERMS, RATIO)
    deceptive, smooth = (
        Synthetic(each, 0).measured(false, HELD_OUT).figures["mass"] for each in (Landscape.DECEPTIVE, Landscape.SMOOTH)
    )
    assert deceptive == pytest.approx(0.7)
    assert smooth < deceptive


def test_some_regions_are_invalid():
    refused = 0
    for seed in range(20):
        try:
            Synthetic(Landscape.INVALID, seed).measured(graphs(Landscape.SMOOTH)[0], SEARCH)
        except LookupError:
            refused += 1
    assert 2 <= refused <= 16


def test_a_landscape_is_searched_like_any_problem():
    found = run(Synthetic(Landscape.INVALID, 0), "greedy", RATIO, seed=0, num=3)
    assert found.num_evaluated == 3
    assert 0 < found.best[0].held_out <= 1


def record(step, mass, cost):
    key = EvaluationKey("", Stage.RECALL, "", "", "", "", 0)
    checked = Evaluation(
        EvaluationKey("", Stage.CHECK, "", "", "", "", 0), Status.OK, "", (Measurement("cost_ratio", cost),)
    )
    recalled = Evaluation(key, Status.OK, "", (Measurement("mass", mass),))
    return Record(Candidate(0, step, Proposal("", "", ""), Status.OK), (checked, recalled))


def test_the_volume_is_what_the_front_dominates():
    records = [record(0, 0.9, 2.0), record(1, 0.5, 4.0), record(2, 0.4, 3.0)]  # the last is dominated
    assert volume(records, 0.0) == pytest.approx(0.9 * 0.5 + 0.5 * 0.25)


def test_the_house_is_compared_with_the_best_baseline():
    found = heights(
        "smooth", {"mix": [0.8, 0.9], "random": [0.9, 1.0], "greedy": [0.7, 0.7]}, "mix", ("random", "greedy")
    )
    assert found.best_baseline == "random"
    assert found.shortfall == pytest.approx(1 - 0.85 / 0.95)
    assert found.difference.value == pytest.approx(-0.1)


def test_two_objectives_are_told_by_the_front():
    rule = Judged("x", "x", "", (), "", 0.5, 0.4)
    runs = [Run("mix", 0.0, 0, 1, 0, (rule,), (), volume=0.3)]
    assert reached(Landscape.TWO_OBJECTIVES, runs, "mix") == [0.3]
    assert reached(Landscape.SMOOTH, runs, "mix") == [0.4]
