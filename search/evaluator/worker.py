"""One worker: runs one stage for one program at a time, in the engines that it holds."""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from search.evaluator.arms import DENSE, REFERENCE, SPARSE, Arms, WorkerSettings
from search.evaluator.cluster import tell
from search.evaluator.fidelity import stage as fidelity
from search.evaluator.identity import environment
from search.evaluator.oracle import stage as oracle
from search.evaluator.outcomes import DenseFailedError, Outcome
from search.evaluator.probe import stage as probe
from search.evaluator.recall import stage as recall
from search.evaluator.retrieval import stage as retrieval
from search.evaluator.sandbox import ChildError, unheard
from search.evaluator.speed import stage as speed
from search.evaluator.tasks import stage as tasks
from search.records import Environment, Evaluation, EvaluationTask, Measurement, Stage, Status

if TYPE_CHECKING:
    from collections.abc import Callable

# Refusals that are told before a program touches the engine, or that say nothing against the engine.
HARMLESS = frozenset({Status.PROGRAM_ERROR, Status.UNSUPPORTED, Status.BELOW_GATE})
BROKEN = frozenset({Status.CRASHED, Status.OUT_OF_MEMORY})

STAGES: dict[Stage, Callable[[Arms, EvaluationTask], Outcome]] = {
    Stage.SCREEN: recall.screen,
    Stage.RECALL: recall.run,
    Stage.ORACLE: oracle.run,
    Stage.FIDELITY: fidelity.run,
    Stage.RETRIEVAL: retrieval.run,
    Stage.PROBE: probe.run,
    Stage.TASK: tasks.run,
    Stage.SERVE: speed.run,
}


class Worker:
    """Runs tasks, in engines of its own."""

    def __init__(self, settings: WorkerSettings, place: str = "") -> None:
        """Hold no engine yet. `place`: where on the cluster it tells what it does; nowhere if left out."""
        self._arms = Arms(settings, partial(tell, place) if place else unheard)

    def environment(self) -> Environment:
        """Say where this worker runs its engines, and in which dtype."""
        return environment(self._arms.settings.engine.dtype)

    def run(self, task: EvaluationTask) -> Evaluation:
        """Run one stage. Whatever the program does to its engine comes back as a status."""
        start = time.monotonic()
        outcome = self._judged(task)
        elapsed_s = time.monotonic() - start
        return Evaluation(task.key, **_shallow(outcome), elapsed_s=elapsed_s, ratio=task.workload.ratio)

    def close(self) -> None:
        """Kill the engines. Idempotent."""
        self._arms.close()

    def _judged(self, task: EvaluationTask) -> Outcome:
        from vortex_dsl import ProgramError

        try:
            needs = self._arms.needs_of(task)
        except ProgramError as error:
            return Outcome(Status.PROGRAM_ERROR, str(error))
        if task.key.stage is Stage.CHECK:
            return Outcome(measurements=(Measurement("bytes_per_page", float(needs.field_bytes)),))
        try:
            with nullcontext() if task.key.stage is Stage.SERVE else self._arms.computing():
                return self._attempted(task)
        except ChildError as error:
            if error.status not in HARMLESS:
                self._arms.drop(SPARSE)
            return Outcome(error.status, str(error))
        except DenseFailedError as error:
            if error.status is Status.UNSUPPORTED:  # of what is asked, which no program can be judged on
                return Outcome(Status.UNSUPPORTED, str(error))
            self._arms.drop(DENSE)
            self._arms.drop(REFERENCE)
            return Outcome(Status.INFRASTRUCTURE, f"the dense arm failed: {error}")

    def _attempted(self, task: EvaluationTask) -> Outcome:
        """Run the stage; if it breaks an engine that has run others, run it once more in a fresh one.

        So nobody is blamed for what an earlier program did to the engine.
        """
        stage = STAGES[task.key.stage]
        try:
            return stage(self._arms, task)
        except ChildError as error:
            if error.status not in BROKEN or not self._arms.used:
                raise
            self._arms.drop(SPARSE)
        return stage(self._arms, task)


def _shallow(outcome: Outcome) -> dict[str, Any]:
    """Give an outcome's fields as they are; `asdict` would take the measurements apart."""
    return {name: getattr(outcome, name) for name in Outcome.__dataclass_fields__}
