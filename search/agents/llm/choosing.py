"""What a language model is asked to do next: a bandit over operators, for each model by its own record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from search.agents.credit import experience_of, shares
from search.config import PROPOSERS

if TYPE_CHECKING:
    import random

    from search.records import Context

EXPLORE, MUTATE, CROSS, TUNE, SIMPLIFY = "explore", "mutate", "cross", "tune", "simplify"
# Prior shares of the steps. What repairs or reflects is no choice: the one follows a refusal, the other a count.
OPERATORS = {EXPLORE: 0.3, MUTATE: 0.35, CROSS: 0.15, TUNE: 0.1, SIMPLIFY: 0.1}
BORROWED = 8  # candidates for which the record of other models counts at most, of one operator


def operator_of(context: Context, name: str, rng: random.Random) -> str:
    """Draw an operator for the model `name`, by gain per second and dollar of what it was asked before.

    What other models earned by the same operators counts a little, until its own record says more.
    """
    pairs = context.archive.pairs
    others = {proposer for proposer, _ in pairs} - {name, *PROPOSERS}
    earned, theirs = (context.archive.operators_of(names) for names in ((name,), others))
    known = [replace(each, num_candidates=min(each.num_candidates, BORROWED)) for each in experience_of(theirs)]
    found = shares(OPERATORS, earned, known)
    (operator,) = rng.choices(list(found), list(found.values()))
    return operator
