"""Chain recall: follow x, f(x), f(f(x)), … through pairs that stand somewhere in the context.

f is one random cycle over the keys, so a chain never repeats. A context lists `x f(x) ;` in random order between
fillers `w .`; a prompt ends in `? x`. Every hop is plain recall, "what followed this symbol when it last stood as a
key", and every hop after the first is a decode step that has to find its page.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

START, END_PAIR, END_FILLER, ASK = "<s>", ";", ".", "?"
SYMBOLS = tuple(f"s{i}" for i in range(512))
FILLERS = tuple(f"w{i}" for i in range(60))
VOCABULARY = (START, END_PAIR, END_FILLER, ASK, *SYMBOLS, *FILLERS)  # a word's place is its token id

SPLITS = ("search", "held_out")
NUM_HOPS = 9


@dataclass(frozen=True)
class Mix:
    """What the contexts of one kind are made of.

    `keys` is the number of keys per token of context; `stale` says that each key has an earlier, outdated pair,
    `apart` that all of those stand before the first that counts (side by side, the model errs on one hop in ten);
    `symbol_fillers` is the share of fillers that hold a symbol in place of a meaningless word; each asked key
    stands in `decoys` fillers; `far` puts the asked pairs into the first quarter of the context.
    """

    keys: float
    stale: bool = False
    apart: bool = False
    symbol_fillers: float = 0.25
    decoys: int = 0
    far: bool = False


MIXES = {
    "many": Mix(keys=3 / 16),
    "far": Mix(keys=3 / 32, far=True),
    "overwrite": Mix(keys=3 / 32, stale=True, apart=True),
    "distract": Mix(keys=3 / 32, symbol_fillers=1.0, decoys=4),
}
KINDS = tuple(MIXES)


@dataclass(frozen=True)
class Problem:
    """One prompt and all that is needed to score what follows it.

    `following` gives every key's latest successor. The prompt holds `num_prompt_tokens` words separated by single
    spaces, one token each; `num_hops` tokens are to be generated.
    """

    kind: str
    prompt: str
    num_prompt_tokens: int
    following: Mapping[str, str] = field(hash=False, repr=False)
    num_hops: int = NUM_HOPS

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
    Raises ValueError for an unknown kind or split, and for a length too short to hold the asked keys.
    """
    if kind not in MIXES:
        raise ValueError(f"unknown kind of chain problem {kind!r}: choose one of {', '.join(KINDS)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    return [_problem(kind, num_tokens, f"{split}/{kind}/{num_tokens}/{seed}/{i}") for i in range(num)]


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


def split_of(prompt: str) -> str:
    """Give the split to which a prompt belongs, by its hash."""
    return SPLITS[hashlib.sha256(prompt.encode()).digest()[0] % len(SPLITS)]


def token_ids(text: str) -> list[int]:
    """Give the ids of a text's words, as the tokenizer in the model folder does."""
    return [_ID_OF[word] for word in text.split()]


_ID_OF = {word: i for i, word in enumerate(VOCABULARY)}


def draw_cycle(rng: random.Random, num_keys: int) -> dict[str, str]:
    """Draw `num_keys` symbols and make one cycle of them."""
    keys = rng.sample(SYMBOLS, num_keys)
    return dict(zip(keys, [*keys[1:], keys[0]], strict=True))


def write_context(
    rng: random.Random, mix: Mix, following: Mapping[str, str], asked: Sequence[str], num_tokens: int
) -> list[str]:
    """Give `num_tokens` words that list `following` as the mix says. `asked` are the keys of the chain to come."""
    pairs = [(key, value, END_PAIR) for key, value in following.items()]
    stale = [(key, _other(rng, following, value), END_PAIR) for key, value in following.items()] if mix.stale else []
    room = num_tokens - 3 * len(pairs) - 3 * len(stale)
    items = [*pairs, *stale, *_fillers(rng, mix, asked, room)]
    rng.shuffle(items)
    if mix.far:
        _move_to_front(rng, items, {(key, following[key], END_PAIR) for key in asked})
    _order_stale(items, set(stale), mix.apart)
    return [word for item in items for word in item]


def num_keys_of(mix: Mix, num_tokens: int) -> int:
    """Give the number of keys in a context of `num_tokens` tokens."""
    return int(mix.keys * num_tokens)


def _problem(kind: str, num_tokens: int, name: str) -> Problem:
    """Draw problems from one stream until one falls into the split that the name begins with."""
    rng = random.Random(name)
    split = name.split("/", 1)[0]
    while True:
        problem = _draw(rng, kind, num_tokens)
        if split_of(problem.prompt) == split:
            return problem


def _draw(rng: random.Random, kind: str, num_tokens: int) -> Problem:
    mix = MIXES[kind]
    num_prompt_tokens = num_tokens - NUM_HOPS
    num_keys = num_keys_of(mix, num_tokens)
    if num_keys <= NUM_HOPS:
        raise ValueError(
            f"{num_tokens} tokens hold {num_keys} keys of a {kind!r} problem, which asks for more than {NUM_HOPS}: "
            f"ask for at least {round((NUM_HOPS + 1) / mix.keys) + 1} tokens"
        )
    following = draw_cycle(rng, num_keys)
    start = rng.choice(list(following))
    asked = [start, *follow(following, start, NUM_HOPS - 1)]
    context = write_context(rng, mix, following, asked, num_prompt_tokens - 3)
    return Problem(kind, " ".join([START, *context, ASK, start]), num_prompt_tokens, following)


def _other(rng: random.Random, following: Mapping[str, str], value: str) -> str:
    """Draw a value that the key does not have."""
    keys = list(following)
    while (other := rng.choice(keys)) == value:
        pass
    return other


def _fillers(rng: random.Random, mix: Mix, asked: Sequence[str], room: int) -> list[tuple[str, ...]]:
    """Fill exactly `room` tokens with `word .`, decoys first."""
    words = [key for key in asked for _ in range(mix.decoys)][: room // 2]
    while len(words) < room // 2:
        words.append(rng.choice(SYMBOLS if rng.random() < mix.symbol_fillers else FILLERS))
    odd: list[tuple[str, ...]] = [(END_FILLER,)] * (room % 2)
    return [*((word, END_FILLER) for word in words), *odd]


def _move_to_front(rng: random.Random, items: list[tuple[str, ...]], wanted: set[tuple[str, ...]]) -> None:
    """Swap the wanted items into random places of the first quarter."""
    quarter = max(len(items) // 4, len(wanted))
    places = rng.sample(range(quarter), len(wanted))
    outside = [i for i, item in enumerate(items) if item in wanted and i not in places]
    free = [i for i in places if items[i] not in wanted]
    for i, j in zip(outside, free, strict=True):
        items[i], items[j] = items[j], items[i]


def _order_stale(items: list[tuple[str, ...]], stale: set[tuple[str, ...]], apart: bool) -> None:
    """Let each outdated pair stand before the one that counts, or all of them before all of those."""
    slots = [i for i, item in enumerate(items) if item[-1] == END_PAIR]
    if apart:
        for slot, item in zip(
            slots, sorted((items[i] for i in slots), key=lambda item: item not in stale), strict=True
        ):
            items[slot] = item
        return
    earliest: dict[str, int] = {}
    for i in slots:
        first = earliest.setdefault(items[i][0], i)
        if first != i and items[i] in stale:
            items[first], items[i] = items[i], items[first]
