"""What is known after some steps of a campaign: frozen values that speak of records by their step."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LEADER_LOSS = 0.05  # a leader loses at most so much more than the best: nats per token, or a share of the answers
PARENT_LOSS = 0.5  # a parent, this
NUM_LEADERS = 3
SECONDS_OF_A_DOLLAR = 1200.0  # of evaluation: a GPU that costs three dollars an hour


@dataclass(frozen=True)
class Point:
    """A candidate at a cost ratio: what it loses, and how fast it is.

    `cost_ratio`: by the cost model, 0 where it is not told. `speed`: as measured, else as foretold from it. `low`: the
    lower end of what was measured, None for a program that was never served. Where a campaign is steered by modelled
    speed, both are this.
    """

    step: int
    loss: float
    cost_ratio: float
    speed: float
    low: float | None = None


@dataclass(frozen=True)
class Earned:
    """What came of an operator's or a proposer's candidates.

    `gains`: by cost ratio, how much larger they made the hypervolume (see `search.archive.fronts.hypervolume`).
    `typical_s`: seconds that their evaluations take as a rule, from a table by stage: what they really took differs
    from machine to machine, and what proposers learn from must not. A candidate of several moves counts for each of
    them, its gains, seconds and dollars divided among them. `dollars` are what language models cost.
    """

    num_candidates: int = 0
    gains: Mapping[float, float] = field(default_factory=dict)
    typical_s: float = 0.0
    dollars: float = 0.0

    @property
    def gain(self) -> float:
        """Give the gains of all cost ratios together."""
        return sum(self.gains.values())

    def joined(self, other: Earned) -> Earned:
        """Put what two earned together."""
        gains = Counter(self.gains)
        gains.update(other.gains)
        number, typical_s = self.num_candidates + other.num_candidates, self.typical_s + other.typical_s
        return Earned(number, gains, typical_s, self.dollars + other.dollars)

    @property
    def cost_s(self) -> float:
        """Give what it took in all, in seconds of evaluation."""
        return self.typical_s + SECONDS_OF_A_DOLLAR * self.dollars


class Foretelling(Protocol):
    """Foretells fidelity by what the first steps show: `search.foresight.outlook.Outlook`."""

    def foretell(self, record: Any, num_visible: int) -> tuple[float, float] | None:
        """Give mean and deviation of a record's log KL, None where nothing can be foretold."""
        ...

    def promotes(self, record: Any, num_visible: int, share: float) -> bool | None:
        """Say whether a record is in the share that promises most, None where nothing can be foretold."""
        ...

    def num_invented(self, num_visible: int) -> int:
        """Count those that came through the stage and were not given."""
        ...

    def weights(self, num_visible: int) -> Mapping[int, float]:
        """Say how much each layer counts: empty where nothing can be foretold."""
        ...


@dataclass(frozen=True)
class Archive:
    """What the first `num_records` steps of a campaign come to. A step of it is an index into `Context.records`.

    `fronts`: by cost ratio (ascending), the Pareto front of (loss, speed) of what is sparse and did not fail, the least
    loss first; no ratio without members. `operators` and `proposers`: what each earned by its name, yardsticks aside;
    `pairs`: by a proposer's name and an operator's.
    `promising`: by cost ratio, who may breed (`search.parents.breeders`). `bars`: by stage and cost ratio, the figure
    that a candidate must reach to go on from there (`search.stages`). `signatures`: by cost ratio and behaviour, the
    first step that showed it. `outlooks`: by stage and cost ratio, what foretells fidelity from that stage. Both may
    know later steps too, which do not count here.
    """

    num_records: int = 0
    fronts: Mapping[float, tuple[Point, ...]] = field(default_factory=dict)
    operators: Mapping[str, Earned] = field(default_factory=dict)
    proposers: Mapping[str, Earned] = field(default_factory=dict)
    pairs: Mapping[tuple[str, str], Earned] = field(default_factory=dict)
    promising: Mapping[float, tuple[int, ...]] = field(default_factory=dict)
    bars: Mapping[tuple[str, float], float] = field(default_factory=dict)
    signatures: Mapping[tuple[float, str], int] = field(default_factory=dict, repr=False)
    outlooks: Mapping[tuple[str, float], Foretelling] = field(default_factory=dict, repr=False)

    def operators_of(self, proposers: Collection[str]) -> dict[str, Earned]:
        """Give what operators earned in the hands of some proposers: "cross" of a model is not that of the grammar."""
        found: dict[str, Earned] = {}
        for (proposer, operator), each in self.pairs.items():
            if proposer in proposers:
                found[operator] = found[operator].joined(each) if operator in found else each
        return found

    @property
    def ratios(self) -> tuple[float, ...]:
        """Give the cost ratios at which something can be served, ascending."""
        return tuple(self.fronts)

    def parents(self, ratio: float) -> tuple[Point, ...]:
        """Give the members of a front that lose little enough to breed where cost is free."""
        return within(self.fronts.get(ratio, ()), PARENT_LOSS)

    def leaders(self, ratio: float, num: int = NUM_LEADERS) -> tuple[Point, ...]:
        """Give the fastest members of a front that lose little more than the best: see `fastest`."""
        return fastest(within(self.fronts.get(ratio, ()), LEADER_LOSS), num, ratio)

    def bar(self, stage: str, ratio: float) -> float:
        """Give what must be reached to go on from a stage at a cost ratio; minus infinity where all do."""
        return self.bars.get((stage, ratio), -math.inf)

    def foretell(self, stage: str, ratio: float, record: Any) -> tuple[float, float] | None:
        """Give mean and deviation of a record's log KL, by what a stage says of it; None where they cannot be told."""
        outlook = self.outlooks.get((stage, ratio))
        return outlook.foretell(record, self.num_records) if outlook else None

    def promotes(self, stage: str, ratio: float, record: Any, share: float) -> bool | None:
        """Say whether a record is in the share that promises most after a stage, None where that cannot be told."""
        outlook = self.outlooks.get((stage, ratio))
        return outlook.promotes(record, self.num_records, share) if outlook else None

    def num_invented(self, stage: str, ratio: float) -> int:
        """Count the candidates that came through a stage at a cost ratio, those that were given aside."""
        outlook = self.outlooks.get((stage, ratio))
        return outlook.num_invented(self.num_records) if outlook else 0

    def weights(self, stage: str, ratio: float) -> Mapping[int, float]:
        """Give by layer how much log KL is foretold to rise with what the layer loses; empty where it cannot be told.

        In log nats for one standard deviation of the log of the output error, by a stage at a cost ratio.
        """
        outlook = self.outlooks.get((stage, ratio))
        return outlook.weights(self.num_records) if outlook else {}

    def twin(self, ratio: float, signature: str) -> int | None:
        """Give the first step that behaves so at a cost ratio, None where none does."""
        step = self.signatures.get((ratio, signature)) if signature else None
        return step if step is not None and step < self.num_records else None


def within(front: tuple[Point, ...], more: float) -> tuple[Point, ...]:
    """Give the members of a front that lose at most so much more than the best of them."""
    return tuple(point for point in front if point.loss <= front[0].loss + more)


def fastest(points: tuple[Point, ...], num: int, ratio: float) -> tuple[Point, ...]:
    """Give the fastest by the lower end of what was measured; what was never served comes last.

    Of this the fastest as foretold, and at a cost ratio the least loss first: there all cost the same, but for what
    budgets are rounded to. So who loses least is one of several there in any case, the last if need be. points: of a
    front, the least loss first.
    """
    served = sorted((each for each in points if each.low is not None), key=lambda each: (-(each.low or 0.0), each.step))
    others = (each for each in points if each.low is None)
    left = sorted(others, key=lambda each: ((each.loss if ratio else -each.speed), each.step))
    chosen = [*served, *left][:num]
    if ratio and num > 1 and points and points[0] not in chosen:
        chosen[-1] = points[0]
    return tuple(chosen)
