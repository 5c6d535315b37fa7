"""Which rules have earned their place at a cost ratio, kept record by record."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from search.agents.tuning.skeleton import skeleton_of
from search.agents.tuning.study import Known
from search.foresight.foresight import log_kl
from search.foresight.outlook import Outlook
from search.parents import FAILED, REFERENCE
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from search.agents.tuning.skeleton import Skeleton
    from search.foresight.foresight import Foresight
    from search.records import Record

OPERATOR = "tune"
NUM_RULES = 6  # the best at a cost ratio are tuned
MAX_TRIALS = 24  # of one rule: tuning gains little, and soon no more


@dataclass
class Rule:
    """The programs of one skeleton, and how often it was tuned."""

    skeleton: Skeleton
    records: list[Record] = field(default_factory=list)
    num_trials: int = 0
    ranks: dict[float, tuple[int, float]] = field(default_factory=dict)  # by ratio: what was measured, then the rest


class Rules:
    """All rules of a campaign, as far as `follow` has read its records."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}
        self._outlooks: dict[float, Outlook] = {}
        self._num_records = 0
        self._last: Record | None = None

    def follow(self, records: Sequence[Record], ratios: Sequence[float]) -> None:
        """Read the records that are new; all of them if those before are not the ones that were read."""
        number = self._num_records
        if number > len(records) or (number and records[number - 1] != self._last):
            self._rules, self._outlooks, number = {}, {}, 0
        for ratio in ratios:
            self._outlooks.setdefault(ratio, Outlook(ratio))
        for i in range(number, len(records)):
            self._last = records[i]
            self._add(records[i], ratios)
        self._num_records = len(records)

    def best(self, ratio: float) -> list[Rule]:
        """Give the rules that lose least at a cost ratio, those measured in an engine first; what was tuned out, not.

        No rule is among them of which nothing but its cost is known.
        """
        ranked = (rule for rule in self._rules.values() if ratio in rule.ranks and rule.num_trials < MAX_TRIALS)
        return heapq.nsmallest(NUM_RULES, ranked, key=lambda rule: rule.ranks[ratio])

    def known(self, rule: Rule, ratio: float) -> list[tuple[Record, Known]]:
        """Give what is known of a rule's programs at a cost ratio: all in log KL, or all in mass lost."""
        foresight = self._outlooks[ratio].foresight(self._num_records)
        return [(record, _known(record, ratio, foresight)) for record in rule.records]

    def _add(self, record: Record, ratios: Sequence[float]) -> None:
        for ratio in ratios:
            self._outlooks[ratio].add(record)
        proposal = record.candidate.proposal
        has_failed = any(evaluation.status in FAILED for evaluation in record.evaluations)
        if record.candidate.status is not Status.OK or proposal.operator == REFERENCE or has_failed:
            return
        skeleton = skeleton_of(proposal.text, proposal.values)
        rule = self._rules.setdefault(skeleton.digest, Rule(skeleton))
        rule.records.append(record)
        rule.num_trials += proposal.operator == OPERATOR
        for ratio, rank in _ranks(record, ratios):
            rule.ranks[ratio] = min(rank, rule.ranks.get(ratio, rank))


def _ranks(record: Record, ratios: Sequence[float]) -> Iterator[tuple[float, tuple[int, float]]]:
    for ratio in ratios:
        measured, mass = log_kl(record, ratio), record.value(Stage.RECALL, "mass", ratio)
        if measured is not None:
            yield ratio, (0, measured)
        elif mass is not None:
            yield ratio, (1, -mass)


def _known(record: Record, ratio: float, foresight: Foresight) -> Known:
    values = dict(skeleton_of(record.candidate.proposal.text, record.candidate.proposal.values).values)
    checked = record.evaluation(Stage.CHECK, ratio)
    reached = checked.value("cost_ratio") if checked and checked.status is not Status.OK else None
    if reached is not None:
        return Known(values, None, max(ratio - reached, 0.0))
    return Known(values, _loss(record, ratio, foresight))


def _loss(record: Record, ratio: float, foresight: Foresight) -> float | None:
    if not foresight.is_informed:
        mass = record.value(Stage.RECALL, "mass", ratio)
        return None if mass is None else -mass
    foretold, measured = foresight.foretell(record), log_kl(record, ratio)
    if measured is not None:
        return measured
    return None if foretold is None else foretold.mean
