"""What is decoded while queries, keys and values are recorded: the workload's texts, in the model's own tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from search.evaluator.fidelity.texts import encoder, first_tokens, texts_of
from search.evaluator.probe import chains, vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from search.evaluator.fidelity.texts import Tokenizer
    from search.records import Workload

    Encode = Callable[[str], list[int]]


@dataclass(frozen=True)
class Asked:
    """One prompt, and what it is made to go on with; chains are answered by the model itself.

    Prompts of one `name` begin alike, so they are one cluster for intervals.
    """

    name: str
    prompt: tuple[int, ...]
    forced: tuple[int, ...] = ()


def asked_texts(workload: Workload, tokenizer: Tokenizer, seed: int, scratch: Path) -> list[Asked]:
    """Give `num_sequences` prompts of the workload's lengths in turn, shortest first, of twice as many documents.

    A document is recorded at every second length, each beginning with another: two clusters for intervals, and no more
    texts than one would take.

    They are chains where the model has the probe's words for its tokens, else what fidelity is measured on. Raises
    ValueError where the source does not hold so many.
    """
    if vocabulary.is_spoken(encoder(tokenizer)):
        asked = _chains(workload, encoder(tokenizer), seed)
    else:
        whole = replace(workload, num_sequences=2 * workload.num_sequences)
        texts = texts_of(whole, encoder(tokenizer), seed, first_tokens(tokenizer), scratch)
        places = (sum(divmod(i, len(workload.all_lengths))) for i in range(len(texts)))
        texts = [text for text, place in zip(texts, places, strict=True) if place % 2 == 0]
        asked = [Asked(text.name, text.prompt, () if text.kind == "own" else text.forced) for text in texts]
    return sorted(asked, key=lambda text: len(text.prompt))


def by_length(asked: Sequence[Asked]) -> list[list[Asked]]:
    """Put texts of one length together; they are sorted by it."""
    return [list(texts) for _, texts in groupby(asked, key=lambda text: len(text.prompt))]


def _chains(workload: Workload, encode: Encode, seed: int) -> list[Asked]:
    """Share the prompts out over lengths, and over the kinds of chains."""
    lengths, kinds = workload.all_lengths, chains.KINDS
    asked = []
    for i in range(workload.num_sequences):
        turn, length = i // len(lengths), lengths[i % len(lengths)]
        kind, number = kinds[turn % len(kinds)], turn // len(kinds)
        problem = chains.make_problems(kind, number + 1, length, seed, workload.split)[number]
        asked.append(Asked(f"{kind} {turn}", tuple(encode(problem.prompt))))
    return asked
