"""What every proposer must beat: random draws, changes of the seeds alone, and changes of the best so far."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from search.agents.breed import Breed, draw
from search.parents import REFERENCE, SEED, leader

if TYPE_CHECKING:
    from search.records import Context, Proposal


class Random:
    """Draws from the grammar and learns nothing."""

    name = "random"

    def propose(self, context: Context) -> Proposal:
        """Give a random program that has not been seen."""
        return draw(self.name, context, _rng(self.name, context), lambda _context, _rng: Breed())


class BestOfN:
    """Changes seeds, never what came of them: the best of n independent attempts."""

    name = "best_of_n"

    def propose(self, context: Context) -> Proposal:
        """Give a seed, changed."""
        return draw(self.name, context, _rng(self.name, context), _change_a_seed)


class Greedy:
    """Changes the best program so far."""

    name = "greedy"

    def propose(self, context: Context) -> Proposal:
        """Give the best program so far, changed: the fastest of those that lose little more than the best."""
        return draw(self.name, context, _rng(self.name, context), _change_the_best)


def _rng(name: str, context: Context) -> random.Random:
    return random.Random(f"{context.seed} {context.step} {name}")


def _change_a_seed(context: Context, rng: random.Random) -> Breed:
    given = itertools.takewhile(lambda r: r.candidate.proposal.operator in (SEED, REFERENCE), context.records)
    seeds = [r for r in given if r.candidate.proposal.operator == SEED]
    return Breed(rng.choice(seeds)) if seeds else Breed()


def _change_the_best(context: Context, _rng: random.Random) -> Breed:
    return Breed(leader(context))
