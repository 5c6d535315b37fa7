"""Rank correlations find what was planted, among published rules alone, and nothing where there is nothing."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from benchmarks.evaluator.campaign import read
from benchmarks.evaluator.correlations import coefficient, correlations
from search.records import Stage, Status

KL = (0.03, 0.05, 0.09, 0.2, 0.4, 0.9)


def planted(handmade, losses=KL):
    """Plant rules whose recall falls and whose output error falls too as their loss grows; mass says nothing."""
    for i, kl in enumerate(losses):
        rule = handmade.candidate(f"Rule{i}")
        figures = {"recall": 0.9 - 0.1 * i, "mass": 0.5, "output_error": 0.9 - 0.1 * i}
        handmade.evaluation(rule, Stage.RECALL, **figures)
        handmade.evaluation(rule, Stage.FIDELITY, kl=(kl, 0.5 * kl, 2 * kl))


def found(handmade):
    return {(c.stage, c.figure): c for c in correlations(read(handmade.url).searched)}


def test_planted_orders_are_found_with_their_signs(handmade):
    planted(handmade)
    told = found(handmade)
    recall, error = told["fidelity", "recall"], told["fidelity", "output_error"]
    for coefficients, value in ((recall, 1.0), (error, -1.0)):
        assert (coefficients.spearman.value, coefficients.kendall.value) == pytest.approx((value, value))
        assert (coefficients.ratio, coefficients.num_rules, coefficients.loss) == (4.0, 6, "kl")
    assert told["fidelity", "mass"].spearman is None  # all alike: no order
    assert told["retrieval", "recall"].num_rules == 0


def test_references_found_programs_and_failures_are_no_rules(handmade):
    planted(handmade)
    against = {"recall": 1.0, "mass": 1.0, "output_error": 0.0}
    for rule in (handmade.reference(), handmade.candidate("RandomPages"), handmade.candidate("Mine", "grammar")):
        handmade.evaluation(rule, Stage.RECALL, **against)
        handmade.evaluation(rule, Stage.FIDELITY, kl=5.0)
    broken = handmade.candidate("Broken")
    handmade.evaluation(broken, Stage.RECALL, **against)
    handmade.evaluation(broken, Stage.FIDELITY, kl=5.0, status=Status.NOT_SPARSE)
    recall = found(handmade)["fidelity", "recall"]
    assert (recall.num_rules, recall.spearman.value) == (6, pytest.approx(1.0))


def test_few_rules_have_no_coefficient_but_are_counted(handmade):
    planted(handmade, KL[:4])
    recall = found(handmade)["fidelity", "recall"]
    assert (recall.num_rules, recall.spearman, recall.kendall) == (4, None, None)


def test_cost_ratios_are_kept_apart(handmade):
    planted(handmade)
    handmade.evaluation(handmade.candidate("Other"), Stage.RECALL, ratio=8.0, recall=0.1, mass=0.1, output_error=0.1)
    counts = {(c.ratio, c.num_rules) for c in correlations(read(handmade.url).searched) if c.stage == "fidelity"}
    assert counts == {(4.0, 6), (8.0, 0)}


@pytest.mark.parametrize("of", [spearmanr, kendalltau])
def test_an_interval_holds_the_coefficient_and_narrows_with_rules(of):
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    pairs = np.stack([x, x + rng.normal(size=200)], 1)
    few, many = coefficient(pairs[:12], of), coefficient(pairs, of)
    for each, n in ((few, 12), (many, 200)):
        assert each.low < each.value < each.high
        assert (each.value, each.num_samples) == (pytest.approx(of(*pairs[:n].T).statistic), n)
    assert many.high - many.low < (few.high - few.low) / 2
