"""The default proposer: typed random programs, changes of the best ones, crossover and tuning. Needs no LLM."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from search.agents.breed import CROSS, RANDOM, Breed, draw
from search.agents.changing.mutate import PRIORS
from search.agents.credit import shares
from search.agents.tuning.rules import OPERATOR as TUNE
from search.agents.tuning.tune import Tune
from search.config import PROPOSERS
from search.parents import breeder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.records import Context, Proposal

CHANGE = "mutate"  # by any of the moves
# Shares of the steps. Learning them from what each earned gave random draws half of all, since they are first to gain;
# with these, 200 evaluations at cost ratios 8 and 16 kept .01 more of the attention mass (six pairs of seeds).
WAYS = {RANDOM: 0.1, CROSS: 0.1, TUNE: 0.25, CHANGE: 0.55}


class Grammar:
    """Draws random programs, changes or crosses members of the Pareto fronts, and tunes what is best.

    Which moves it makes, it learns from what they earned (`search.agents.credit`).
    """

    name = "grammar"

    def __init__(self) -> None:
        self._tune = Tune()

    def propose(self, context: Context) -> Proposal:
        """Give a program that loads, traces and has not been seen in this campaign, as far as can be drawn."""
        rng = random.Random(f"{context.seed} {context.step} {self.name}")
        moves = shares(PRIORS, context.archive.operators_of(PROPOSERS), context.experience)
        tuned = self._tune.tuned(context, rng) if rng.random() < WAYS[TUNE] else None
        if tuned is not None:
            return replace(tuned, proposer=self.name)
        return draw(self.name, context, rng, lambda context, rng: _breed(context, rng, moves))


def _breed(context: Context, rng: random.Random, moves: Mapping[str, float]) -> Breed:
    """Draw a way that is left, parents from the front at a cost ratio, and leave the moves to their weights."""
    (way,) = rng.choices((RANDOM, CROSS, CHANGE), [WAYS[each] for each in (RANDOM, CROSS, CHANGE)])
    if way == RANDOM:
        return Breed()
    other = breeder(context, rng, is_mate=True) if way == CROSS else None
    return Breed(breeder(context, rng), other, moves)
