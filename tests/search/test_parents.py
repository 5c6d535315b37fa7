"""Who leads and who breeds."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.archive.archive import LEADER_LOSS, Point, fastest
from search.archive.archivist import archive_of
from search.archive.speeds import fit_speed
from search.config import CampaignConfig
from search.parents import PASSED_OVER, breeder, breeders, front, leaders, loss, point, untimed
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
    found = breeder(context, random.Random(seed))
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


def test_of_what_was_never_served_the_fastest_leads_as_written_and_at_a_cost_ratio_the_least_loss():
    points = tuple(Point(step, 0.1 * step, 8.0 + step, 8.0 + step) for step in range(4))
    timed = Point(9, 0.9, 8.0, 1.5, 1.4)
    assert [each.step for each in fastest((*points, timed), 3, 0.0)] == [9, 3, 2]
    assert [each.step for each in fastest((*points, timed), 3, 8.0)] == [9, 0, 1]


def test_who_loses_least_at_a_cost_ratio_is_one_of_the_leaders_however_slow():
    points = tuple(Point(step, 0.1 * step, 8.0, 1.0 + step, 1.0 + step) for step in range(5))
    assert [each.step for each in fastest(points, 3, 8.0)] == [4, 3, 0]
    assert [each.step for each in fastest(points, 3, 0.0)] == [4, 3, 2]
    assert [each.step for each in fastest(points, 1, 8.0)] == [4]
    assert fastest((), 3, 8.0) == ()


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


def test_where_cost_is_free_the_front_breeds_and_accuracy_is_preferred():
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


def judged(step, kl=None, mass=None, operator="mutate"):
    """A record at a cost ratio of 8."""
    figures = (Stage.CHECK, "cost_ratio", 8.5), (Stage.SCREEN, "mass", mass), (Stage.FIDELITY, "kl", kl)
    found = tuple(
        Evaluation(
            EvaluationKey(f"p{step}", stage, "w", "m", "e", "1", 0),
            Status.OK,
            "",
            (Measurement(name, value),),
            ratio=8.0,
        )
        for stage, name, value in figures
        if value is not None
    )
    return Record(Candidate(1, step, Proposal("", "x", operator), Status.OK, program_digest=f"p{step}"), found)


def modelled(each, speed):
    """The same record with a speed that is modelled for one device."""
    evaluations = [
        replace(e, measurements=(*e.measurements, Measurement("modelled_speedup_H200", speed)))
        if e.key.stage is Stage.CHECK
        else e
        for e in each.evaluations
    ]
    return replace(each, evaluations=tuple(evaluations))


def test_steered_by_modelled_speed_what_is_measured_here_decides_nothing():
    served = [
        record(0, 0.99, 1.0, 8.0),
        record(1, 0.97, 3.0, 8.0),
        record(2, 0.96, None, 8.0),
        record(3, 0.5, None, 8.0),
    ]
    records = [modelled(each, fast) for each, fast in zip(served, (2.0, 1.5, 4.0, 9.0), strict=True)]
    assert leading(records) == [1, 0, 2]  # as measured, who was never served last
    assert [each.record.candidate.step for each in leaders(records, steered_on="H200")] == [2, 0]
    assert [each.record.candidate.step for each in leaders(records, steered_on="B200")] == [0]  # for which none is told
    assert steps(front(records, steered_on="H200")) == [0, 2, 3]
    assert [each.record.candidate.step for each in untimed(records, steered_on="H200")] == [2]


def test_steered_by_modelled_speed_the_archive_knows_no_other():
    records = [modelled(judged(0, 0.1), 2.0), modelled(judged(1, 0.2), 4.0), modelled(judged(2, 0.3), 3.0)]
    steered = archive_of(records, CampaignConfig(steer_by="modelled"))
    assert [(each.step, each.speed, each.low) for each in steered.fronts[8.0]] == [(0, 2.0, 2.0), (1, 4.0, 4.0)]
    assert [each.step for each in archive_of(records, CampaignConfig()).fronts[8.0]] == [0]  # all cost the same


def test_steered_by_modelled_speed_who_is_beaten_in_both_breeds_last():
    fast = (2.0, 1.0, 3.0, 2.5)
    records = [modelled(judged(step, 0.1 + step / 100), each) for step, each in enumerate(fast)]
    context = at_eight(records)
    assert steps(breeders(context, 8.0)) == [0, 1, 2, 3]
    steered = replace(context, demands=CampaignConfig(steer_by="modelled").demands)
    assert steps(breeders(steered, 8.0)) == [0, 2, 1, 3]


class ByMass:
    """Foretells that as much is lost in nats as there is mass lost."""

    def foretell(self, record, num_visible):
        return math.log(1 - record.value(Stage.SCREEN, "mass", 8.0)), 0.1


def at_eight(records, **known):
    archive = replace(archive_of(records, CampaignConfig()), **known)
    return Context(0, 0, records, frozenset(), 2, 64, 1000, ratios=(8.0,), archive=archive)


def test_who_was_in_no_engine_breeds_by_what_is_foretold_of_it():
    records = [judged(0, 0.2, 0.6), judged(1, mass=0.9), judged(2, 0.15, 0.7), judged(3, mass=0.5)]
    context = at_eight(records, outlooks={(Stage.SCREEN, 8.0): ByMass()})
    assert steps(breeders(context, 8.0)) == [1, 2, 0, 3]
    untold = at_eight(records, outlooks={})
    assert steps(breeders(untold, 8.0)) == [2, 0, 1, 3]  # by mass, after what was measured


def test_the_best_at_a_ratio_breeds_most_and_the_others_too():
    records = [judged(step, 0.1 + step / 100) for step in range(6)]
    context = at_eight(records)
    found = [breeder(context, random.Random(seed)).candidate.step for seed in range(2000)]
    numbers = [found.count(step) for step in range(6)]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[5] / numbers[0] == pytest.approx(PASSED_OVER**5, rel=0.3)
    assert breeder(at_eight([]), random.Random(0)) is None
