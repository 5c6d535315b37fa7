"""Verdicts: computed from figures and intervals, whatever was hoped for."""

from dataclasses import replace

import pytest

from search.journal.entries import Hypothesis
from search.journal.judging import Verdict, judge
from search.records import Stage, Status

KL = ("kl", 0.02, 0.015, 0.025)


def judged(prediction, record, parent=None):
    return judge(Hypothesis("it helps", prediction), record, parent)


@pytest.mark.parametrize(
    ("prediction", "verdict"),
    [
        ("kl < 0.03 at 8", Verdict.CONFIRMED),
        ("kl < 0.025 at 8", Verdict.NOT_TOLD_APART),
        ("kl <= 0.025 at 8", Verdict.CONFIRMED),
        ("kl < 0.021 at 8", Verdict.NOT_TOLD_APART),
        ("kl < 0.015 at 8", Verdict.REFUTED),
        ("kl > 0.03", Verdict.REFUTED),
        ("kl > 0.01", Verdict.CONFIRMED),
        ("kl < 0.03 at 16", Verdict.NOT_MEASURED),
        ("speedup > 1", Verdict.NOT_MEASURED),
        ("bytes_per_page <= 160", Verdict.CONFIRMED),
        ("bytes_per_page < 160", Verdict.REFUTED),
        ("recall > 0.5", Verdict.NOT_TOLD_APART),  # it has no interval
        ("kls < 3", Verdict.NOT_MEASURED),
        ("kl < parent", Verdict.NOT_MEASURED),  # there is none
        # Of several comparisons
        ("kl < 0.03 and bytes_per_page <= 160 at 8", Verdict.CONFIRMED),
        ("kl < 0.03 and bytes_per_page < 160 at 8", Verdict.REFUTED),
        ("speedup > 1 and bytes_per_page < 160", Verdict.REFUTED),
        ("speedup > 1 and kl < 0.021", Verdict.NOT_MEASURED),
        ("kl < 0.021 and bytes_per_page <= 160", Verdict.NOT_TOLD_APART),
    ],
)
def test_a_verdict_follows_from_the_interval(recorded, prediction, verdict):
    figures = {
        Stage.CHECK: [("bytes_per_page", 160.0)],
        Stage.RECALL: [("recall", 0.9)],
        Stage.FIDELITY: [KL],
    }
    assert judged(prediction, recorded(figures=figures)).verdict is verdict


def test_the_reason_names_figure_interval_place_and_prediction(recorded):
    record = recorded(figures={Stage.FIDELITY: [KL]})
    assert judged("kl < 0.03 at 8", record).reason == "kl 0.02 [0.015, 0.025] at 8x, predicted < 0.03"


def test_without_a_ratio_it_must_hold_at_each(recorded):
    better = recorded(figures={Stage.FIDELITY: [KL]}, ratios=(8.0,))
    worse = recorded(figures={Stage.FIDELITY: [("kl", 0.5, 0.4, 0.6)]}, ratios=(16.0,))
    both = replace(better, evaluations=better.evaluations + worse.evaluations)
    assert judged("kl < 0.03", better).verdict is Verdict.CONFIRMED
    assert judged("kl < 0.03", both).verdict is Verdict.REFUTED
    assert judged("kl < 0.03 at 8", both).verdict is Verdict.CONFIRMED
    assert judged("kl < 0.03", both).reason.startswith("kl 0.5 [0.4, 0.6] at 16x"), "what decides is told first"


@pytest.mark.parametrize(
    ("prediction", "verdict"),
    [
        ("bytes_per_page < 0.5 parent", Verdict.CONFIRMED),
        ("bytes_per_page < 0.25 parent", Verdict.REFUTED),
        ("bytes_per_page <= 0.25 parent", Verdict.CONFIRMED),
        ("recall > parent", Verdict.NOT_TOLD_APART),
        ("recall > parent - 0.3", Verdict.CONFIRMED),
        ("recall > parent + 0.3", Verdict.REFUTED),
        ("recall > 2 parent", Verdict.REFUTED),
        ("kl < parent", Verdict.NOT_TOLD_APART),
        ("speedup > parent", Verdict.NOT_MEASURED),
    ],
)
def test_relative_to_the_parent(recorded, prediction, verdict):
    def figures(size, recall, kl):
        return {
            Stage.CHECK: [("bytes_per_page", size)],
            Stage.RECALL: [("recall", recall, recall - 0.05, recall + 0.05)],
            Stage.FIDELITY: [("kl", kl, kl - 0.02, kl + 0.02)],
        }

    record, parent = recorded(1, figures(160.0, 0.8, 0.04)), recorded(0, figures(640.0, 0.75, 0.05))
    assert judged(prediction, record, parent).verdict is verdict


def test_texts_are_compared_in_pairs(recorded):
    """Two programs that differ little on each of texts that differ much are told apart; their intervals overlap."""
    hard = [0.01, 0.4, 0.05, 0.9, 0.2]

    def figures(less):
        kl = ("kl", sum(hard) / 5 - less, 0.05, 0.6)
        return {Stage.FIDELITY: [kl, *((f"kl_text_{i}", each - less) for i, each in enumerate(hard))]}

    record, parent = recorded(1, figures(0.005)), recorded(0, figures(0.0))
    assert judged("kl < parent", record, parent).verdict is Verdict.CONFIRMED
    assert judged("kl > parent", record, parent).verdict is Verdict.REFUTED
    assert judged("kl < parent - 0.1", record, parent).verdict is Verdict.REFUTED
    assert judged("kl < parent", parent, parent).verdict is Verdict.REFUTED, "it is the same, not less"
    assert judged("kl < 0.3", record).verdict is Verdict.NOT_TOLD_APART


def test_what_was_measured_elsewhere_is_no_parent(recorded):
    figures = {Stage.FIDELITY: [KL]}
    found = judged("kl < parent + 1", recorded(1, figures), recorded(0, figures, where="other texts "))
    assert found.verdict is Verdict.NOT_MEASURED
    assert "the parent Rule0 was not measured so" in found.reason


@pytest.mark.parametrize(
    ("ended", "verdict", "told"),
    [
        (Status.BELOW_GATE, Verdict.CONFIRMED, "kl 0.02"),  # measured, and not good enough to go on
        (Status.CRASHED, Verdict.NOT_MEASURED, "fidelity ended crashed: made to end"),
    ],
)
def test_figures_of_a_stage_that_failed_do_not_count(recorded, ended, verdict, told):
    found = judged("kl < 0.03", recorded(figures={Stage.FIDELITY: [KL]}, ended=ended))
    assert found.verdict is verdict
    assert told in found.reason


def test_a_stage_that_was_never_reached_says_what_came_before(recorded):
    record = recorded(figures={Stage.SCREEN: [("mass", 0.1, 0.0, 0.2)]}, ended=Status.BELOW_GATE)
    found = judged("kl < 0.03 at 8", record)
    assert found.reason == "kl at 8x: fidelity was not measured; screen ended below_gate: made to end"


def test_a_refused_program_proves_nothing(recorded):
    found = judged("bytes_per_page < 10", recorded(refused="no program\n" * 100))
    assert found.verdict is Verdict.NOT_MEASURED
    assert found.reason.startswith("the program was refused: no program no program")
    assert len(found.reason) < 300


def test_a_figure_that_is_no_number_was_not_measured(recorded):
    found = judged("kl < 0.03", recorded(figures={Stage.FIDELITY: [("kl", float("nan"))]}))
    assert found.verdict is Verdict.NOT_MEASURED
