"""Passages: what they tell is what is asked, and splits share nothing."""

import random

import pytest

from search.evaluator.retrieval.kinds import KINDS, passage_of
from search.evaluator.retrieval.material import nouns, prose
from search.evaluator.retrieval.scoring import share_right
from search.workloads import SPLITS, split_by_hash

TOLD = sorted(set(KINDS) - {"words"})


def drawn(kind, split="search", name="seed"):
    return passage_of(kind, random.Random(name), split)


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_answer_is_right_and_silence_is_not(kind):
    for question in drawn(kind).questions:
        assert share_right(question, question.answer) == 1.0
        assert share_right(question, "") == 0.0
        assert share_right(question, "I do not know.") == 0.0


@pytest.mark.parametrize("kind", TOLD)
def test_what_is_asked_is_told_and_not_given_away(kind):
    passage = drawn(kind)
    text = " ".join(passage.told)
    for question in passage.questions:
        assert all(word in text for word in question.expected)
        assert not any(word in question.lead.split() for word in question.expected)


def test_common_words_are_far_more_common():
    passage = drawn("words")
    words = " ".join(passage.filler() for _ in range(50)).split()
    common = passage.questions[0].expected
    assert all(words.count(word) == 50 for word in common)
    assert max(words.count(word) for word in set(words) - set(common)) < 20


def test_splits_have_other_words_and_other_prose():
    assert set(nouns("search")).isdisjoint(nouns("held_out"))
    assert set(prose("search")).isdisjoint(prose("held_out"))
    for split in SPLITS:
        assert len(set(nouns(split))) == len(nouns(split)) >= 140
        assert len(prose(split)) > 200
        assert all(split_by_hash(sentence) == split for sentence in prose(split))


@pytest.mark.parametrize("kind", KINDS)
def test_a_passage_depends_on_its_name_alone(kind):
    assert (drawn(kind).told, drawn(kind).questions) == (drawn(kind).told, drawn(kind).questions)
    assert drawn(kind).questions != drawn(kind, name="other").questions
    assert drawn(kind).questions != drawn(kind, split="held_out").questions
