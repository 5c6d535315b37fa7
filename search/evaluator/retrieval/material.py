"""What passages are made of: words that a model knows, and prose to hide them in. No split holds what another holds."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from search.workloads import SPLITS, split_by_hash

if TYPE_CHECKING:
    import random

_NOUNS = """
actor anchor apple apron arrow author bakery balloon banana banker barber barrel basket beach bear bell bench
bicycle bishop blanket boat bottle bowl branch bread brick bridge brush bucket butcher butter button cabin cactus
cake camel camera candle canoe captain carpet carrot castle cellar chain chair cheese cherry chest chicken church
circus clock cloud coach coat coffee collar compass cook coral cottage cotton cousin cow cradle crown cup curtain
cushion dancer deer dentist desert desk diamond dinner doctor dolphin donkey door dragon drawer dress driver drum
duck eagle elephant engine farmer feather fence ferry fiddle flag flute forest fork fountain fox garden gardener
garlic gate giant giraffe glove goat goose grape guitar hammer harbor harp hat hawk helmet hen hill honey horse
hotel hunter island jacket jar jewel judge jungle kettle king kitchen kite knife ladder lake lamp lantern lawyer
leather lemon leopard letter library lion lizard maid maple marble market mask melon merchant miner mirror monkey
mountain museum mushroom nail napkin needle nest nurse oak ocean officer olive onion orange orchard organ otter oven
owl painter palace panda paper parrot peach pear pearl pencil pepper piano pigeon pillow pilot pine pirate pizza
planet plate plum poet pony potato prince pumpkin puppet queen rabbit radio ranger rat ribbon rice river robin
rocket rope rose saddle sailor salmon salt sandal saucer scarf school scissors seal sheep shelf shepherd ship shirt
shoe shovel silver singer sister sofa soldier spear spider spoon squirrel stable station statue stone stool stove
student sugar swan sword table tailor tea teacher temple tent theater thief ticket tiger tomato tower train truck
trumpet tulip turkey turtle umbrella uncle valley vase village violin waiter wallet walnut watch whale wheel whistle
widow window wolf writer zebra
"""
_ADJECTIVES = "brave bright calm clever cold dark early fast gentle heavy narrow old plain quiet red small tall young"
_SHAPE = re.compile(r"[A-Z][^<>|{}\\_*`\"]{38,180}\.")  # whole, and free of markup and code
_END_OF_SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z])")


def nouns(split: str) -> list[str]:
    """Give a split's nouns, one of two neighbours in the alphabet each."""
    return _NOUNS.split()[SPLITS.index(split) :: len(SPLITS)]


def adjectives() -> list[str]:
    """Give adjectives; both splits have the same."""
    return _ADJECTIVES.split()


@cache
def prose(split: str) -> tuple[str, ...]:
    """Give the sentences of Python's help topics that belong to a split.

    The topics differ between versions of Python; `Environment.python` is part of every evaluation's key, so figures on
    different prose never share a row.
    """
    from pydoc_data.topics import topics

    paragraphs = (" ".join(p.split()) for name in sorted(topics) for p in topics[name].split("\n\n"))
    found = {s for p in paragraphs for s in _END_OF_SENTENCE.split(p) if _SHAPE.fullmatch(s)}
    return tuple(sorted(s for s in found if split_by_hash(s) == split))


def drawn_sentence(rng: random.Random, words: list[str]) -> str:
    """Give a sentence of two of the words, which says nothing that is asked."""
    first, second = rng.sample(words, 2)
    one, other = rng.sample(adjectives(), 2)
    return f"The {one} {first} stood beside the {other} {second}."
