"""Answers are judged by their words."""

import pytest

from search.evaluator.retrieval.kinds import Question
from search.evaluator.retrieval.scoring import share_right

VALUES = Question("The numbers are", " 1234 and 5678.", ("1234", "5678"))
CHAIN = Question(
    "The owl gave the key to the",
    " fox. The fox gave the key to the cat.",
    ("fox", "cat"),
    (("owl", "fox"), ("fox", "cat"), ("cat", "owl")),
)


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        (" 1234 and 5678.", 1.0),
        ("5678,1234", 1.0),
        (" 5678 and 9999", 0.5),
        (" 12345678", 0.0),
        (" 12, 34, 56 and 78", 0.0),
    ],
)
def test_values_count_as_whole_words_in_any_order(answer, share):
    assert share_right(VALUES, answer) == share


def test_case_and_punctuation_do_not_matter():
    assert share_right(Question("Who?", " Owl.", ("Owl",)), '\n"OWL"!') == 1.0


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        (" fox. The fox gave the key to the cat.", 1.0),
        ("FOX, cat", 1.0),
        (" cat. The cat gave the key to the owl.", 0.5),  # the second link follows from what was said before it
        (" fox. The fox gave the key to the owl.", 0.5),
        (" fox.", 0.5),
        (" cat.", 0.0),
        ("", 0.0),
    ],
)
def test_links_are_judged_by_the_one_before(answer, share):
    assert share_right(CHAIN, answer) == share
