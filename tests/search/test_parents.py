"""Who leads and who breeds."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.archive.archive import LEADER_LOSS
from search.archive.archivist import archive_of
from search.config import CampaignConfig
from search.parents import fit_speed, front, leaders, loss, point, tournament
from search.records import Candidate, Context, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status


def record(step, accuracy=None, speedup=None, cost_ratio=None, last=Status.OK):
    figures = (
        (Stage.CHECK, "cost_ratio", cost_ratio, Status.OK),
        (Stage.PROBE, "accuracy", accuracy, Status.OK),
        (Stage.SERVE, "speedup", speedup, last),
    )
    evaluations = tuple(
        Evaluation(
            EvaluationKey(f"p{step}", stage, "w", "m", "e", "1", 0),
            status,
            measurements=(Measurement(name, value),),
        )
        for stage, name, value, status in figures
        if value is not None
    )
    candidate = Candidate(1, step, Proposal("", "random", "random"), Status.OK, program_digest=f"p{step}")
    return Record(candidate, evaluations)


def steps(records):
    return [r.candidate.step for r in records]


def drawn(records, seed):
    context = Context(0, 0, records, frozenset(), 2, 64, 1000, archive=archive_of(records, CampaignConfig()))
    found = tournament(context, random.Random(seed))
    return found and found.candidate.step


def leading(records, *num):
    return [each.record.candidate.step for each in leaders(records, *num)]


def test_the_front_holds_what_nothing_beats_in_both():
    records = [record(0, 1.0, 1.0), record(1, 0.9, 2.0), record(2, 0.8, 1.5), record(3, 0.5, 3.0), record(4)]
    assert steps(front(records)) == [0, 1, 3]


def test_of_equals_the_oldest_stays():
    assert steps(front([record(0, 0.9, 2.0), record(1, 0.9, 2.0)])) == [0]


@given(st.lists(st.tuples(st.integers(0, 1000).map(lambda i: i / 1000), st.floats(0.1, 10)), min_size=1, max_size=20))
def test_the_front_is_the_set_of_points_not_beaten(points):
    records = [record(step, *point) for step, point in enumerate(points)]
    found = {points[step] for step in steps(front(records))}
    beaten = {p for p in points if any(q[0] >= p[0] and q[1] >= p[1] and q != p for q in points)}
    assert found == set(points) - beaten


def test_what_failed_when_served_is_not_on_the_front():
    records = [record(0, 0.9, 5.0, 0.1, last=Status.CRASHED), record(1, 0.8, 1.0, 0.5)]
    assert steps(front(records)) == [1]


def test_leaders_are_the_fastest_that_stay_accurate():
    records = [
        record(0, 1.0, 1.0),
        record(1, 0.99, 2.0),
        record(2, 0.96, 3.0),
        record(3, 0.96, 3.5),
        record(4, 0.2, 9.0),
    ]
    assert leading(records) == [3, 1, 0]
    assert leading(records, 1) == [3]
    assert all(loss(each.record) <= LEADER_LOSS for each in leaders(records))
    assert leaders([record(0)]) == []


def test_without_served_programs_the_cost_model_decides():
    records = [record(0, 0.9, None, 2.0), record(1, 0.9, None, 9.0), record(2, 0.95, None, 3.0)]
    assert steps(front(records)) == [1, 2]


def test_the_cost_model_is_fitted_to_what_was_served():
    served = [record(i, 0.9, 1 / (0.4 + 0.6 / ratio), ratio) for i, ratio in enumerate((10.0, 3.0, 2.0, 1.0))]
    speed = fit_speed(served)
    assert (speed.fixed, speed.share) == pytest.approx((0.4, 0.6))
    assert speed(5.0) == pytest.approx(1 / 0.52)
    assert point(record(9, 0.9, 7.0, 5.0), 0.0, 0.1, speed).speed == 7.0
    assert point(record(9, 0.9, None, 5.0), 0.0, 0.1, speed).speed == pytest.approx(1 / 0.52)


@given(st.lists(st.tuples(st.floats(0.5, 50), st.floats(0.1, 10)), max_size=12), st.floats(0.5, 50))
def test_a_fit_never_predicts_nonsense(pairs, ratio):
    speed = fit_speed([record(i, 0.9, fast, cost) for i, (cost, fast) in enumerate(pairs)])
    assert 0 < speed(ratio) < 1e6


def test_a_tournament_draws_from_the_front_and_prefers_accuracy():
    records = [record(0, 1.0, 1.0), record(1, 0.9, 2.0), record(2, 0.8, 1.5), record(3, 0.5, 3.0), record(4, 0.1, 9.0)]
    found = [drawn(records, i) for i in range(200)]
    assert set(found) == {0, 1, 3}
    assert found.count(0) > found.count(1) > found.count(3)
    assert drawn([record(0)], 0) is None


def test_yardsticks_neither_lead_nor_breed():
    records = [record(0, 1.0, 1.0, 1.0), record(1, 1.0, 0.2, 1.8), record(2, 0.8, 2.0, 9.0), record(3, 0.7, 3.0, 9.0)]
    assert steps(front(records)) == [0, 2, 3]
    assert leading(records) == [2]
    assert {drawn(records, i) for i in range(50)} == {2, 3}
    assert leaders(records[:2]) == []
