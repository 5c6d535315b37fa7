"""Training sequences: a chain context up to 90 % of the length, then chains asked from it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from search.evaluator.probe.chains import (
    ASK,
    KINDS,
    MIXES,
    START,
    draw_cycle,
    follow,
    num_keys_of,
    token_ids,
    write_context,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTEXT_SHARE = 0.9
MIN_KEYS = 5


def draw_sequence(rng: random.Random, num_tokens: int) -> tuple[list[int], list[bool]]:
    """Give the token ids of one sequence and, for each, whether it is a hop that the model must predict."""
    mix = replace(MIXES[rng.choice(KINDS)], apart=False)  # harder than the problems: outdated pairs anywhere
    most = num_keys_of(mix, num_tokens)
    following = draw_cycle(rng, rng.randint(min(MIN_KEYS, most), most))
    segments = [_draw_segment(rng, following)]
    asked = segments[0][1:-1]
    context = write_context(rng, mix, following, asked, int(CONTEXT_SHARE * num_tokens) - 1)
    while sum(map(len, segments)) < num_tokens - len(context) - 1:
        segments.append(_draw_segment(rng, following))
    words = [START, *context]
    is_hop = [False] * len(words)
    for segment in segments:
        words += segment
        is_hop += [i >= 2 for i in range(len(segment))]
    return token_ids(" ".join(words[:num_tokens])), is_hop[:num_tokens]


def _draw_segment(rng: random.Random, following: Mapping[str, str]) -> list[str]:
    """Give `? x f(x) f(f(x)) …` from a random key, 4 to 16 hops and never the whole cycle."""
    start = rng.choice(list(following))
    num_hops = min(rng.randint(4, 16), len(following) - 1)
    return [ASK, start, *follow(following, start, num_hops)]
