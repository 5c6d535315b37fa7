"""What is decoded when speed is measured: random tokens, since what they say does not matter, and their number does."""

from __future__ import annotations

import random
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records import Workload

NUM_TOKENS = 17  # of each answer; the first comes from prefill, so 16 decode steps are timed


def random_prompts(workload: Workload, seed: int, ids: Sequence[int]) -> list[list[int]]:
    """Draw a workload's prompts from these token ids, of its lengths in turn."""
    rng = random.Random(f"{seed}/{workload.split}")
    lengths = islice(cycle(workload.all_lengths), workload.num_sequences)
    return [rng.choices(ids, k=length) for length in lengths]


def ordinary_tokens(tokenizer: Any, vocab_size: int) -> list[int]:
    """Give the tokens that stand for text: neither special ones, nor what only pads the model's vocabulary.

    tokenizer: of transformers.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {})  # `all_special_ids` names only those with a role
    special = {*tokenizer.all_special_ids, *(number for number, token in added.items() if token.special)}
    return sorted(token for token in set(tokenizer.get_vocab().values()) - special if token < vocab_size)
