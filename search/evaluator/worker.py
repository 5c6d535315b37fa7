"""One worker: runs one stage for one program at a time, in the engines that it holds."""

from __future__ import annotations

import platform
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.arms import DENSE, REFERENCE, SPARSE, Arms, WorkerSettings
from search.evaluator.cluster.telling import Teller, node_id
from search.evaluator.fidelity import stage as fidelity
from search.evaluator.identity import environment
from search.evaluator.models import ModelError, model_outline
from search.evaluator.oracle import stage as oracle
from search.evaluator.outcomes import DenseFailedError, Outcome
from search.evaluator.probe import stage as probe
from search.evaluator.recall import stage as recall
from search.evaluator.retrieval import stage as retrieval
from search.evaluator.sandbox import ChildError
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


@dataclass(frozen=True)
class Introduction:
    """What a worker says of itself before it is given work. `node`: Ray's id of where it runs, on the machine `host`.

    `model` is the outline of the model's files there, empty where there is none: then `fault` says so.
    """

    node: str
    host: str
    environment: Environment
    model: str
    fault: str = ""


class Worker:
    """Runs tasks, in engines of its own."""

    def __init__(self, settings: WorkerSettings, place: str = "") -> None:
        """Hold no engine yet. `place`: where on the cluster it tells what it does; nowhere if left out."""
        self._teller = Teller(place, lambda: self._arms.roles)
        self._arms = Arms(settings, self._teller.step)

    def introduce(self) -> Introduction:
        """Say where this worker runs its engines, and by which files."""
        settings, model, fault = self._arms.settings.engine, "", ""
        try:
            model = model_outline(Path(settings.model))
        except ModelError as error:
            fault = str(error)
        return Introduction(node_id(), platform.node(), environment(settings.dtype), model, fault)

    def run(self, task: EvaluationTask) -> Evaluation:
        """Run one stage. Whatever the program does to its engine comes back as a status."""
        start = time.monotonic()
        self._teller.begin(task)
        outcome = self._judged(task)
        self._teller.end()
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
