"""What is decoded when speed is measured: the texts of fidelity, for how many pages a rule reads may depend on them."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from search.evaluator.fidelity.texts import encoder, first_tokens, texts_of
from search.evaluator.probe.vocabulary import VOCABULARY, is_spoken

if TYPE_CHECKING:
    from pathlib import Path

    from search.records import Workload

NUM_TOKENS = 9  # of each answer; the first comes from prefill, so 8 decode steps are timed
# Tokens by which prompts are cut, in turn. Lengths that are judged are those of whole pages of any size, and 8 steps
# from there complete none: what a rule computes of a page once it is full would never be timed. So a page of 16 ends
# within the steps of every second prompt, one of 32 within those of every fourth, as often as in a long answer.
CUTS = (0, 21, 0, 37)


def prompts_of(workload: Workload, seed: int, tokenizer: Any, scratch: Path) -> list[tuple[int, ...]]:
    """Give a workload's prompts, of its lengths in turn: each the beginning of another document, so none share pages.

    Some of them are a little shorter, by `CUTS`. For the probe's model, which reads no prose, they are random words.
    tokenizer: of transformers; scratch: where a file's text lies. Raises TextError where the source does not hold so
    many documents.
    """
    lengths, encode = workload.all_lengths, encoder(tokenizer)
    if is_spoken(encode):
        return _random_prompts(workload, seed)
    whole = replace(workload, num_sequences=workload.num_sequences * len(lengths))
    texts = texts_of(whole, encode, seed, first_tokens(tokenizer), scratch)
    return [_cut(texts[i * len(lengths) + i % len(lengths)].prompt, i) for i in range(workload.num_sequences)]


def _random_prompts(workload: Workload, seed: int) -> list[tuple[int, ...]]:
    rng = random.Random(f"{seed}/{workload.split}")
    lengths = islice(cycle(workload.all_lengths), workload.num_sequences)
    return [_cut(tuple(rng.choices(range(len(VOCABULARY)), k=length)), i) for i, length in enumerate(lengths)]


def _cut(prompt: tuple[int, ...], turn: int) -> tuple[int, ...]:
    return prompt[: max(1, len(prompt) - CUTS[turn % len(CUTS)])]
