"""What is kept, what is dropped, and how both arms are paired."""

import pytest

from search.evaluator.retrieval import figures
from search.evaluator.retrieval.figures import Judged


def judged(kind, length, shares, first=0):
    return [Judged(first + i // 2, kind, length, share) for i, share in enumerate(shares)]


DENSE = [
    *judged("needle", 512, [1, 1, 1, 1, 0.5]),
    *judged("needle", 1024, [1, 1, 1, 0, 0], 10),
    *judged("values", 512, [0.5] * 4, 20),
]


def test_a_kind_that_dense_does_not_answer_is_dropped_where_it_is_so():
    assert figures.answered(DENSE) == DENSE[:5]
    assert figures.dropped(DENSE) == ["needle at 1024 (60%)", "values at 512 (0%)"]
    assert {m.name: m.value for m in figures.dense_measurements(DENSE)} == {
        "dense_accuracy_needle_512": 0.8,
        "dense_accuracy_needle_1024": 0.6,
        "dense_accuracy_values_512": 0.0,
    }


def test_losses_are_paired_and_have_intervals():
    dense = judged("needle", 512, [1] * 16) + judged("keys", 1024, [1] * 8, 10)
    sparse = judged("needle", 512, [1, 0] * 8) + judged("keys", 1024, [1] * 8, 10)
    found = {m.name: m for m in figures.paired_measurements(sparse, dense)}
    assert found["accuracy"].value == pytest.approx(16 / 24)
    assert found["loss"].value == pytest.approx(8 / 24)
    assert found["loss"].low < 8 / 24 < found["loss"].high
    assert found["dense_accuracy"].value == 1.0
    assert found["dense_accuracy"].low < 1.0, "certainty has a width"
    assert (found["accuracy_needle"].value, found["accuracy_1024"].value) == (0.5, 1.0)
    assert {name for name in found if name.startswith("dense_accuracy_")} == {
        *("dense_accuracy_needle", "dense_accuracy_keys", "dense_accuracy_512", "dense_accuracy_1024")
    }


def test_a_loss_that_is_a_gain_is_below_zero():
    dense, sparse = judged("needle", 512, [1, 0, 1, 1]), judged("needle", 512, [1, 1, 1, 1])
    assert {m.name: m.value for m in figures.paired_measurements(sparse, dense)}["loss"] == -0.25


def test_the_same_answers_to_few_questions_do_not_prove_that_nothing_is_lost():
    dense = [each for i in range(4) for each in judged("needle", 512, [1, 1], i)]
    loss = {m.name: m for m in figures.paired_measurements(dense, dense)}["loss"]
    assert loss.value == 0.0
    assert loss.low < -0.1
    assert loss.high > 0.1


def test_each_prompt_is_told_in_the_order_of_its_questions():
    dense = judged("needle", 512, [1] * 4) + judged("values", 1024, [1], 2)
    sparse = judged("needle", 512, [1, 0, 1, 1]) + judged("values", 1024, [0.5], 2)
    found = [m for m in figures.paired_measurements(sparse, dense) if "_prompt_" in m.name]
    assert [(m.name, m.value, m.num_samples) for m in found] == [
        ("right_needle_512_prompt_0", 0.5, 2),
        ("right_needle_512_prompt_1", 1.0, 2),
        ("right_values_1024_prompt_2", 0.0, 1),
    ]
