"""What an engine is asked to answer, and how many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class Ask:
    """One prompt and how it is answered: greedily where `temperature` is 0, else as `seed` draws.

    The answer begins with the tokens `forced`, whatever the model would say, and has at most `num_tokens`, these
    included. With `ends` it ends earlier where the model ends it or completes one of the texts of `stop`.
    """

    prompt: Sequence[int]
    num_tokens: int
    forced: Sequence[int] = ()
    ends: bool = False
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0


def waves(asks: Sequence[Ask], num_pages: int, page_size: int) -> Iterator[list[Ask]]:
    """Divide asks, in their order, into as many at once as the KV cache holds: none is ever preempted.

    Asks of one prompt share its pages but the last. Raises ValueError for one that the cache does not hold alone.
    """
    wave: list[Ask] = []
    seen: set[tuple[int, ...]] = set()
    free = num_pages
    for ask in asks:
        prompt = tuple(ask.prompt)
        whole = -(-(len(prompt) + ask.num_tokens) // page_size)
        if whole > num_pages:
            raise ValueError(
                f"a prompt of {len(prompt)} tokens with {ask.num_tokens} to come does not fit into the KV cache of "
                f"{num_pages * page_size} tokens: ask for less, or start the engine with a larger one"
            )
        needed = whole - (len(prompt) - 1) // page_size if prompt in seen else whole
        if needed > free:
            yield wave
            wave, seen, free, needed = [], set(), num_pages, whole
        wave.append(ask)
        seen.add(prompt)
        free -= needed
    if wave:
        yield wave
