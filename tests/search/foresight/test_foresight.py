"""What is foretold is near what comes, nearer than the mean over layers tells, and says how far to trust it."""

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.foresight.foresight import (
    LEAST_RESULTS,
    Foresight,
    log_errors,
    log_expected_improvement,
    log_kl,
)
from search.foresight.ridge import Ridge
from search.records import Record, Stage, Status

RATIO = 8.0


def ranks(values):
    return np.argsort(np.argsort(values))


def correlation(a, b):
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def test_it_foretells_what_the_mean_over_layers_does_not(make):
    known, _ = make.drawn(60)
    others, truth = make.drawn(200, seed=1)
    foresight = Foresight.fit(known, RATIO)
    means = [foresight.foretell(record).mean for record in others]
    masses = [-record.value(Stage.RECALL, "mass") for record in others]
    assert correlation(means, truth) > 0.97
    assert correlation(masses, truth) < 0.8


def test_few_results_tell_more_than_none(make):
    others, truth = make.drawn(200, seed=1)
    errors = []
    for number in (10, 30, 100):
        foresight = Foresight.fit(make.drawn(number)[0], RATIO)
        means = [foresight.foretell(record).mean for record in others]
        errors.append(np.std(np.array(means) - truth))
    assert errors[0] > errors[1] > errors[2]
    assert errors[0] < np.std(truth)


@pytest.mark.parametrize("number", [8, 12, 40, 200])
def test_deviations_are_those_of_what_comes(make, number):
    others, _ = make.drawn(100, seed=1)
    z = []
    for seed in range(2, 10):
        foresight = Foresight.fit(make.drawn(number, seed)[0], RATIO)
        told = [(log_kl(record, RATIO), foresight.foretell(record)) for record in others]
        z += [(found - each.mean) / each.deviation for found, each in told]
    assert 0.8 < np.std(z) < 1.5


def test_far_from_all_results_it_trusts_itself_less(make):
    records, _ = make.drawn(40)
    foresight = Foresight.fit(records, RATIO)
    near = foresight.foretell(records[0]).deviation
    assert foresight.foretell(make.candidate(0, [0.999] * 6 + [0.0001] * 6)).deviation > 1.5 * near


def test_with_too_few_results_nothing_is_foretold(make):
    records, _ = make.drawn(LEAST_RESULTS)
    assert Foresight.fit(records, RATIO).is_informed
    blind = Foresight.fit(records[:-1], RATIO)
    assert not blind.is_informed
    assert blind.foretell(records[0]) is None
    assert blind.best == min(log_kl(record, RATIO) for record in records[:-1])
    assert not len(blind.promises(np.array([[-1.0] * 12])))


def test_only_what_was_measured_at_the_ratio_and_passed_is_a_result(make):
    records, _ = make.drawn(20)
    assert not Foresight.fit(records, 16.0).is_informed
    references = [make.candidate(i, [0.1 + 0.01 * i] * 3, -2.0, "reference") for i in range(20)]
    assert not Foresight.fit(references, RATIO).is_informed
    failed = [
        (recall, replace(fidelity, status=Status.CRASHED)) for recall, fidelity in (r.evaluations for r in records)
    ]
    assert not Foresight.fit(
        [replace(r, evaluations=f) for r, f in zip(records, failed, strict=True)], RATIO
    ).is_informed


def test_a_candidate_without_its_layers_is_not_foretold(make):
    foresight = Foresight.fit(make.drawn(20)[0], RATIO)
    assert foresight.foretell(Record(make.candidate(0, [0.5]).candidate)) is None
    assert foresight.foretell(make.candidate(0, [0.5] * 3)) is None


def test_a_layer_without_an_error_is_no_infinity(make):
    errors = log_errors(make.candidate(0, [0.0, 1.0]), RATIO, Stage.RECALL, ("error_layer_0", "error_layer_1"))
    assert errors == pytest.approx((math.log(1e-2), 0.0), abs=0.01)


def test_the_errors_of_the_stage_that_is_named_are_read(make):
    records = []
    for i, record in enumerate(make.drawn(20)[0]):
        elsewhere = make.evaluation(Stage.CHECK, {"error_layer_0": 0.1 + 0.01 * i})
        records.append(replace(record, evaluations=(elsewhere, *record.evaluations)))
    assert len(Foresight.fit(records, RATIO).layers) == 12
    assert Foresight.fit(records, RATIO, Stage.CHECK).layers == ("error_layer_0",)
    assert not Foresight.fit(records, RATIO, Stage.ORACLE).is_informed


def log_improvement(mean, deviation, best):
    return float(log_expected_improvement(np.array([mean]), np.array([deviation]), best)[0])


@given(st.floats(-5, 5), st.floats(0.01, 3), st.floats(-5, 5))
def test_expected_improvement_is_the_integral_of_what_is_gained(mean, deviation, best):
    x = np.linspace(mean - 9 * deviation, mean + 9 * deviation, 20_001)
    density = np.array([NormalDist(mean, deviation).pdf(each) for each in x[::20]])
    gained = np.trapezoid(np.maximum(best - x[::20], 0) * density, x[::20])
    assert math.exp(log_improvement(mean, deviation, best)) == pytest.approx(gained, abs=2e-4 * deviation)


@given(st.floats(-24, 5))
def test_its_log_is_its_log(z):
    """By the formula of Jones et al., which has digits here."""
    plain = z * 0.5 * math.erfc(-z / math.sqrt(2)) + math.exp(-(z**2) / 2) / math.sqrt(math.tau)
    assert log_improvement(-z, 1.0, 0.0) == pytest.approx(math.log(plain))


def test_the_log_of_what_is_hopeless_still_tells_apart():
    found = [log_improvement(mean, 0.1, 0.0) for mean in np.linspace(2.4, 2.6, 21)]
    assert np.diff(found) == pytest.approx(-25 * 0.1, rel=0.05)
    assert log_improvement(50.0, 0.1, 0.0) > log_improvement(51.0, 0.1, 0.0)


def test_many_are_told_as_each_alone():
    means, deviations = np.linspace(-40, 40, 33), np.linspace(0.2, 1.5, 33)
    alone = [log_improvement(*pair, 0.5) for pair in zip(means, deviations, strict=True)]
    assert log_expected_improvement(means, deviations, 0.5) == pytest.approx(alone, rel=1e-12)


def test_leaving_out_in_closed_form_is_leaving_out():
    """The variance is that of errors made by fits without the result, at the strength that was chosen."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(15, 4))
    x = (x - x.mean(0)) / x.std(0)
    y = x @ [1.0, 0.5, 0.0, 0.0] + rng.normal(0, 0.3, 15)
    ridge = Ridge.fit(x, y)
    squared = []
    for i in range(15):
        some, theirs = np.delete(x, i, 0), np.delete(y, i)
        centre, level = some.mean(0), theirs.mean()
        inner = (some - centre).T @ (some - centre) + ridge.strength * np.eye(4)
        inverse = np.linalg.inv(inner)
        error = y[i] - level - (x[i] - centre) @ inverse @ (some - centre).T @ (theirs - level)
        squared.append(error**2 / (1 + 1 / 14 + (x[i] - centre) @ inverse @ (x[i] - centre)))
    assert ridge.variance == pytest.approx(np.mean(squared), rel=1e-6)
