"""What a campaign measures on machines of further kinds, beside those that decide it.

Whoever is timed where the campaign searches goes through the same stages on each further kind: what serves it must be
right there, what it loses is told against dense attention there, then it is timed. So a row of the leaderboard stays
that of one machine, with all its figures. Nothing of it is shown to proposers or opens a gate: one seed is one
sequence, whatever kinds stand by. The stages that only sort out who enters an engine are not repeated, nor is an
lm-eval task. A seed is checked on each kind in any case: its row without figures keeps a claim to beat them all honest.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from search.contracts import OfKinds
from search.dispatch import UNFINISHED, Dispatcher, Job, Tasks
from search.parents import SEED
from search.records import EvaluationTask, Record, Stage, Status
from search.stages import AS_WRITTEN, PASSED_BY_SEEDS, course

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.config import CampaignConfig
    from search.contracts import Evaluator, Ledger
    from search.records import Evaluation, EvaluationKey, Workload

    Check = Callable[[EvaluationTask], Evaluation]

REPEATED = (Stage.CHECK, Stage.ORACLE, Stage.FIDELITY, Stage.RETRIEVAL, Stage.PROBE, Stage.SERVE)


class Everywhere(Dispatcher):
    """Carries jobs to the kind of machines that decides, and what follows from their results to each further kind."""

    def __init__(self, ledger: Ledger, evaluator: Evaluator, check: Check, config: CampaignConfig) -> None:
        super().__init__(ledger, evaluator, check)
        further = evaluator.further if isinstance(evaluator, OfKinds) else ()
        self._elsewhere = [Elsewhere(ledger, each, check, config) for each in further]

    def follow(self, record: Record, *evaluations: Evaluation) -> None:
        """Take results in, and repeat on the further kinds what follows. `record` has all of the deciding kind."""
        for place, evaluation in itertools.product(self._elsewhere, evaluations):
            place.follow(record, evaluation)

    def end_search(self) -> None:
        """Note that nothing more is going to follow: once the rest is measured, what leads elsewhere is confirmed."""
        for each in self._elsewhere:
            each.is_last = True

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left on the deciding kind; once nothing more follows, on the others neither."""
        return self.idle and all(each.is_settled for each in self._elsewhere if each.is_last)

    @property
    def missing(self) -> str:
        """Say what could not be measured on which further kind, by our own fault; nothing where that did not happen."""
        return "; ".join(each.missing for each in self._elsewhere if each.missing)

    @property
    def num_running(self) -> int:
        """Evaluations whose leases are ours, on machines of all kinds."""
        return super().num_running + sum(each.dispatcher.num_running for each in self._elsewhere)

    @property
    def under_way(self) -> list[tuple[Job, float]]:
        """What is in the hands of workers of any kind, and for how many seconds, the longest first."""
        further = (job for each in self._elsewhere for job in each.dispatcher.under_way)
        return sorted([*super().under_way, *further], key=lambda each: -each[1])

    def collect(self, timeout_s: float) -> list[Evaluation]:
        """Give what is finished on the deciding kind, as ever, and go on with what is finished elsewhere."""
        done = super().collect(timeout_s)
        for each in self._elsewhere:
            each.turn()
        return done

    def drain(self) -> None:
        """Let run what runs, and give back the rest."""
        super().drain()
        for each in self._elsewhere:
            each.drain()

    def release(self) -> None:
        """Give back every lease."""
        super().release()
        for each in self._elsewhere:
            each.dispatcher.release()


class Elsewhere:
    """One further kind of machines, and what this run has of it. What an earlier one measured is in the cache."""

    def __init__(self, ledger: Ledger, evaluator: Evaluator, check: Check, config: CampaignConfig) -> None:
        self.dispatcher = Dispatcher(ledger, evaluator, check)
        self.is_last = False  # nothing more is going to follow
        self._tasks, self._config = Tasks(evaluator, config), config
        self._device = f"{evaluator.environment.device}, {evaluator.environment.dtype or 'unknown dtype'}"
        self._records: dict[int, Record] = {}  # by step, with what was measured here
        self._due: dict[int, list[tuple[Stage, float]]] = {}  # by step: what it goes through, in order
        self._under_way: dict[int, EvaluationKey] = {}  # by step, one stage of each at a time
        self._unmeasured: list[Evaluation] = []
        self._draining = self._confirms = False

    @property
    def is_settled(self) -> bool:
        """Whether all is measured, and confirmed."""
        return self._confirms and self.dispatcher.idle

    @property
    def missing(self) -> str:
        """Say how many evaluations could not be made, and why; nothing where all could."""
        number = len(self._unmeasured)
        if not number:
            return ""
        evaluations = "1 evaluation" if number == 1 else f"{number} evaluations"
        return f"{evaluations} could not be made on {self._device}: {self._unmeasured[-1].message}"

    def follow(self, record: Record, evaluation: Evaluation) -> None:
        """Measure here too what follows from a result where the campaign searches."""
        stages = repeated(record, evaluation, self._config)
        if not stages:
            return
        step = record.candidate.step
        self._records.setdefault(step, Record(record.candidate))
        due = self._due.setdefault(step, [])
        due += [each for each in stages if each not in due]
        if step not in self._under_way:
            self._start_next(step)

    def turn(self) -> None:
        """Take what is finished, and start what comes next."""
        for evaluation in self.dispatcher.collect(0.0):
            self._take(evaluation)
        self.dispatcher.go_on()  # the next turn comes when the deciding kind has waited
        if self.is_last and not self._confirms and self.dispatcher.idle and not self._draining:
            self._confirms = True
            for job in self._tasks.confirming([self._records[step] for step in sorted(self._records)]):
                self.dispatcher.start(job)

    def drain(self) -> None:
        """Start nothing more."""
        self._draining = True
        self.dispatcher.drain()

    def _take(self, evaluation: Evaluation) -> None:
        if evaluation.status in UNFINISHED:
            self._unmeasured.append(evaluation)
        step = next((step for step, key in self._under_way.items() if key == evaluation.key), None)
        if step is not None:  # and no confirmation, which the ledger alone keeps
            del self._under_way[step]
            before = self._records[step]
            self._records[step] = replace(before, evaluations=(*before.evaluations, evaluation))
            self._start_next(step)

    def _start_next(self, step: int) -> None:
        workload = None if self._draining else self._next(step)
        if workload is not None:
            task = self._tasks.next_task(self._records[step], workload)
            self._under_way[step] = task.key
            self.dispatcher.start(Job(task, self._records[step].candidate.id))

    def _next(self, step: int) -> Workload | None:
        here = self._records[step]
        for stage, ratio in self._due[step]:
            if here.evaluation(stage, ratio) is None and _is_open(here, ratio):
                return self._config.workload(stage, ratio)
        return None


def repeated(record: Record, evaluation: Evaluation, config: CampaignConfig) -> list[tuple[Stage, float]]:
    """Give the stages and cost ratios of a record that are repeated elsewhere because of a result of it, in order."""
    stage, ratio = evaluation.key.stage, evaluation.ratio
    if stage is Stage.CHECK and record.candidate.proposal.operator == SEED:
        return [(stage, ratio)]
    if stage is not Stage.SERVE or evaluation.status is not Status.OK:
        return []
    stages = [(stage, at) for stage, at in course(record.candidate, config) if stage in REPEATED]
    return [(s, at) for s, at in stages if at in (ratio, AS_WRITTEN) and record.evaluation(s, at) is not None]


def _is_open(here: Record, ratio: float) -> bool:
    """Say whether nothing that was measured here closes a cost ratio."""
    return all(each.status in PASSED_BY_SEEDS for each in here.evaluations if each.ratio in (ratio, AS_WRITTEN))
