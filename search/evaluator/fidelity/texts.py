"""The texts that both engines decode: prose or code that every Python has, or a file's, cut by the model's tokenizer.

A source is divided between the splits by its characters before anything is tokenised, so nothing of "search" stands in
"held_out" whatever the lengths. A split's tokens are then cut into documents of equal length; each seed takes its own
documents until there are no more, and begins anew from there. The prompts of one document are its beginnings, of each
length in turn: they share their prefill.

The help topics are too short for long texts; Python's standard library (`library.py`) is the source of those. Both
differ between versions of Python; `Environment.python` is part of every evaluation's key, so figures on different prose
never share a row.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from search.evaluator.fidelity import library
from search.evaluator.fidelity.given import TextError, kept_text
from search.workloads import FORCED_TOKENS, LARGEST_PAGE, SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from search.records import Workload

PARAGRAPH = "\n\n"
OWN = "own"  # the kind of a text that the dense engine goes on with by itself


@dataclass(frozen=True)
class Text:
    """What is decoded once: `prompt` is prefilled, then `forced` is emitted whatever the model would say.

    `name` is the document that it is cut from: texts of one name begin alike. `kind` is "prose", "code" or "file" where
    the document goes on with `forced`, "own" where the dense engine's greedy continuation has to take its place.
    """

    name: str
    kind: str
    prompt: tuple[int, ...]
    forced: tuple[int, ...]


class Tokenizer(Protocol):
    """What is asked of a model's tokenizer."""

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins texts, if there is one."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Turn a text into tokens."""


def encoder(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    """Give what turns a text of any length into tokens, without special ones."""
    return lambda text: tokenizer.encode(text, add_special_tokens=False)


def first_tokens(tokenizer: Tokenizer) -> list[int]:
    """Give the token that this tokenizer puts before a text, if it does so."""
    return [token for token in tokenizer.encode("")[:1] if token == tokenizer.bos_token_id]


def cached_tokens(workload: Workload) -> int:
    """Give the tokens that a KV cache has to hold for all texts of a workload."""
    documents = math.ceil(workload.num_sequences / len(workload.all_lengths))
    return documents * document_tokens(workload.all_lengths, workload.num_decoded or FORCED_TOKENS)


def document_tokens(lengths: Sequence[int], num_decoded: int) -> int:
    """Give the tokens that a KV cache has to hold for a document's texts, at the largest page size and so at any.

    Whole pages before a prompt's last token are those of the longest text; the rest is its own.
    """
    shared = [(length - 1) // LARGEST_PAGE for length in lengths]
    own = [
        math.ceil((length + num_decoded) / LARGEST_PAGE) - pages for length, pages in zip(lengths, shared, strict=True)
    ]
    return LARGEST_PAGE * (max(shared) + sum(own))


def turns(texts: Sequence[Text], num_decoded: int, room: int) -> list[Sequence[Text]]:
    """Cut texts into runs of whole documents that a KV cache of `room` tokens holds at once, as few as it can be."""
    found: list[list[Text]] = []
    left = 0
    for _, document in groupby(texts, key=lambda text: text.name):
        some = list(document)
        needed = document_tokens([len(text.prompt) for text in some], num_decoded)
        if not found or needed > left:
            found.append([])
            left = room
        found[-1].extend(some)
        left -= needed
    return list(found)


def texts_of(
    workload: Workload,
    encode: Callable[[str], list[int]],
    seed: int,
    start: Sequence[int] = (),
    scratch: Path | None = None,
) -> list[Text]:
    """Cut a workload's texts: `num_sequences` of `all_lengths` in turn, every document in all lengths before the next.

    `encode` tokenises without special tokens; `start` are those that prompts begin with (they count in the length).
    `scratch` is where a file's text lies (`given.keep_text`), for workloads whose source is one. Raises TextError where
    the source does not hold so many documents, or the split is unknown.
    """
    lengths, kind = workload.all_lengths, _kind(workload.source)
    num_forced = workload.num_decoded or FORCED_TOKENS
    size = max(lengths) + num_forced - len(start)
    if min(lengths) <= len(start):
        raise TextError(f"a text of {min(lengths)} tokens holds no prose: ask for at least {len(start) + 1} tokens")
    needed = math.ceil(workload.num_sequences / len(lengths))
    tokens = encode(split_of(workload.source, workload.split, scratch))
    chosen = _chosen(len(tokens) // size, needed, seed)
    if not chosen:
        raise TextError(
            f"{needed} documents of {size} tokens are asked of the split {workload.split!r}, but its "
            f"{_source(workload)} has {len(tokens)} tokens in this model's tokenizer: ask for fewer or shorter texts, "
            "or give a longer file"
        )
    texts = []
    for i in range(workload.num_sequences):
        turn, length = i // len(lengths), lengths[i % len(lengths)]
        document = [*start, *tokens[chosen[turn] * size : (chosen[turn] + 1) * size]]
        forced = document[length : length + num_forced]
        texts.append(Text(f"{kind} {chosen[turn]}", kind, tuple(document[:length]), tuple(forced)))
    return texts


def split_of(source: str, split: str, scratch: Path | None) -> str:
    """Give the text of one split of a workload's source."""
    if split not in SPLITS:
        raise TextError(f"there is no split {split!r}: a workload's split is {' or '.join(SPLITS)}")
    if not source:
        return _help_topics()[SPLITS.index(split)]
    if source.startswith(library.PREFIX):
        return library.library(source)[SPLITS.index(split)]
    if scratch is None:
        raise TextError(f"the workload's source is {source}, but no folder was named that holds texts")
    return _halves(kept_text(source, scratch))[SPLITS.index(split)]


def _chosen(num_documents: int, needed: int, seed: int) -> list[int]:
    """Give the documents of one seed, in an order that takes neighbours apart; none where there are too few."""
    if needed > num_documents:
        return []
    order = list(range(num_documents))
    random.Random("documents").shuffle(order)
    return [order[(seed * needed + i) % num_documents] for i in range(needed)]


def _kind(source: str) -> str:
    """Say what a source is, in a word."""
    if not source:
        return "prose"
    return "code" if source.startswith(library.PREFIX) else "file"


def _source(workload: Workload) -> str:
    return f"{_kind(workload.source)} {workload.source or 'of the help topics of Python'}"


def _halves(text: str) -> tuple[str, str]:
    """Cut a file in two, between paragraphs where there are some, else between lines.

    What stands in several places stays in the first: the second half must not hold what stands in the other.
    """
    between = PARAGRAPH if PARAGRAPH in text else "\n"
    middle = len(text) // 2
    cut = text.find(between, middle)
    halves = (text[:middle], text[middle:]) if cut < 0 else (text[:cut], text[cut:])
    seen: set[str] = set()
    return _unseen(halves[0], seen, between), _unseen(halves[1], seen, between)


@cache
def _help_topics() -> tuple[str, str]:
    """Share Python's help topics out between the splits: each, largest first, to the smaller.

    A paragraph that stands in several topics stays in one of them: topics quote each other at length, and a split must
    not hold what stands in the other.
    """
    from pydoc_data.topics import topics

    seen: set[str] = set()
    sections = [_unseen(topics[name], seen) for name in sorted(topics)]
    splits: tuple[list[str], list[str]] = [], []
    for section in sorted(sections, key=len, reverse=True):
        min(splits, key=lambda split: sum(map(len, split))).append(section)
    return PARAGRAPH.join(splits[0]), PARAGRAPH.join(splits[1])


def _unseen(section: str, seen: set[str], between: str = PARAGRAPH) -> str:
    """Give a section's paragraphs that were not seen before, however they were broken into lines."""
    kept = []
    for paragraph in section.split(between):
        words = " ".join(paragraph.split())
        if words and words not in seen:
            kept.append(paragraph)
        seen.add(words)
    return between.join(kept)
