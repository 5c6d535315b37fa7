"""Passages as tokens of one model: exact lengths, in its own form.

Where a model has a chat template, the passage is the user's turn and the answer the assistant's; else they follow each
other. The question itself is not in the prompt: prefill is dense, and a model that reads the question there may look up
the answer before anything is decoded. It is dictated, token by token, as the beginning of the answer (`Question.lead`).
So whatever is looked up is looked up by decode steps, whose reads are sparse, and so is every token that is judged: the
one token that comes from prefill is the first that is dictated.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from search.evaluator.retrieval.kinds import KINDS, passage_of
from search.workloads import LARGEST_PAGE, SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.evaluator.retrieval.kinds import Passage, Question
    from search.records import Workload

    Encode = Callable[[str], list[int]]

MARK = "\u2042"  # stands for the passage while a chat template is written; no template has it
SPARE_TOKENS = 2  # beyond what the right answer takes, so that a space or a full stop does not cut it off
SEPARATOR = ":"


class QuestionsError(ValueError):
    """A workload cannot be asked. The message says why and what to do."""


@dataclass(frozen=True)
class TooShort:
    """A kind whose passage does not fit a length, which would have to be of about `least` tokens."""

    kind: str
    num_tokens: int
    least: int

    def __str__(self) -> str:
        return f"{self.kind} at {self.num_tokens} (takes about {self.least})"


@dataclass(frozen=True)
class Form:
    """How a model is spoken to: `start` are the tokens that prompts begin with; a passage stands between two texts."""

    start: tuple[int, ...]
    before: str
    after: str


@dataclass(frozen=True)
class Prompt:
    """One passage as tokens, with its questions: for each, the tokens that are dictated and how many may follow."""

    kind: str
    num_tokens: int  # of the workload: prompt, dictated tokens and answer never take more
    tokens: tuple[int, ...]
    questions: tuple[Question, ...]
    leads: tuple[tuple[int, ...], ...]
    num_answer_tokens: tuple[int, ...]


@dataclass(frozen=True)
class Questionnaire:
    """What a workload comes to: its prompts, and the kinds that are left out at lengths which are too short."""

    prompts: tuple[Prompt, ...]
    left_out: tuple[TooShort, ...]


def form_of(tokenizer: Any) -> Form:
    """Read a tokenizer's chat template, and the tokens that it puts before a text."""
    if getattr(tokenizer, "chat_template", None):
        turn = [{"role": "user", "content": MARK}]
        before, after = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True).split(MARK)
        return Form((), before, after)
    mark = tokenizer.encode(MARK, add_special_tokens=False)
    whole = tokenizer.encode(MARK)
    starts = len(whole) > len(mark) and whole[1 : 1 + len(mark)] == mark
    return Form(tuple(whole[:1]) if starts else (), "", "\n\n")


def kinds_of(workload: Workload) -> tuple[str, ...]:
    """Give the kinds that a workload asks: those that its source names, between colons, else all."""
    asked = tuple(workload.source.split(SEPARATOR)) if workload.source else tuple(KINDS)
    unknown = [kind for kind in asked if kind not in KINDS]
    if unknown:
        raise QuestionsError(f"there is no kind of question {unknown[0]!r}: choose of {', '.join(KINDS)}")
    return asked


def questions_of(workload: Workload, seed: int, encode: Encode, form: Form) -> Questionnaire:
    """Write a workload's prompts: all kinds in all lengths, in turn, `num_sequences` with those that are left out.

    A kind is left out at a length where one of its passages does not fit: those that happen to fit are no fair sample
    of it. Deterministic in all arguments. Raises QuestionsError where split or kind is unknown, or nothing fits.
    """
    if workload.split not in SPLITS:
        raise QuestionsError(f"there is no split {workload.split!r}: a workload's split is {' or '.join(SPLITS)}")
    cells = [(kind, length) for length in workload.all_lengths for kind in kinds_of(workload)]
    too_short: dict[tuple[str, int], TooShort] = {}
    written: list[Prompt] = []
    for i in range(workload.num_sequences):
        kind, length = cells[i % len(cells)]
        name = f"{seed}/{workload.split}/{length}/{kind}/{i // len(cells)}"
        found = _prompt(kind, length, name, workload.split, encode, form)
        if isinstance(found, TooShort):
            too_short[kind, length] = max(found, too_short.get((kind, length), found), key=attrgetter("least"))
        else:
            written.append(found)
    prompts = tuple(each for each in written if (each.kind, each.num_tokens) not in too_short)
    if not prompts:
        raise QuestionsError(f"no passage fits: {', '.join(map(str, too_short.values()))}; ask for more tokens")
    return Questionnaire(prompts, tuple(too_short.values()))


def _prompt(kind: str, num_tokens: int, name: str, split: str, encode: Encode, form: Form) -> Prompt | TooShort:
    """Write one prompt that leaves room for its longest question and answer.

    Prefix caches, of whatever page size, hold all but its last token.
    """
    rng = random.Random(name)
    passage = passage_of(kind, rng, split)
    leads = tuple(tuple(encode(question.lead)) for question in passage.questions)
    lengths = tuple(len(encode(question.answer)) + SPARE_TOKENS for question in passage.questions)
    longest = max(len(lead) + length for lead, length in zip(leads, lengths, strict=True))
    size = (num_tokens - longest - 1) // LARGEST_PAGE * LARGEST_PAGE + 1
    before = (*form.start, *encode(f"{form.before}{passage.instruction}\n\n"))
    after = encode(form.after)
    tokens = _haystack(passage, rng, size - len(before) - len(after), encode)
    if tokens is None:
        filler = (passage.filler() for _ in range(_least_filler(passage)))
        held = len(encode(" ".join((*passage.told, *filler))))
        return TooShort(kind, num_tokens, len(before) + held + len(after) + longest + LARGEST_PAGE)
    return Prompt(kind, num_tokens, (*before, *tokens, *after), passage.questions, leads, lengths)


def _haystack(passage: Passage, rng: random.Random, num_tokens: int, encode: Encode) -> list[int] | None:
    """Give exactly so many tokens: what is told in its order, at places drawn by lot, and filler around it.

    What is too much is cut from the front, where filler stands. Gives None where there is no room for enough filler.
    """
    if not encode(passage.filler()):
        raise QuestionsError("the model's tokenizer gives no tokens for English prose: leave this stage out")
    fillers: list[str] = []
    room = num_tokens - sum(len(encode(f" {sentence}")) for sentence in passage.told)
    while room > 0:
        fillers.append(passage.filler())
        room -= len(encode(f" {fillers[-1]}"))
    if len(fillers) < _least_filler(passage):
        return None
    longest = max(range(len(fillers)), key=lambda i: len(fillers[i]))
    sentences = [fillers.pop(longest), *fillers]  # the cut falls into the first, as no other is longer
    places = sorted(rng.randrange(1, len(sentences) + 1) for _ in passage.told)
    for place, told in reversed(list(zip(places, passage.told, strict=True))):
        sentences.insert(place, told)
    tokens = encode(" ".join(sentences))
    while len(tokens) < num_tokens:  # a sentence may take fewer tokens beside others than alone
        sentences.insert(0, passage.filler())
        tokens = encode(" ".join(sentences))
    return tokens[len(tokens) - num_tokens :]


def _least_filler(passage: Passage) -> int:
    """Give how many sentences of filler a passage is hidden among at least."""
    return len(passage.told) // 2 + 2
