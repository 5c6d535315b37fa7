"""What became of the candidates that were promoted into an engine, and how often foresight erred."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.foresight.foresight import Foretold, log_kl
from search.foresight.outlook import LUCKY, Outlook, by_chance
from search.parents import REFERENCE, SEED
from search.records import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records import Record

LEAST_BY_CHANCE = 3  # of fewer the median says nothing
FAR = 1.96  # deviations: a normal variable exceeds them once in forty times


@dataclass(frozen=True)
class Promotion:
    """A candidate's log KL at a cost ratio, and what was foretold of it when it was promoted."""

    step: int
    by_chance: bool
    foretold: Foretold | None
    log_kl: float


@dataclass(frozen=True)
class Errors:
    """How many promoted candidates came out worse than they should have.

    Of the `num_foreseen` that were promoted for what they promised, `num_worse_than_chance` came out worse than the
    median of the `num_by_chance` that were promoted by lot: the wrong promotions. It is None where these are too few.
    Of the `num_foretold` of both kinds of which something was foretold, `num_worse_than_foretold` lay beyond the upper
    end of the interval of 95 %, where one in forty belongs.
    """

    num_foreseen: int
    num_by_chance: int
    num_worse_than_chance: int | None
    num_foretold: int
    num_worse_than_foretold: int

    @property
    def share(self) -> float | None:
        """The share of wrong promotions."""
        if self.num_worse_than_chance is None or not self.num_foreseen:
            return None
        return self.num_worse_than_chance / self.num_foreseen


def promotions(records: Sequence[Record], ratio: float, seed: int, lag: int, lucky: float = LUCKY) -> list[Promotion]:
    """Give what was promoted into an engine at a cost ratio, seeds and references aside.

    records: of a campaign with this seed and lag, in step order; lucky: the share that is promoted by lot. What was
    foretold is what the steps up to a candidate's own minus the lag foretell.
    """
    outlook, found = Outlook(ratio), []
    for step, record in enumerate(records):
        if step >= lag:
            outlook.add(records[step - lag], step - lag)
        came_out = log_kl(record, ratio)
        if came_out is None or record.candidate.proposal.operator in (SEED, REFERENCE):
            continue
        foretold = outlook.foretell(record, max(0, step - lag + 1))
        found.append(Promotion(step, by_chance(seed, step, Stage.RECALL, ratio, lucky), foretold, came_out))
    return found


def errors(promoted: Sequence[Promotion]) -> Errors:
    """Count what came out worse than those that were promoted by lot, and than what was foretold."""
    lucky = [each.log_kl for each in promoted if each.by_chance]
    foreseen = [each.log_kl for each in promoted if not each.by_chance]
    worse = None
    if len(lucky) >= LEAST_BY_CHANCE:
        median = statistics.median(lucky)
        worse = sum(each > median for each in foreseen)
    told = [(each.log_kl, each.foretold) for each in promoted if each.foretold is not None]
    beyond = sum(found > foretold.mean + FAR * foretold.deviation for found, foretold in told)
    return Errors(len(foreseen), len(lucky), worse, len(told), beyond)
