"""Keeps a campaign's archive, record by record, at a cost that does not grow with their number."""

from __future__ import annotations

import bisect
import math
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from search.archive.archive import Archive, Earned
from search.archive.fronts import Front, hypervolume
from search.archive.moves import JOINT
from search.archive.promising import Promising
from search.archive.speeds import SpeedFit
from search.foresight.outlook import Outlook
from search.parents import REFERENCE, has_failed, is_sparse, loss, point
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from search.archive.archive import Point
    from search.config import CampaignConfig
    from search.records import Record

    Losing = Callable[[Record, float], float | None]

Name = TypeVar("Name", str, tuple[str, str])

# What a stage is taken to cost who is credited: in no forecast, and the same on every machine, for it steers a search.
TYPICAL_S = {
    Stage.CHECK: 0.03,
    Stage.SCREEN: 0.1,
    Stage.RECALL: 1.5,
    Stage.ORACLE: 3.0,
    Stage.RACE: 2.0,
    Stage.FIDELITY: 6.0,
    Stage.RETRIEVAL: 8.0,
    Stage.PROBE: 5.0,
    Stage.TASK: 20.0,
    Stage.SERVE: 60.0,
}
RANKED = "recall"  # the figure of screen and recall by which candidates are compared
LEAST_GOING_ON = 4  # so many go on from a stage before a share of those seen is more
NUM_TIMED = 1  # a candidate is timed if fewer than so many are better: timing costs more than all other stages


class Archivist:
    """Takes finished records in step order, the first of them step 0, and gives the archive after each.

    `losing` says what a record loses at a cost ratio, None where that is not known; it is asked once of each.
    """

    def __init__(self, config: CampaignConfig, losing: Losing = loss) -> None:
        self._losing = losing
        self._shares = {Stage.SCREEN: config.screen_share, Stage.RECALL: config.recall_share}
        self._num_unseen = config.lag - 1  # steps before one that it does not see
        self._fit = SpeedFit(config.steered_on)
        self._fronts: dict[float, Front] = {}
        self._promising: dict[float, Promising] = {}
        self._ranks: dict[tuple[Stage, float], _Rank] = {}
        self._signatures: dict[tuple[float, str], int] = {}
        self._outlooks: dict[tuple[str, float], Outlook] = {}
        known = MappingProxyType(self._signatures), MappingProxyType(self._outlooks)
        self.archive = Archive(signatures=known[0], outlooks=known[1])

    def add(self, record: Record) -> Archive:
        """Take in the next record and give the archive after it."""
        archive = replace(self.archive, num_records=self.archive.num_records + 1)
        if record.candidate.proposal.operator != REFERENCE:
            self._note_behaviour(record)
            self._look(record)
            fronts, gains = self._judged(record)
            operators, proposers, pairs = self._credited(record, gains)
            archive = replace(
                archive,
                fronts=fronts,
                promising=self._breeding(record),
                bars=self._ranked(record),
                operators=operators,
                proposers=proposers,
                pairs=pairs,
            )
        self.archive = archive
        return archive

    def branch(self) -> Archivist:
        """Give another one that knows the same and goes on by itself."""
        other, signatures = copy(self), dict(self._signatures)
        outlooks = {place: each.branch() for place, each in self._outlooks.items()}
        known = MappingProxyType(signatures), MappingProxyType(outlooks)
        vars(other).update(
            archive=replace(self.archive, signatures=known[0], outlooks=known[1]),
            _fit=copy(self._fit),
            _fronts={ratio: copy(front) for ratio, front in self._fronts.items()},
            _promising={ratio: each.branch() for ratio, each in self._promising.items()},
            _ranks={place: each.branch() for place, each in self._ranks.items()},
            _signatures=signatures,
            _outlooks=outlooks,
        )
        return other

    def _note_behaviour(self, record: Record) -> None:
        """Note who behaves so first; who has failed stands for nobody."""
        screened = [e for e in record.evaluations if e.key.stage is Stage.SCREEN and e.status is Status.OK]
        for each in screened if not has_failed(record) else ():
            if each.answers:
                self._signatures.setdefault((each.ratio, each.answers), record.candidate.step)

    def _look(self, record: Record) -> None:
        """Let a record count where fidelity is foretold from a stage that it went through."""
        for evaluation in record.evaluations:
            stage, ratio = evaluation.key.stage, evaluation.ratio
            if stage in self._shares:
                outlook = self._outlooks.setdefault((stage.value, ratio), Outlook(ratio, stage, self._num_unseen))
                outlook.add(record, self.archive.num_records)

    def _judged(self, record: Record) -> tuple[Mapping[float, tuple[Point, ...]], dict[float, float]]:
        """Give the fronts with a record among them, and what the hypervolume gained, both by cost ratio."""
        is_served = self._fit.add(record)
        losses = {} if has_failed(record) else self._losses(record)
        if not (is_served or losses):
            return self.archive.fronts, {}
        speed, gains = self._fit.speed, {}
        for ratio, lost in losses.items():
            front = self._fronts.setdefault(ratio, Front())
            before = hypervolume(front.members(speed))
            front.add(point(record, ratio, lost, speed))
            gains[ratio] = hypervolume(front.members(speed)) - before
        changed = self._fronts if is_served else losses
        fronts = {**self.archive.fronts, **{ratio: self._fronts[ratio].members(speed) for ratio in changed}}
        return MappingProxyType(dict(sorted(fronts.items()))), gains

    def _losses(self, record: Record) -> dict[float, float]:
        ratios = dict.fromkeys(e.ratio for e in record.evaluations)
        lost = {ratio: self._losing(record, ratio) for ratio in ratios if is_sparse(record, ratio)}
        return {ratio: each for ratio, each in lost.items() if each is not None}

    def _breeding(self, record: Record) -> Mapping[float, tuple[int, ...]]:
        """Give who may breed with a record among them, unless it failed or behaves as an earlier one."""
        if has_failed(record):
            return self.archive.promising
        changed = {}
        for ratio in dict.fromkeys(e.ratio for e in record.evaluations):
            screened = record.evaluation(Stage.SCREEN, ratio)
            step = record.candidate.step
            first = self._signatures.get((ratio, screened.answers), step) if screened else step
            if is_sparse(record, ratio) and first == step:
                known = self._promising.setdefault(ratio, Promising())
                known.add(record, ratio, self._losing(record, ratio))
                changed[ratio] = known.steps
        return MappingProxyType({**self.archive.promising, **changed})

    def _ranked(self, record: Record) -> Mapping[tuple[str, float], float]:
        """Give the bars with a record's figures among those that they are set by."""
        changed = {}
        for evaluation in record.evaluations:
            stage, ratio = evaluation.key.stage, evaluation.ratio
            found = evaluation.value(RANKED) if stage in self._shares else _negated(loss(record, ratio, stage))
            if found is not None and not math.isnan(found):
                rank = self._ranks.setdefault((stage, ratio), _Rank())
                rank.add(found)
                least = LEAST_GOING_ON if stage in self._shares else NUM_TIMED
                changed[stage.value, ratio] = rank.bar(self._shares.get(stage, 0.0), least)
        return MappingProxyType({**self.archive.bars, **changed}) if changed else self.archive.bars

    def _credited(self, record: Record, gains: Mapping[float, float]) -> tuple[Mapping[Any, Earned], ...]:
        """Give what operators, proposers and both together earned, a record's part among it.

        What was refused was at least checked: whoever is always refused must not look as if it had never been tried.
        """
        proposal = record.candidate.proposal
        typical_s = sum(TYPICAL_S[evaluation.key.stage] for evaluation in record.evaluations)
        cost = max(typical_s, TYPICAL_S[Stage.CHECK]), proposal.dollars
        moves = proposal.operator.split(JOINT)
        return (
            _with(self.archive.operators, moves, gains, *cost),
            _with(self.archive.proposers, [proposal.proposer], gains, *cost),
            _with(self.archive.pairs, [(proposal.proposer, move) for move in moves], gains, *cost),
        )


def archive_of(records: Iterable[Record], config: CampaignConfig) -> Archive:
    """Give the archive after these records, all finished, in step order from step 0."""
    archivist = Archivist(config)
    for record in records:
        archivist.add(record)
    return archivist.archive


class _Rank:
    """Figures, more is better, and the bar that a share of them reaches."""

    def __init__(self, rising: Iterable[float] = ()) -> None:
        self._rising = list(rising)

    def branch(self) -> _Rank:
        """Give another one with the same figures."""
        return _Rank(self._rising)

    def add(self, figure: float) -> None:
        bisect.insort(self._rising, figure)

    def bar(self, share: float, least: int) -> float:
        """Give the least figure that fewer than a share of all surpass, one more among them, or fewer than `least`."""
        number = len(self._rising)
        allowed = math.ceil(max(least, share * (number + 1)))
        return self._rising[number - allowed] if allowed <= number else -math.inf


def _negated(lost: float | None) -> float | None:
    return None if lost is None else -lost


def _with(
    known: Mapping[Name, Earned], names: list[Name], gains: Mapping[float, float], typical_s: float, dollars: float
) -> Mapping[Name, Earned]:
    """Give what is earned with one candidate more, which these names share."""
    part = 1 / len(names)
    changed = {}
    for name in dict.fromkeys(names):
        mine, times = known.get(name, Earned()), part * names.count(name)
        grown = {ratio: mine.gains.get(ratio, 0.0) + times * gain for ratio, gain in gains.items()}
        changed[name] = Earned(
            mine.num_candidates + 1,
            MappingProxyType({**mine.gains, **grown}) if gains else mine.gains,
            mine.typical_s + times * typical_s,
            mine.dollars + times * dollars,
        )
    return MappingProxyType({**known, **changed})
