"""Which stage a candidate goes to next, and at which cost ratio: a function of its record and of those it may see.

A step's gates compare it with the records of steps up to its own minus the lag, which are finished when it is proposed.
So whoever measures, and however many at a time, the same candidates enter an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from search.archive.archive import Archive
from search.archive.archivist import RANKED
from search.config import LEAST_SIGHTED
from search.foresight.outlook import LEAST_RECENT, by_chance
from search.parents import REFERENCE, SEED, accuracy, loss
from search.ranking.simpler import is_simpler
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search.config import CampaignConfig
    from search.records import Candidate, Record, Workload

AS_WRITTEN = 0.0
LEAST_TOLD = 8  # times as many come to recall as are needed to tell who is good: else all that are better go on at once
CHEAP = (Stage.CHECK, Stage.SCREEN, Stage.RECALL)  # without an engine, at all ratios before what comes next
PER_RATIO = (Stage.FIDELITY, Stage.RETRIEVAL, Stage.PROBE, Stage.TASK)  # in an engine, one ratio after the other
PASSED = (Status.OK,)
PASSED_BY_SEEDS = (Status.OK, Status.BELOW_GATE)
NOT_INVENTED = (SEED, REFERENCE)  # operators


class Yardsticks(Protocol):
    """The published rules beside each other: `search.archive.published.Published`."""

    def enter(self, record: Record, ratio: float) -> bool:
        """Say whether a record is one of the best by recall, or none of these rules."""
        ...


def next_workload(
    record: Record, archive: Archive, config: CampaignConfig, published: Yardsticks | None = None
) -> Workload | None:
    """Give what to run next, None when there is nothing: refused, failed, below every gate or through.

    `archive`: what the records that the candidate's step may see come to; `published`: the rules beside which a
    published one enters an engine, all of them where it is None.
    """
    if has_stopped(record):
        return None
    gates = _Gates(record, archive, config, published)
    for stage, ratio in course(record.candidate, config):
        if record.evaluation(stage, ratio) is None and gates.open(stage, ratio):
            return config.workload(stage, ratio)
    return None


def rest_of(record: Record, config: CampaignConfig) -> Workload | None:
    """Give what the shortest form of a leader runs on next: it goes through every stage, as a seed does.

    What else is proposed to simplify a leader goes no further than the screen. None when there is nothing.
    """
    if has_stopped(record):
        return None
    gates = _Gates(record, Archive(), config, None, is_given=True)
    left = (each for each in course(record.candidate, config) if record.evaluation(*each) is None)
    return next((config.workload(*each) for each in left if gates.open(*each)), None)


def has_stopped(record: Record) -> bool:
    """Say whether nothing follows for a record whatever it is compared with: it was refused, or failed."""
    is_refused = record.candidate.status is not Status.OK
    return is_refused or any(e.status not in PASSED_BY_SEEDS for e in record.evaluations)


def ratios_of(candidate: Candidate, config: CampaignConfig) -> tuple[float, ...]:
    """Give the cost ratios at which a candidate is judged; the yardsticks, and all where there are none, as written."""
    as_written = candidate.proposal.operator == REFERENCE or not config.ratios
    return (AS_WRITTEN,) if as_written else config.ratios


def course(candidate: Candidate, config: CampaignConfig) -> Iterator[tuple[Stage, float]]:
    """Give every stage and ratio that a candidate may come to, in order: the dearest last."""
    ratios = ratios_of(candidate, config)
    steps = [(stage, ratio) for stage in CHEAP for ratio in ratios]
    steps += [(Stage.ORACLE, AS_WRITTEN)]
    competes = candidate.proposal.operator != REFERENCE
    steps += [(stage, ratio) for ratio in ratios for stage in PER_RATIO]
    steps += [(Stage.SERVE, ratio) for ratio in ratios if competes]
    return ((stage, ratio) for stage, ratio in steps if stage in config.stages)


class _Gates:
    """What keeps one candidate from one stage."""

    def __init__(
        self,
        record: Record,
        archive: Archive,
        config: CampaignConfig,
        published: Yardsticks | None,
        *,
        is_given: bool = False,
    ) -> None:
        self._record, self._archive, self._config, self._published = record, archive, config, published
        self._shares = {Stage.SCREEN: config.screen_share, Stage.RECALL: config.recall_share}
        self._is_given = is_given or record.candidate.proposal.operator in NOT_INVENTED
        self._passing = PASSED_BY_SEEDS if self._is_given else PASSED

    def open(self, stage: Stage, ratio: float) -> bool:
        """Whether the candidate may go to a stage, all stages before it being done or closed."""
        if stage is Stage.CHECK:
            return True
        if stage is Stage.SCREEN:
            return self._is_affordable(ratio)
        if is_simpler(self._record) and not self._is_given:
            return False
        if stage is Stage.RECALL:
            return self._is_open(ratio) and self._goes_on(Stage.SCREEN, ratio)
        if stage is Stage.ORACLE:
            return any(self._enters(each) for each in ratios_of(self._record.candidate, self._config))
        if not self._enters(ratio):
            return False
        if stage is Stage.SERVE:
            return self._is_worth_timing(ratio)
        return stage is not Stage.RETRIEVAL or self._fits_retrieval(ratio)

    def _fits_retrieval(self, ratio: float) -> bool:
        """Whether it can be brought to the cost ratio at the lengths of retrieval too, which has its own."""
        found = self._record.value(Stage.CHECK, "retrieval_cost_ratio", ratio)
        return found is None or found >= ratio

    def _is_affordable(self, ratio: float) -> bool:
        checked = self._record.evaluation(Stage.CHECK, ratio)
        return checked is not None and checked.status is Status.OK

    def _is_open(self, ratio: float) -> bool:
        """Whether it can be brought to the cost ratio, and nothing closed this ratio to it since."""
        done = (
            e for e in self._record.evaluations if e.key.stage is not Stage.CHECK and e.ratio in (ratio, AS_WRITTEN)
        )
        return self._is_affordable(ratio) and all(e.status in self._passing for e in done)

    def _enters(self, ratio: float) -> bool:
        """Whether it is among the best without an engine, or lucky."""
        if self._published is not None and not self._published.enter(self._record, ratio):
            return False
        return self._is_open(ratio) and all(self._goes_on(stage, ratio) for stage in (Stage.SCREEN, Stage.RECALL))

    def _goes_on(self, stage: Stage, ratio: float) -> bool:
        """Whether it chooses better than chance, as nobody before it, and well or by luck, as a stage tells it.

        Well is what fidelity is foretold to improve on, and before enough is known for that, the best recall. What was
        published goes on whatever is told. What was proposed before others that were invented could be seen enters an
        engine by luck alone where a campaign has time for more: most of it is better than what was published, and worse
        than what follows.
        """
        evaluation = self._record.evaluation(stage, ratio)
        if self._is_given or evaluation is None:
            return True
        mass, chance, found = (evaluation.value(name) for name in ("mass", "random_mass", RANKED))
        if mass is None or chance is None or found is None:
            return True
        if mass <= chance or (stage is Stage.SCREEN and self._archive.twin(ratio, evaluation.answers) is not None):
            return False
        promoted = self._archive.promotes(stage, ratio, self._record, self._shares[stage])
        is_good = found >= self._archive.bar(stage, ratio) if promoted is None else promoted
        is_early = stage is Stage.RECALL and self._shares[stage] < 1 and self._is_early(ratio)
        return (is_good and not is_early) or by_chance(self._config.seed, self._record.candidate.step, stage, ratio)

    def _is_worth_timing(self, ratio: float) -> bool:
        """Whether it answers well enough, and is near the best in what leaders are told by."""
        is_accurate = (accuracy(self._record, ratio) or 0.0) >= self._config.serve_floor
        if Stage.PROBE in self._config.stages and not (is_accurate or self._is_given):
            return False
        told = [stage for stage in (Stage.FIDELITY, Stage.RETRIEVAL) if stage in self._config.stages]
        if told and not (self._config.timed_in_search and self._sees_all_seeds()):
            return False  # the first of them would be the best so far; leaders that were not timed are so in the end
        return not told or self._is_near_the_best(told[0], ratio)

    def _is_early(self, ratio: float) -> bool:
        """Whether most of the campaign is proposed later, and too little can be seen by which to tell who is good."""
        number = self._config.num_candidates
        if Stage.FIDELITY not in self._config.stages or number < LEAST_SIGHTED * self._config.lag:
            return False
        is_told_soon = number * self._config.screen_share >= LEAST_TOLD * LEAST_RECENT
        sees_few = self._archive.num_invented(Stage.RECALL, ratio) < LEAST_RECENT
        return not self._sees_all_seeds() or (is_told_soon and sees_few)

    def _sees_all_seeds(self) -> bool:
        return not self._config.seeds or any(operator not in NOT_INVENTED for operator in self._archive.operators)

    def _is_near_the_best(self, stage: Stage, ratio: float) -> bool:
        own = loss(self._record, ratio, stage)
        return own is not None and -own > self._archive.bar(stage, ratio)
