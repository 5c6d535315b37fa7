"""Candidates in pairs: differences where they were asked the same, a sentence where they were not."""

import re
from dataclasses import replace

import pytest

from search.ranking.comparison import Circumstances, IncomparableError, compare
from search.records import (
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    Measurement,
    Proposal,
    Record,
    Stage,
    Status,
    Workload,
)

HERE = Environment("Xeon", "6", "3.11", "2.13", "0.32")
THERE = replace(HERE, device="H200")
QUESTIONS = Workload(Stage.RETRIEVAL, 200, 8, lengths=(100, 200), ratio=16.0)
TEXTS = Workload(Stage.FIDELITY, 200, 4, lengths=(100, 200), ratio=16.0)
KNOWN = Circumstances(
    {w.digest: w for w in (QUESTIONS, TEXTS, Workload(Stage.RECALL, 200, 4), Workload(Stage.SERVE, 200, 4))},
    {e.digest: e for e in (HERE, THERE)},
)


def judged(workload, correct="", status=Status.OK, where=HERE, **measured):
    key = EvaluationKey("p", workload.stage, workload.digest, "m", where.digest, "1", 0)
    taken = tuple(m if isinstance(m, Measurement) else Measurement(name, m) for name, m in measured.items())
    return Evaluation(key, status, "", taken, correct, ratio=workload.ratio)


def record(number, *evaluations, text="", digest="", values=()):
    proposal = Proposal(text or f"text {number}", "zoo", "seed", values=values)
    own = tuple(replace(e, key=replace(e.key, program_digest=digest or f"p{number}")) for e in evaluations)
    return Record(Candidate(1, number, proposal, Status.OK, "", digest, f"P{number}", number), own)


def differences(a, b):
    return {(d.figure, d.part): d for d in compare([record(1, a), record(2, b)], KNOWN)}


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([record(1), record(1)], "candidate 1 is given twice: there is nothing to compare"),
        ([record(1), record(2), record(3), record(2)], "candidate 2 is given twice"),
        ([record(1, digest="a"), record(2, digest="a")], "candidates 1 and 2 are one and the same rule"),
        ([record(1, text="t", digest="a"), record(2, text="t", digest="b")], "candidates 1 and 2 are one and the same"),
    ],
)
def test_one_rule_given_twice_is_told_as_such(records, told):
    with pytest.raises(IncomparableError, match=re.escape(told)):
        compare(records, KNOWN)


def test_one_text_with_other_values_is_another_rule():
    a, b = (record(i, judged(TEXTS, kl_text_0=i), text="t", values=(("pages", i),)) for i in (1, 2))
    assert compare([a, b], KNOWN)


def test_rules_that_a_cost_ratio_makes_one_are_told_as_such():
    shared = judged(TEXTS, kl_text_0=1.0)
    a, b = (replace(record(i, digest=f"d{i}"), evaluations=(shared,)) for i in (1, 2))
    with pytest.raises(IncomparableError, match="differ in nothing but the budget"):
        compare([a, b], KNOWN)


def test_two_machines_are_two_comparisons_and_each_names_its_own():
    a, b = (record(i, judged(TEXTS, kl_text_0=i), judged(TEXTS, where=THERE, kl_text_0=10 * i)) for i in (1, 2))
    found = [(d.machine, d.value_a, d.value_b) for d in compare([a, b], KNOWN) if not d.part]
    assert found == [
        (f"Xeon, unknown dtype [{HERE.digest[:8]}]", 1, 2),
        (f"H200, unknown dtype [{THERE.digest[:8]}]", 10, 20),
    ]


def test_questions_are_paired_one_by_one():
    found = differences(judged(QUESTIONS, "11110000"), judged(QUESTIONS, "11110001"))
    whole = found["accuracy", ""]
    assert (whole.value_a, whole.value_b, whole.difference, whole.num_pairs) == (0.5, 0.625, 0.125, 8)
    assert whole.low < 0.125 < whole.high
    same = differences(judged(QUESTIONS, "11110000"), judged(QUESTIONS, "11110000"))["accuracy", ""]
    assert same.difference == 0.0
    assert same.low < -0.1 < 0.1 < same.high, "eight equal answers do not prove that rules are equal"


def test_questions_of_a_context_are_drawn_together():
    few = replace(QUESTIONS, num_sequences=4)
    known = Circumstances({few.digest: few}, KNOWN.environments)
    (whole,) = compare([record(1, judged(few, "11110000")), record(2, judged(few, "11110011"))], known)
    assert (whole.difference, whole.num_pairs) == (0.25, 4)


def passages(*told):
    """Give the figures of passages: kind, length and marks of each."""
    return {
        (name := f"right_{kind}_{length}_prompt_{i}"): Measurement(
            name, marks.count("1") / len(marks), num_samples=len(marks)
        )
        for i, (kind, length, marks) in enumerate(told)
    }


def test_kinds_and_lengths_are_told_where_the_figures_divide_the_questions():
    asked = passages(("many_keys", 100, "1111"), ("needle", 200, "0000"))
    found = differences(judged(QUESTIONS, "11110000", **asked), judged(QUESTIONS, "11100001"))
    assert found["accuracy", "kind many_keys"].difference == -0.25
    assert found["accuracy", "length 200"].difference == 0.25
    for odd in (passages(("many_keys", 100, "1100"), ("needle", 200, "0000")), passages(("many_keys", 100, "1111"))):
        assert set(differences(judged(QUESTIONS, "11110000", **odd), judged(QUESTIONS, "11100001"))) == {
            ("accuracy", "")
        }


def test_questions_are_drawn_with_their_passage_however_many_it_has():
    """Four questions about each of nine passages: of twelve asked, three were dropped, and 36 divides by twelve too."""
    asked = replace(QUESTIONS, num_sequences=12)
    known = Circumstances({asked.digest: asked}, KNOWN.environments)
    told = passages(*[("needle", 100, "1111")] * 9)
    theirs = "0000" * 3 + "1111" * 6
    whole, *_ = compare([record(1, judged(asked, "1" * 36, **told)), record(2, judged(asked, theirs))], known)
    assert (whole.difference, whole.num_pairs) == (pytest.approx(-1 / 3), 9)
    unlike, *_ = compare([record(1, judged(asked, "1" * 36)), record(2, judged(asked, theirs))], known)
    assert whole.high - whole.low > 1.1 * (unlike.high - unlike.low)


def test_two_answers_do_not_decide():
    found = differences(judged(QUESTIONS, "11"), judged(QUESTIONS, "00"))
    assert found["accuracy", ""].low <= -1.0
    assert found["accuracy", ""].high > 0


def test_texts_are_paired_with_their_lengths_in_turn():
    a, b = (
        {f"kl_text_{i}": value for i, value in enumerate(each)} for each in ((0.1, 0.2, 0.3, 0.4), (0.2, 0.2, 0.4, 0.4))
    )
    found = differences(judged(TEXTS, **a), judged(TEXTS, **b))
    assert found["kl", ""].difference == pytest.approx(0.05)
    assert found["kl", "length 100"].difference == pytest.approx(0.1)
    assert found["kl", "length 200"].difference == pytest.approx(0.0)


def test_layers_and_speed():
    recall, serve = Workload(Stage.RECALL, 200, 4), Workload(Stage.SERVE, 200, 4)
    found = differences(
        judged(recall, recall_layer_0=0.5, recall_layer_1=0.7), judged(recall, recall_layer_0=0.6, recall_layer_1=0.8)
    )
    assert found["recall", "layer 1"].difference == pytest.approx(0.1)
    assert (found["recall", "layer 1"].low, found["recall", "over layers"].num_pairs) == (None, 2)
    timed = [{"speedup": Measurement("speedup", v, v / 1.1, v * 1.1, 4)} for v in (1.0, 1.5)]
    speed = differences(*(judged(serve, **each) for each in timed))["speedup", ""]
    assert speed.difference == 1.5
    assert (speed.low, speed.high) == pytest.approx((1.5 / 1.1**2**0.5, 1.5 * 1.1**2**0.5))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            judged(TEXTS, kl_text_0=0.1, where=THERE),
            r"dtype and versions \(Xeon, unknown dtype \[\w+\] against H200",
        ),
        (
            replace(judged(TEXTS, kl_text_0=0.1), key=replace(judged(TEXTS).key, model_digest="n")),
            r"same model \(m against n\)",
        ),
        (
            replace(judged(TEXTS, kl_text_0=0.1), key=replace(judged(TEXTS).key, evaluator_version="2")),
            "evaluator's version",
        ),
        (replace(judged(TEXTS, kl_text_0=0.1), key=replace(judged(TEXTS).key, seed=1)), "same workload"),
        (judged(TEXTS, status=Status.CRASHED), "candidate 2 has no figures"),
    ],
)
def test_other_circumstances_are_refused_in_a_sentence(other, said):
    with pytest.raises(IncomparableError, match=said):
        compare([record(1, judged(TEXTS, kl_text_0=0.1)), record(2, other)], KNOWN)


def test_one_alone_is_refused():
    with pytest.raises(IncomparableError, match="two or more"):
        compare([record(1)], KNOWN)
