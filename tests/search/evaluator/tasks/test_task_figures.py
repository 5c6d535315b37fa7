"""Documents are compared one by one, whatever lm-eval averages."""

import pytest

from search.evaluator.tasks import figures


def report(*values, metric="exact_match", filters=("none",)):
    samples = [
        {"doc_id": i, "filter": each, "metrics": [metric], metric: value}
        for each in filters
        for i, value in enumerate(values)
    ]
    return {"samples": {"own": samples[::-1]}}


def test_each_filter_is_a_metric_and_documents_are_in_order():
    scores = figures.scores_of([report(1, 0, 1, filters=("strict", "none"))], "own")
    assert scores == {"exact_match": [1, 0, 1], "exact_match_strict": [1, 0, 1]}


def test_repeats_are_averaged_per_document():
    assert figures.scores_of([report(1, 0), report(0, 0), report(1, 0), report(0, 1)], "own") == {
        "exact_match": [0.5, 0.25]
    }


def test_a_length_that_a_document_does_not_have_is_left_out():
    assert figures.scores_of([report(-1.0, 0.5, metric="4096")], "own") == {"4096": [0.5]}


@pytest.mark.parametrize(("higher", "loss"), [(True, 0.5), (False, -0.5)])
def test_loss_is_above_zero_where_sparse_is_worse(higher, loss):
    found = figures.paired_measurements({"m": [1, 0, 0, 0]}, {"m": [1, 1, 1, 0]}, {"m": higher})
    by_name = {m.name: m for m in found}
    assert by_name["loss"].value == loss
    assert by_name["loss"].low < loss < by_name["loss"].high
    assert (by_name["m"].value, by_name["dense_m"].value) == (0.25, 0.75)
    assert by_name["m"].num_samples == 4


def test_only_right_and_wrong_are_written_as_such():
    assert figures.right_and_wrong([1.0, 0.0]) == "10"
    assert figures.right_and_wrong([0.5, 0.0]) == ""
