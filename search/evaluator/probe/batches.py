"""Training sequences: a context of records up to 85 % of the length, then chains asked from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from search.evaluator.probe.chains import KINDS, MIXES, follow
from search.evaluator.probe.records import draw_records, following_of, links_of, write_context
from search.evaluator.probe.vocabulary import ASK, FORMATS, START, token_ids

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

CONTEXT_SHARE = 0.85
FEWEST_RECORDS = 0.1  # share of the context
MIN_KEYS = 3


def draw_sequence(rng: random.Random, num_tokens: int) -> tuple[list[int], list[bool]]:
    """Give the token ids of one sequence and, for each, whether it is a hop that the model must predict.

    `num_tokens` must be at least 128.
    """
    mix = MIXES[rng.choice(KINDS)]
    share = rng.uniform(FEWEST_RECORDS, mix.records)
    mix = replace(mix, apart=False)  # harder than the problems: outdated records anywhere
    form = FORMATS[rng.choice([*FORMATS])]
    size = int(CONTEXT_SHARE * num_tokens)
    records = draw_records(rng, mix, form, int(share * size), MIN_KEYS)
    links = links_of(records)
    following = following_of(links)
    segments = [_draw_segment(rng, following)]
    context = write_context(rng, mix, form, records, segments[0][1:-1], size)
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
