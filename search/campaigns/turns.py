"""Whose turn a step is: the campaign's round, or a draw by what each proposer has earned."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING

from search.agents.credit import shares
from search.archive.experience import Experience

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.archive.archive import Archive
    from search.config import CampaignConfig
    from search.contracts import Proposer

BASELINES = ("greedy", "best_of_n", "random")  # what is found is told apart from chance by them, so they go on
KEPT = 0.5  # of a baseline's prior share, whatever it earns
PRESUMED = 30  # candidates for which each is taken to be like all: gains come seldom, and one of them says little
GOLDEN = (math.sqrt(5) - 1) / 2


class Turns:
    """Gives each step a proposer. A function of the seed, the step and what the step may see, and of nothing else.

    How often a name stands in the round is its prior weight. Draws are a Kronecker sequence of the golden ratio: shares
    that stay are kept as evenly as by a round, not by luck.
    """

    def __init__(self, config: CampaignConfig, proposers: Sequence[Proposer]) -> None:
        self._round, self._is_drawn = tuple(proposers), config.bandit
        self._by_name = dict(zip(config.proposers, proposers, strict=True))
        self._priors = {name: float(number) for name, number in Counter(config.proposers).items()}
        self._offset = random.Random(f"{config.seed} turns").random()
        self._drawn: dict[int, Proposer] = {}  # what a step may see stays what it is

    def __bool__(self) -> bool:
        """Whether there is anybody to take turns."""
        return bool(self._round)

    def of(self, number: int, archive: Archive) -> Proposer:
        """Give who proposes the step that is `number`th after the seeds, from 0, and may see so much."""
        if not self._is_drawn or len(self._by_name) == 1:
            return self._round[number % len(self._round)]
        if number not in self._drawn:
            point = (self._offset + number * GOLDEN) % 1.0
            self._drawn[number] = self._by_name[_at(point, turn_shares(self._priors, archive))]
        return self._drawn[number]


def turn_shares(priors: Mapping[str, float], archive: Archive) -> dict[str, float]:
    """Give each proposer its share of the steps, by gain per second and dollar; baselines keep a part of theirs."""
    total = math.fsum(priors.values())
    kept = {name: KEPT * priors[name] / total for name in BASELINES if name in priors}
    rest = 1.0 - math.fsum(kept.values())
    found = shares(priors, archive.proposers, [Experience(name, 1.0, PRESUMED) for name in priors])
    return {name: rest * share + kept.get(name, 0.0) for name, share in found.items()}


def _at(point: float, found: Mapping[str, float]) -> str:
    """Give the name within whose share a point from 0 to 1 falls."""
    end = 0.0
    for name, share in found.items():
        end += share
        if point < end:
            return name
    return list(found)[-1]  # where rounding left the end below 1
