"""The kinds of questions, after RULER (arXiv:2404.06654), and the probe's chains in words that a model knows.

A question is the beginning of an answer, `lead`, which a model is made to say; what it goes on with is judged. A
passage asks several questions where it holds so much: they share its prefill, and are one cluster for intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from search.evaluator.retrieval.material import drawn_sentence, nouns, prose
from search.workloads import SPLITS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

NUM_QUESTIONS = 4  # to a passage, where its kind has so many
NUM_KEYS = 12
NUM_VALUES = 2
NUM_VARIABLES = 3
NUM_COMMON, NUM_RARE = 2, 40
NUM_LINKS, NUM_HOPS = 8, 3
LETTERS = "BCDEFGHJKLMNPQRSTUVWXYZ"  # without those that are words, or look like digits
NUMBER = "The secret number of the {} is {}."
LINK = "The {} gave the key to the {}."


@dataclass(frozen=True)
class Question:
    """One thing asked of a passage.

    lead: what the answer begins with; answer: what a model goes on with that knows it; expected: the words of it that
    are looked for, in any order. Where `following` is given, they are links of a chain, each judged by the one before.
    """

    lead: str
    answer: str
    expected: tuple[str, ...]
    following: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Passage:
    """What a passage has to hold: sentences in the order in which they stand, and what is asked of them.

    instruction: what the model is told before it reads; filler: draws one more sentence to hide them among.
    """

    instruction: str
    told: tuple[str, ...]
    questions: tuple[Question, ...]
    filler: Callable[[], str]


def passage_of(kind: str, rng: random.Random, split: str) -> Passage:
    """Draw a passage of one kind from a split's words and prose. Raises KeyError for an unknown kind."""
    return KINDS[kind](rng, split)


def _needle(rng: random.Random, split: str) -> Passage:
    """Hide few sentences, each with a number, in a haystack of prose; each number is asked."""
    return _numbers(rng, split, rng.sample(nouns(split), NUM_QUESTIONS))


def _many_keys(rng: random.Random, split: str) -> Passage:
    """Hide more of them than are asked."""
    return _numbers(rng, split, rng.sample(nouns(split), NUM_KEYS))


def _numbers(rng: random.Random, split: str, keys: list[str]) -> Passage:
    values = [_number(rng, split) for _ in keys]
    told = tuple(NUMBER.format(key, value) for key, value in zip(keys, values, strict=True))
    asked = list(zip(keys, values, strict=True))[:NUM_QUESTIONS]
    questions = tuple(Question(f"The secret number of the {key} is", f" {value}.", (value,)) for key, value in asked)
    return Passage("Remember the secret numbers in the text.", _shuffled(rng, told), questions, _prose(rng, split))


def _many_values(rng: random.Random, split: str) -> Passage:
    """Give one key several numbers, all of which are asked at once."""
    key, values = rng.choice(nouns(split)), [_number(rng, split) for _ in range(NUM_VALUES)]
    told = tuple(f"A secret number of the {key} is {value}." for value in values)
    lead = f"The {NUM_VALUES} secret numbers of the {key} are"
    question = Question(lead, f" {' and '.join(values)}.", tuple(values))
    return Passage("Remember all secret numbers in the text.", told, (question,), _prose(rng, split))


def _variables(rng: random.Random, split: str) -> Passage:
    """Assign variables to each other; all that have the value are asked, in the form of the text."""
    names, value = rng.sample(LETTERS[SPLITS.index(split) :: len(SPLITS)], NUM_VARIABLES), _number(rng, split)
    steps = [f"VAR {name} = VAR {before}." for before, name in pairwise(names)]
    question = Question(f"VAR {names[0]} = {value}. VAR", " ".join(steps).removeprefix("VAR"), tuple(names[1:]))
    told = (f"VAR {names[0]} = {value}.", *steps)
    return Passage("Follow the variables that are assigned in the text.", told, (question,), _prose(rng, split))


def _common_words(rng: random.Random, split: str) -> Passage:
    """List words, a few of which stand there far more often than the others; these are asked."""
    words = rng.sample(nouns(split), NUM_COMMON + NUM_RARE)
    common, rare = words[:NUM_COMMON], words[NUM_COMMON:]

    def some() -> str:
        row = [*common, *rng.sample(rare, 2 * NUM_COMMON)]
        return " ".join(rng.sample(row, len(row)))

    lead = f"The {NUM_COMMON} most common words in the list are"
    question = Question(lead, f" {' and '.join(common)}.", tuple(common))
    return Passage("Count the words in the list.", (), (question,), some)


def _chains(rng: random.Random, split: str) -> Passage:
    """Tell who gave the key to whom; link after link is asked."""
    words = rng.sample(nouns(split), NUM_LINKS)
    following = dict(zip(words, [*words[1:], words[0]], strict=True))
    told = tuple(LINK.format(giver, taker) for giver, taker in following.items())
    questions = []
    for start in rng.sample(words, NUM_QUESTIONS):
        links = [start]
        for _ in range(NUM_HOPS):
            links.append(following[links[-1]])
        answer = f" {links[1]}." + "".join(f" {LINK.format(a, b)}" for a, b in pairwise(links[1:]))
        lead = LINK.format(start, "").removesuffix(" .")
        questions.append(Question(lead, answer, tuple(links[1:]), tuple(following.items())))
    return Passage("Remember who gave the key to whom.", _shuffled(rng, told), tuple(questions), _prose(rng, split))


def _prose(rng: random.Random, split: str) -> Callable[[], str]:
    """Draw sentences of people and sentences of our own in turn."""
    sentences, words = prose(split), nouns(split)
    return lambda: rng.choice(sentences) if rng.random() < 0.75 else drawn_sentence(rng, words)


def _number(rng: random.Random, split: str) -> str:
    """Draw a number of four digits, of which each split has its own."""
    return str(rng.randrange(1000 + SPLITS.index(split), 10000, len(SPLITS)))


def _shuffled(rng: random.Random, sentences: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(rng.sample(sentences, len(sentences)))


KINDS: dict[str, Callable[[random.Random, str], Passage]] = {
    "needle": _needle,
    "keys": _many_keys,
    "values": _many_values,
    "variables": _variables,
    "words": _common_words,
    "chains": _chains,
}
