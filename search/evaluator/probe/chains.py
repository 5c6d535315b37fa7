"""Chain recall: follow x, f(x), f(f(x)), … through records that stand somewhere in the context.

f is one random cycle over the keys, so a chain never repeats. A prompt ends in `? x`. Every hop is plain recall, "what
followed this symbol when it last stood in a record", or two such look-ups where the record leads to an alias; and every
hop after the first is a decode step that has to find its pages. Number, width and spacing of the records, their format
and the aliases vary from problem to problem, so that no count of tokens per page is right for all of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from search.evaluator.probe.records import Mix, asked_names, draw_records, following_of, links_of, write_context
from search.evaluator.probe.vocabulary import ASK, FORMATS, HELD_OUT_FORMAT, START
from search.workloads import HELD_OUT, SPLITS, split_by_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NUM_HOPS = 9

MIXES = {
    "many": Mix(records=0.5),
    "far": Mix(records=0.25, far=True),
    "overwrite": Mix(records=0.25, stale=True, apart=True),
    "distract": Mix(records=0.25, symbol_fillers=1.0, decoys=4),
    "indirect": Mix(records=0.35, aliases=0.75),
}
KINDS = tuple(MIXES)


@dataclass(frozen=True)
class Problem:
    """One prompt and all that is needed to score what follows it.

    `following` gives every key's latest successor. The prompt holds `num_prompt_tokens` words separated by single
    spaces, one token each, its records in the format `form`; `num_hops` tokens are to be generated.
    """

    kind: str
    prompt: str
    num_prompt_tokens: int
    following: Mapping[str, str] = field(hash=False, repr=False)
    num_hops: int = NUM_HOPS
    form: str = "plain"

    @property
    def chain(self) -> list[str]:
        """The right answer: the `num_hops` symbols that follow the asked one."""
        return follow(self.following, self.prompt.rsplit(" ", 1)[1], self.num_hops)

    @property
    def num_scored(self) -> int:
        """Hops that are scored: all but the first, which dense prefill answers."""
        return self.num_hops - 1


def make_problems(kind: str, num: int, num_tokens: int, seed: int, split: str) -> list[Problem]:
    """Give `num` problems whose prompt and answer together take `num_tokens` tokens.

    Deterministic in all arguments. No problem is in both splits, whatever the seeds: a prompt's hash decides its split.
    One format of records is met in the split "held_out" only. Raises ValueError for an unknown kind or split, and for a
    length too short to hold the asked keys.
    """
    if kind not in MIXES:
        raise ValueError(f"unknown kind of chain problem {kind!r}: choose one of {', '.join(KINDS)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    least = min_tokens(kind)
    if num_tokens < least:
        raise ValueError(
            f"{num_tokens} tokens may not hold the {NUM_HOPS + 1} keys that a {kind!r} problem needs: "
            f"ask for at least {least} tokens"
        )
    return [_problem(kind, num_tokens, f"{split}/{kind}/{num_tokens}/{seed}/{i}") for i in range(num)]


def min_tokens(kind: str) -> int:
    """Give the shortest length of a kind: more keys than hops must fit, however narrow the records are drawn."""
    return MIXES[kind].most_tokens(NUM_HOPS + 1) + NUM_HOPS + len((START, ASK, "x"))


def score(problem: Problem, emitted: Sequence[str]) -> list[bool]:
    """Judge hops 2 to `num_hops`, each given the token emitted before it.

    So one error does not spoil the hops after it. The first emitted token comes from dense prefill and is not scored;
    a hop after a token that is no key is wrong, and so is one that was not emitted.
    """
    emitted = [*emitted[: problem.num_hops], *[""] * (problem.num_hops - len(emitted))]
    following = problem.following
    return [before in following and following[before] == after for before, after in pairwise(emitted)]


def follow(following: Mapping[str, str], symbol: str, num_hops: int) -> list[str]:
    """Give the `num_hops` symbols that come after `symbol`."""
    chain = [symbol]
    for _ in range(num_hops):
        chain.append(following[chain[-1]])
    return chain[1:]


def formats_of(split: str) -> tuple[str, ...]:
    """Give the names of the formats in which a split's records are written."""
    return tuple(name for name in FORMATS if split == HELD_OUT or name != HELD_OUT_FORMAT)


def _problem(kind: str, num_tokens: int, name: str) -> Problem:
    """Draw problems from one stream until one falls into the split that the name begins with."""
    rng = random.Random(name)
    split = name.split("/", 1)[0]
    while True:
        problem = _draw(rng, kind, num_tokens, rng.choice(formats_of(split)))
        if split_by_hash(problem.prompt) == split:
            return problem


def _draw(rng: random.Random, kind: str, num_tokens: int, form: str) -> Problem:
    mix, num_prompt_tokens = MIXES[kind], num_tokens - NUM_HOPS
    records = draw_records(rng, mix, FORMATS[form], int(mix.records * num_tokens), NUM_HOPS + 1)
    links = links_of(records)
    following = following_of(links)
    start = rng.choice(list(following))
    asked = asked_names(links, start, NUM_HOPS)
    context = write_context(rng, mix, FORMATS[form], records, asked, num_prompt_tokens - 3)
    prompt = " ".join([START, *context, ASK, start])
    return Problem(kind, prompt, num_prompt_tokens, following, form=form)
