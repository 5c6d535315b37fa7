"""The proposer that tunes: new numbers and kinds of fields for rules that have earned their place at a cost ratio."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from search.agents.breed import Breed, baked, draw, fits_and_is_new
from search.agents.tuning.rules import OPERATOR, Rules, known_of
from search.agents.tuning.skeleton import PLATFORM, STORED, rewrite, skeleton_of
from search.agents.tuning.study import Study
from search.parents import breeder
from search.records import Proposal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.agents.tuning.rules import Rule
    from search.agents.tuning.skeleton import Skeleton
    from search.records import Context, Record
    from vortex_dsl.tunables import Value

MAX_ASKS = 12  # for one proposal
PLATFORMS_WEIGHT = (
    0.3  # sink, window and how often pages are chosen anew: where others chose them well, they gain little
)
MAX_CHANGED = 3  # values at a time: what is best has good ones, and one that is bad hides what the others bring


class Tune:
    """Tunes rules that have a result at a cost ratio with the budget fitted to it; the budget it leaves alone.

    What it makes small is log KL, measured or, where a candidate did not get so far, foretold from its recall; before
    results are enough to foretell others, the attention mass that is lost. Where there is nothing to tune yet, or
    everything was tuned, it changes what is best so far. Its studies are rebuilt at each step, so that a proposal
    depends on nothing but the records.
    """

    name = "tune"

    def __init__(self) -> None:
        self._rules = Rules()

    def propose(self, context: Context) -> Proposal:
        """Give a rule with other values, new in this campaign."""
        rng = random.Random(f"{context.seed} {context.step} {self.name}")
        return self.tuned(context, rng) or draw(self.name, context, rng, _change_the_best)

    def tuned(self, context: Context, rng: random.Random) -> Proposal | None:
        """Tune one of the rules that are best at one of the cost ratios: the better, the likelier; None if none is."""
        if not context.ratios:
            return None
        self._rules.follow(context.records)
        ratio = rng.choice(context.ratios)
        best = self._rules.best(ratio)
        if not best:
            return None
        (rule,) = rng.choices(best, [1 / (place + 1) ** 2 for place in range(len(best))])
        return _asked(rule, ratio, context, rng.getrandbits(32))


def _asked(rule: Rule, ratio: float, context: Context, seed: int) -> Proposal | None:
    """Ask for values until they make a program that is admitted."""
    known = known_of(rule, ratio, context.archive)
    losses = [math.inf if each.loss is None else each.loss for each in known]
    parent = rule.records[losses.index(min(losses))]
    skeleton, rng = _skeleton(parent), random.Random(seed)
    study = Study(skeleton.tunables, known, seed)
    for _ in range(MAX_ASKS):
        proposal = _with_values(parent, study.ask(_kept(skeleton, rng)), context)
        if fits_and_is_new(proposal, context):
            return proposal
        study.refuse()
    return None


def _kept(skeleton: Skeleton, rng: random.Random) -> dict[str, Value]:
    """Give the values of a rule but one to three that its study allows to change."""
    names = [name for name, _ in skeleton.tunables]
    weights = [PLATFORMS_WEIGHT if name in PLATFORM else 1.0 for name in names]
    changed = set(rng.choices(names, weights, k=rng.randint(1, MAX_CHANGED)))
    values = dict(skeleton.values)
    return {name: values[name] for name in names if name not in changed}


def _with_values(parent: Record, values: Mapping[str, Value], context: Context) -> Proposal:
    """Write a candidate with other values as the defaults of its text."""
    old = dict(_skeleton(parent).values)
    new = {name: value for name, value in values.items() if value != old[name]}
    source = baked(parent, context.head_dim)
    rewrite(source, new)
    change = "; ".join(f"{_said(name)} {value} in place of {old[name]}" for name, value in new.items())
    source.describe(f"{source.stem}{context.step}", source.idea, f"Tuned: {change}.")
    return Proposal(source.text(), Tune.name, OPERATOR, (parent.candidate.program_digest,), change)


def _said(name: str) -> str:
    return name if name.endswith(STORED) else f"{name} ="


def _skeleton(record: Record) -> Skeleton:
    return skeleton_of(record.candidate.proposal.text, record.candidate.proposal.values)


def _change_the_best(context: Context, rng: random.Random) -> Breed:
    return Breed(breeder(context, rng))
