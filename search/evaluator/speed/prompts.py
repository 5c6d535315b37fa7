"""What is decoded when speed is measured: the texts of fidelity, for how many pages a rule reads may depend on them."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from search.evaluator.fidelity.texts import encoder, first_tokens, texts_of
from search.evaluator.probe.vocabulary import VOCABULARY, is_spoken
from search.workloads import LARGEST_PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from search.records import Workload

NUM_TOKENS = 9  # of each answer; the first comes from prefill, so 8 decode steps are timed
# Lengths that are judged are those of whole pages of any size, and 8 steps from there complete none: what a rule
# computes of a page once it is full would never be timed, and it may take as long as all else. So of four prompts one
# is cut so that a page of 16 ends within its steps, and another so that one of each size does: those of 16 and 32 as
# often as in a long answer, larger ones twice and four times as often.
CUT = 21
CUT_IN_WHOLE_PAGES = 4  # tokens before the end of the largest page


def prompts_of(workload: Workload, seed: int, tokenizer: Any, scratch: Path) -> list[tuple[int, ...]]:
    """Give a workload's prompts, over all its lengths: each the beginning of another document, so none share pages.

    Some of them are a little shorter. For the probe's model, which reads no prose, they are random words.
    tokenizer: of transformers; scratch: where a file's text lies. Raises TextError where the source does not hold so
    many documents.
    """
    documents = documents_of(workload, seed, tokenizer, scratch)
    lengths = _timed(workload.all_lengths, len(documents))
    return [
        document[: max(1, _cut(i, length))] for i, (document, length) in enumerate(zip(documents, lengths, strict=True))
    ]


def _cut(place: int, length: int) -> int:
    """Give the tokens of a prompt by its place among all."""
    ends = length // LARGEST_PAGE * LARGEST_PAGE
    return (length, length - CUT, length, ends - CUT_IN_WHOLE_PAGES if ends else length)[place % 4]


def _timed(lengths: Sequence[int], number: int) -> list[int]:
    """Give the length of each of so many prompts: all in turn, or where these are more, evenly from first to last."""
    if 1 < number < len(lengths):
        return [lengths[round(i * (len(lengths) - 1) / (number - 1))] for i in range(number)]
    return list(islice(cycle(lengths), number))


def documents_of(workload: Workload, seed: int, tokenizer: Any, scratch: Path) -> list[tuple[int, ...]]:
    """Give what `prompts_of` gives the beginnings of: the longest prompts of fidelity's documents, if it asks for them.

    Whoever has prefilled those has prefilled these. Raises TextError.
    """
    lengths, encode = workload.all_lengths, encoder(tokenizer)
    if is_spoken(encode):
        rng = random.Random(f"{seed}/{workload.split}")
        some = _timed(lengths, workload.num_sequences)
        return [tuple(rng.choices(range(len(VOCABULARY)), k=length)) for length in some]
    longest = replace(workload, lengths=(max(lengths),))
    return [text.prompt for text in texts_of(longest, encode, seed, first_tokens(tokenizer), scratch)]
