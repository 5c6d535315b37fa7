"""The grammar of predictions: what is read, and what is told of what is not."""

import pytest

from search.journal.entries import MAX_PREDICTION, MAX_TEXT, Hypothesis, Note
from search.journal.prediction import MAX_COMPARISONS, Predicted, PredictionError, fault, parse_prediction


@pytest.mark.parametrize(
    ("text", "comparisons", "ratio"),
    [
        ("kl < 0.03 at 8", [("kl", "<", 0, 0.03)], 8),
        ("bytes_per_page <= 160", [("bytes_per_page", "<=", 0, 160)], None),
        ("kl < parent", [("kl", "<", 1, 0)], None),
        ("bytes_per_page < 0.5 parent", [("bytes_per_page", "<", 0.5, 0)], None),
        ("bytes_per_page<.5*parent at 16x", [("bytes_per_page", "<", 0.5, 0)], 16),
        ("accuracy >= parent - 2e-2", [("accuracy", ">=", 1, -0.02)], None),
        ("retrieval_loss > -0.1", [("retrieval_loss", ">", 0, -0.1)], None),
        (" mass > 1.1 parent + .01  AND  kl < 2 AT 8 X ", [("mass", ">", 1.1, 0.01), ("kl", "<", 0, 2)], 8),
    ],
)  # fmt: skip
def test_what_is_read(text, comparisons, ratio):
    found = parse_prediction(text)
    assert found.comparisons == tuple(Predicted(*each) for each in comparisons)
    assert found.ratio == ratio


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "predicts no figure; write 'bytes_per_page"),
        ("better", "'better' compares no figure"),
        ("kls < 3", "no figure 'kls'; did you mean 'kl'"),
        ("__class__ < 3", "there is no figure '__class__'"),
        ("kl == 3", "compares no figure"),
        ("kl < dense", "'dense' is neither a number nor relative to the parent"),
        ("kl < -1 parent", "neither a number"),
        ("kl < parent * 2", "neither a number"),
        ("kl < 1e999", "too large a number"),
        ("kl < 1e999 parent", "too large a number"),
        ("kl < nan", "neither a number"),
        ("kl < 3 at 0", "names the cost ratio 0"),
        ("kl < 3 at -8", "names the cost ratio -8"),
        ("kl < 3 or kl > 4", "neither a number"),
        (" and ".join(["kl < 3"] * (MAX_COMPARISONS + 1)), f"at most {MAX_COMPARISONS}"),
        ("k" * (MAX_PREDICTION + 1), f"at most {MAX_PREDICTION} characters"),
    ],
)
def test_what_is_not_read_is_told(text, told):
    with pytest.raises(PredictionError) as error:
        parse_prediction(text)
    assert told in str(error.value)


def test_a_hypothesis_that_cannot_be_judged_says_why():
    assert fault(Hypothesis("it helps", "kl < 0.03")) == ""
    assert "no figure 'speed'" in fault(Hypothesis("it helps", "speed > 2"))


@pytest.mark.parametrize(
    "text", ["kl < parent", "kl < 0.5 parent - 0.02", "kl >= 1.5", "cost_ratio <= 2 parent + 1", "kl > -0.5"]
)
def test_a_comparison_is_written_as_it_is_read(text):
    (predicted,) = parse_prediction(text).comparisons
    assert parse_prediction(f"{predicted.figure} {predicted}").comparisons == (predicted,)


def test_entries_are_in_bounds_and_hold_nothing_unseen():
    hostile = "a\x1b[31m\u202eb\n# c\0" + "d" * 10_000
    for text in (
        Hypothesis(hostile, hostile).text,
        Hypothesis(hostile, hostile).prediction,
        Note(hostile, hostile).text,
    ):
        assert text.startswith("a\ufffd[31m\ufffdb # c\ufffdd")
        assert len(text) <= MAX_TEXT
        assert "\n" not in text
    once = Hypothesis(hostile, hostile)
    assert Hypothesis(once.text, once.prediction) == once
