"""The default proposer: typed random programs, changes of the best ones, and crossover. Needs no LLM."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from search.agents.breed import Breed, draw
from search.parents import tournament

if TYPE_CHECKING:
    from search.records import Context, Proposal

EXPLORE, CROSS = 0.25, 0.15  # shares of the steps; the rest are changes of one parent


class Grammar:
    """Draws random programs, and changes or crosses members of the Pareto front."""

    name = "grammar"

    def propose(self, context: Context) -> Proposal:
        """Give a program that loads, traces and has not been seen in this campaign, as far as can be drawn."""
        rng = random.Random(f"{context.seed} {context.step} {self.name}")
        return draw(self.name, context, rng, _breed)


def _breed(context: Context, rng: random.Random) -> Breed:
    parent = tournament(context, rng)
    chance = rng.random()
    if parent is None or chance < EXPLORE:
        return Breed("random")
    if chance < EXPLORE + CROSS:
        other = tournament(context, rng, size=1)
        return Breed("cross", parent, other)
    return Breed("mutate", parent)
