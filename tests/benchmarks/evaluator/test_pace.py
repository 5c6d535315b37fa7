"""Rates from elapsed seconds: the rows that wait are left out, candidates are whole, and the funnel counts all."""

import pytest

from benchmarks.evaluator.campaign import read
from benchmarks.evaluator.pace import funnel, rates
from search.records import Stage, Status

ACCURACY = (Stage.RECALL, Stage.FIDELITY, Stage.RETRIEVAL)


def found(handmade, workers=1):
    told = read(handmade.url)
    return {rate.what: rate for rate in rates(told.searched, workers, told.ratios)}


def recalled(handmade, elapsed):
    """Plant recall of one rule after the other, a second apart in their beginnings."""
    for i, elapsed_s in enumerate(elapsed):
        handmade.evaluation(
            handmade.candidate(f"Rule{i}"), Stage.RECALL, ended=i + elapsed_s, elapsed_s=elapsed_s, mass=0.5
        )


@pytest.mark.parametrize(("workers", "median_s", "num"), [(1, 2.0, 4), (2, 3.0, 3)])
def test_the_first_row_of_each_worker_is_left_out(handmade, workers, median_s, num):
    recalled(handmade, [90, 1, 4, 3, 1])
    rate = found(handmade, workers)["recall, at one cost ratio"]
    assert (rate.seconds.value, rate.num, rate.num_first) == (median_s, num, workers)
    assert rate.per_hour == pytest.approx(3600 * workers / median_s)
    assert rate.mean_s == pytest.approx({1: 9 / 4, 2: 8 / 3}[workers])


def test_first_is_what_began_first_and_not_what_is_first_in_the_ledger(handmade):
    for name, ended, elapsed_s in (("Later", 101, 1), ("First", 90, 90), ("Last", 103, 1)):
        rule = handmade.candidate(name)
        handmade.evaluation(rule, Stage.RECALL, ended=ended, elapsed_s=elapsed_s, mass=0.5)
    assert found(handmade)["evaluation: recall"].seconds.value == 1.0


def test_a_candidate_counts_where_it_came_through_all_accuracy_stages(handmade):
    seconds = {Stage.RECALL: 1, Stage.FIDELITY: 5, Stage.RETRIEVAL: 4, Stage.ORACLE: 50, Stage.SERVE: 500}
    for i in range(4):
        rule = handmade.candidate(f"Rule{i}")
        for ratio in (4.0, 8.0) if i < 3 else (4.0,):
            for stage, elapsed_s in seconds.items():
                waited = 1000 if i == 0 and ratio == 4.0 else 0
                ended = 2000 + 1000 * i + 100 * ratio
                handmade.evaluation(rule, stage, ratio, ended, elapsed_s + waited)
    handmade.evaluation(handmade.candidate("Half"), Stage.RECALL, ended=9000, elapsed_s=1)
    told = found(handmade)
    one, both = told["accuracy, at one cost ratio"], told["accuracy, at all 2 cost ratios"]
    assert (one.seconds.value, one.num, one.num_first, one.per_hour) == (10.0, 6, 1, 360.0)
    assert (both.seconds.value, both.num, both.num_first, both.per_hour) == (20.0, 2, 1, 180.0)
    assert told["recall, at all 2 cost ratios"].seconds.value == 2.0
    assert (one.goal, told["recall, at one cost ratio"].goal) == (250, 3000)


def test_where_only_waiting_rows_are_there_is_no_rate(handmade):
    recalled(handmade, [90])
    rate = found(handmade)["recall, at one cost ratio"]
    assert (rate.num, rate.num_first, rate.seconds, rate.per_hour) == (0, 1, None, None)


def test_failures_take_no_part_in_rates_but_stand_in_the_funnel(handmade):
    recalled(handmade, [90, 2, 2])
    late = handmade.candidate("Late")
    handmade.evaluation(late, Stage.RECALL, ended=500, elapsed_s=60, status=Status.TIMED_OUT)
    handmade.evaluation(late, Stage.CHECK, elapsed_s=0.5, status=Status.BELOW_GATE)
    handmade.evaluation(late, Stage.FIDELITY, elapsed_s=7, split="held_out")
    assert found(handmade)["evaluation: recall"].num == 2
    steps = funnel(read(handmade.url).entries)
    assert [(s.stage, s.split, s.num, s.statuses, s.median_s, s.total_s) for s in steps] == [
        ("check", "search", 1, {"below_gate": 1}, 0.5, 0.5),
        ("recall", "search", 4, {"ok": 3, "timed_out": 1}, 31.0, 154.0),
        ("fidelity", "held_out", 1, {"ok": 1}, 7.0, 7.0),
    ]
