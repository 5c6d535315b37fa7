"""Six landscapes whose best place is known: what a program scores there is a function of what is written in it.

A program's place is read from its graph: how often each operation, storage kind and setting occurs, and how large its
numbers are, drawn together into a few coordinates. So the real proposers move through them by the real mutations, and
what is compared is whom they choose to change. The best place is that of one program that the grammar can write.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.search.problems import SEARCH, Found
from search.agents.drawing.generate import generate
from search.fit import Terms, fit, traced
from search.records import digest_of
from vortex_dsl import Shape
from vortex_dsl.graph.graph import SETTINGS
from vortex_dsl.node import LEAVES
from vortex_dsl.ops import ENTRIES
from vortex_dsl.storage import KINDS

if TYPE_CHECKING:
    from search.records import Measurement
    from vortex_dsl.graph.graph import Graph

NUM_COORDINATES = 8
WIDTH = 0.25  # from the best place to where a landscape has fallen to 1 / e
NARROW, WIDE, FALSE_PEAK = 0.18, 0.5, 0.7  # widths of the true and the false peak of a deceptive one, and its height
WAVES, DEPTH = 3.0, 0.4  # of a rugged one: periods to a coordinate, and how far they go down
FORBIDDEN = 0.4  # share of an invalid one's places
NOISE = 0.1  # standard deviation, of a noisy one
RATIO = 8.0
TERMS = Terms(Shape(3, 64), 30, (4096,))
NUMBERS = "numbers"


class Landscape(StrEnum):
    """What there is to get lost in."""

    SMOOTH = "smooth"
    RUGGED = "rugged"
    DECEPTIVE = "deceptive"
    INVALID = "invalid regions"
    NOISY = "noisy"
    TWO_OBJECTIVES = "two objectives"

    @property
    def ratio(self) -> float:
        """Give the cost ratio of its searches; where cost is an objective, programs are judged as written."""
        return 0.0 if self is Landscape.TWO_OBJECTIVES else RATIO


@dataclass(frozen=True)
class Synthetic:
    """A landscape as a problem; each seed has another best place."""

    landscape: Landscape
    seed: int
    terms: Terms = TERMS

    @property
    def name(self) -> str:
        """Give the landscape's name."""
        return self.landscape.value

    @property
    def digest(self) -> str:
        """Tell landscapes apart."""
        return digest_of((self.landscape, self.seed))

    def measured(self, graph: Graph, split: str) -> Found:
        """Give a program's height as `mass`; without noise on the held-out split."""
        place, best = self._place(graph), self._best(0)
        height = _peak(place, best, WIDTH)
        match self.landscape:
            case Landscape.RUGGED:
                height *= 1 - DEPTH * float(np.mean(np.sin(math.pi * WAVES * (place - best)) ** 2))
            case Landscape.DECEPTIVE:
                height = max(_peak(place, best, NARROW), FALSE_PEAK * _peak(place, self._best(1), WIDE))
            case Landscape.INVALID:
                across = (place - best).sum() + 0.5 * (1 - FORBIDDEN)  # the best place lies between two such regions
                if across % 1.0 > 1 - FORBIDDEN:
                    raise LookupError("this region is forbidden")
            case Landscape.NOISY if split == SEARCH:
                height += NOISE * random.Random(f"{self.digest} {graph.digest}").gauss()
            case _:
                pass
        return Found({"mass": min(max(height, 0.0), 1.0)})

    def described(self, _split: str) -> tuple[Measurement, ...]:
        """Describe nothing: there are no queries and keys."""
        return ()

    def _place(self, graph: Graph) -> np.ndarray:
        counts = occurrences(graph)
        return np.tanh(_projection(self.seed) @ np.log1p([counts[name] for name in NAMES]))

    def _best(self, number: int) -> np.ndarray:
        return self._place(best_program(self.seed, number, self.terms, self.landscape.ratio))


@lru_cache(maxsize=256)
def best_program(seed: int, number: int, terms: Terms, ratio: float) -> Graph:
    """Draw the program whose place is the best, or the falsely best: one that the grammar writes at the cost ratio."""
    rng = random.Random(f"{seed} {number} best place")
    while True:
        text = generate(rng, terms.shape.head_dim, number)
        fitted = fit(text, (), terms, ratio)
        if not fitted.refusal:
            return traced(text, fitted.values, terms.shape)[1]


STORED = {kind: f"stored in {kind}" for kind in KINDS}
NAMES = (*ENTRIES, *LEAVES, *STORED.values(), *SETTINGS, NUMBERS)


def occurrences(graph: Graph) -> Counter[str]:
    """Count what a program is made of, by `NAMES`; the numbers in it by their size."""
    nodes = (*graph.select_nodes, *graph.summary_nodes)
    found: Counter[str] = Counter(node.op for node in nodes)
    found.update(STORED[field.storage] for field in graph.fields)
    found.update({name: getattr(graph, name) for name in SETTINGS})
    found[NUMBERS] = sum(math.log1p(abs(node.number)) for node in nodes if node.op == "constant")
    return found


@lru_cache(maxsize=64)
def _projection(seed: int) -> np.ndarray:
    """Draw how occurrences make up coordinates: [NUM_COORDINATES, len(NAMES)]."""
    drawn = np.random.default_rng(seed).normal(size=(NUM_COORDINATES, len(NAMES)))
    return drawn / math.sqrt(2 * NUM_COORDINATES)


def _peak(place: np.ndarray, top: np.ndarray, width: float) -> float:
    return math.exp(-float(np.mean((place - top) ** 2)) / width**2)
