"""How often foresight erred, by the records alone."""

import math

import pytest

from search.foresight.foresight import Foretold
from search.foresight.promotions import Errors, Promotion, errors, promotions
from search.records import Record

RATIO = 8.0


def came(log_kl, *, lucky=False, mean=None):
    return Promotion(0, lucky, None if mean is None else Foretold(mean, 0.1), log_kl)


def test_wrong_is_what_is_worse_than_the_median_of_those_by_chance():
    lucky = [came(each, lucky=True) for each in (-1.0, -2.0, -3.0)]
    found = errors([*lucky, came(-4.0), came(-2.5), came(-1.5), came(0.0)])
    assert (found.num_foreseen, found.num_by_chance, found.num_worse_than_chance) == (4, 3, 2)
    assert found.share == 0.5


def test_with_too_few_by_chance_nothing_is_said():
    found = errors([came(-4.0), came(-1.0, lucky=True)])
    assert found == Errors(1, 1, None, 0, 0)
    assert found.share is None
    assert errors([]).share is None


def test_worse_than_foretold_is_beyond_the_interval():
    found = errors([came(-1.0, mean=-1.1), came(-1.0, mean=-1.5), came(-1.0, mean=0.0), came(-1.0)])
    assert (found.num_foretold, found.num_worse_than_foretold) == (3, 1)


def test_what_was_foretold_is_by_what_a_step_could_see(make):
    records, _ = make.drawn(40)
    some = [record if step % 4 else Record(record.candidate, record.evaluations[:1])
            for step, record in enumerate(records)]  # fmt: skip
    found = promotions(some, RATIO, seed=0, lag=16, lucky=0.5)
    assert [each.step for each in found] == [step for step in range(40) if step % 4]
    assert found == promotions(some[:30], RATIO, seed=0, lag=16, lucky=0.5) + found[22:]
    informed = [each.step for each in found if each.foretold]
    assert informed[0] == 26, "steps 1 to 10 hold the eight results that it takes"
    assert {each.by_chance for each in found} == {True, False}
    near = [abs(each.foretold.mean - each.log_kl) for each in found if each.foretold]
    assert math.fsum(near) / len(near) < 0.7


@pytest.mark.parametrize("operator", ["seed", "reference"])
def test_what_enters_anyway_was_not_promoted(make, operator):
    records = [make.candidate(i, [0.1] * 12, -2.0, operator) for i in range(20)]
    assert promotions(records, RATIO, seed=0, lag=4, lucky=0.5) == []
