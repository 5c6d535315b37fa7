"""Which rules have earned their place at a cost ratio, kept record by record."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from search.agents.tuning.skeleton import skeleton_of
from search.agents.tuning.study import Known
from search.foresight.foresight import log_kl
from search.parents import REFERENCE, has_failed
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.agents.tuning.skeleton import Skeleton
    from search.archive.archive import Archive
    from search.records import Record

OPERATOR = "tune"
NUM_RULES = 6  # the best at a cost ratio are tuned
BY_MASS = (Stage.RECALL, Stage.SCREEN)  # the dearer the better
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
        self._num_records = 0
        self._last: Record | None = None

    def follow(self, records: Sequence[Record]) -> None:
        """Read the records that are new; all of them if those before are not the ones that were read."""
        number = self._num_records
        if number > len(records) or (number and records[number - 1] != self._last):
            self._rules, number = {}, 0
        for i in range(number, len(records)):
            self._last = records[i]
            self._add(records[i])
        self._num_records = len(records)

    def best(self, ratio: float) -> list[Rule]:
        """Give the rules that lose least at a cost ratio, those measured in an engine first; what was tuned out, not.

        No rule is among them of which nothing but its cost is known.
        """
        ranked = (rule for rule in self._rules.values() if ratio in rule.ranks and rule.num_trials < MAX_TRIALS)
        return heapq.nsmallest(NUM_RULES, ranked, key=lambda rule: rule.ranks[ratio])

    def _add(self, record: Record) -> None:
        proposal = record.candidate.proposal
        if record.candidate.status is not Status.OK or proposal.operator == REFERENCE or has_failed(record):
            return
        skeleton = skeleton_of(proposal.text, proposal.values)
        rule = self._rules.setdefault(skeleton.digest, Rule(skeleton))
        rule.records.append(record)
        rule.num_trials += proposal.operator == OPERATOR
        for ratio in {evaluation.ratio for evaluation in record.evaluations}:
            rank = _rank(record, ratio)
            if rank is not None:
                rule.ranks[ratio] = min(rank, rule.ranks.get(ratio, rank))


def known_of(rule: Rule, ratio: float, archive: Archive) -> list[Known]:
    """Give what is known of a rule's programs at a cost ratio.

    Losses are log KL, measured or foretold, where it can be foretold of one of them; else the mass lost, by the one
    stage of which most of them have it.
    """
    foretold = [_foretold(record, ratio, archive) for record in rule.records]
    if any(each is not None for each in foretold):
        measured = [log_kl(record, ratio) for record in rule.records]
        losses = [told if found is None else found for found, told in zip(measured, foretold, strict=True)]
    else:
        masses = [[record.value(stage, "mass", ratio) for record in rule.records] for stage in BY_MASS]
        most = max(masses, key=lambda found: sum(each is not None for each in found))
        losses = [None if mass is None else -mass for mass in most]
    return [_known(record, loss, ratio) for record, loss in zip(rule.records, losses, strict=True)]


def _rank(record: Record, ratio: float) -> tuple[int, float] | None:
    """Put what was measured in an engine first, then what went through recall, then what was screened."""
    measured = log_kl(record, ratio)
    if measured is not None:
        return 0, measured
    masses = ((1 + i, record.value(stage, "mass", ratio)) for i, stage in enumerate(BY_MASS))
    return next(((place, -mass) for place, mass in masses if mass is not None), None)


def _foretold(record: Record, ratio: float, archive: Archive) -> float | None:
    told = (archive.foretell(stage, ratio, record) for stage in BY_MASS)
    return next((mean for mean, _ in filter(None, told)), None)


def _known(record: Record, loss: float | None, ratio: float) -> Known:
    proposal, checked = record.candidate.proposal, record.evaluation(Stage.CHECK, ratio)
    values = dict(skeleton_of(proposal.text, proposal.values).values)
    reached = checked.value("cost_ratio") if checked and checked.status is not Status.OK else None
    return Known(values, loss) if reached is None else Known(values, None, max(ratio - reached, 0.0))
