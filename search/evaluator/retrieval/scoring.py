"""Answers judged from text: case, punctuation and the order of several values do not matter."""

from __future__ import annotations

import re
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.evaluator.retrieval.kinds import Question

_WORD = re.compile(r"\w+")


def share_right(question: Question, answer: str) -> float:
    """Give the share of expected words that an answer has, as RULER scores several values; 1.0 is right.

    Links of a chain are judged as hops are by the probe: each by the word that was emitted before it, so one error is
    one error. `answer` is what followed the lead.
    """
    words = _WORD.findall(answer.casefold())
    expected = [word.casefold() for word in question.expected]
    if not question.following:
        return sum(word in words for word in expected) / len(expected)
    following = {key.casefold(): value.casefold() for key, value in question.following}
    start = next(key for key, value in following.items() if value == expected[0])
    links = [start, *(word for word, _ in groupby(word for word in words if word in following))]
    hops = [following[before] == after for before, after in pairwise(links)][: len(expected)]
    return sum(hops) / len(expected)
