"""What is decoded while queries, keys and values are recorded: the workload's texts, in the model's own tokens."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from search.evaluator.probe import chains

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from search.records import Workload

    Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class Asked:
    """One prompt, and what it is made to go on with; chains are answered by the model itself.

    Prompts of one `name` begin alike, so they are one cluster for intervals.
    """

    name: str
    prompt: tuple[int, ...]
    forced: tuple[int, ...] = ()


def asked_texts(workload: Workload, encode: Encode, seed: int, scratch: Path) -> list[Asked]:
    """Give `num_sequences` prompts of the workload's lengths in turn, shortest first.

    They are chains where the model has the probe's words for its tokens, else what fidelity is measured on. Raises
    ValueError where the source does not hold so many.
    """
    asked = _chains(workload, encode, seed) if _speaks_chains(encode) else _prose(workload, encode, seed, scratch)
    return sorted(asked, key=lambda text: len(text.prompt))


def by_length(asked: Sequence[Asked]) -> list[list[Asked]]:
    """Put texts of one length together; they are sorted by it."""
    return [list(texts) for _, texts in groupby(asked, key=lambda text: len(text.prompt))]


def _speaks_chains(encode: Encode) -> bool:
    """Tell whether every word of the probe is the token that the probe's own model has for it."""
    return encode([" ".join(chains.VOCABULARY)]) == [list(range(len(chains.VOCABULARY)))]


def _chains(workload: Workload, encode: Encode, seed: int) -> list[Asked]:
    """Share the prompts out over lengths, and over the kinds of chains."""
    lengths, kinds = workload.all_lengths, chains.KINDS
    asked = []
    for i in range(workload.num_sequences):
        turn, length = i // len(lengths), lengths[i % len(lengths)]
        kind, number = kinds[turn % len(kinds)], turn // len(kinds)
        problem = chains.make_problems(kind, number + 1, length, seed, workload.split)[number]
        asked.append(Asked(f"{kind} {turn}", tuple(encode([problem.prompt])[0])))
    return asked


def _prose(workload: Workload, encode: Encode, seed: int, scratch: Path) -> list[Asked]:
    from search.evaluator.fidelity.texts import texts_of

    texts = texts_of(workload, lambda text: encode([text])[0], seed, scratch=scratch)
    return [Asked(text.name, text.prompt, text.forced) for text in texts]
