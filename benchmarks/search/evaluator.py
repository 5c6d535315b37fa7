"""An evaluator that measures in this process, on a problem instead of an engine; to the loop it is like any other."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING

from search.evaluator.identity import EVALUATOR_VERSION, environment
from search.evaluator.outcomes import Outcome
from search.fit import traced
from search.records import Evaluation, Measurement, Stage, Status
from vortex_dsl import ProgramError

if TYPE_CHECKING:
    from benchmarks.search.problems import Problem
    from search.records import EvaluationKey, EvaluationTask

DTYPE = "float32"


class InProcess:
    """`search.contracts.Evaluator` on a problem: the screen and recall as they are, and as fidelity the lost mass."""

    num_workers = 1
    version = EVALUATOR_VERSION

    def __init__(self, problem: Problem) -> None:
        self.environment, self.model_digest = environment(DTYPE), problem.digest
        self._problem = problem
        self._waiting: deque[EvaluationTask] = deque()

    def submit(self, task: EvaluationTask) -> None:
        """Queue one stage of one program."""
        self._waiting.append(task)

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Measure the first in the queue."""
        if not self._waiting:
            time.sleep(timeout_s)
            return []
        return [self._measured(self._waiting.popleft())]

    def running(self) -> list[EvaluationKey]:
        """Give the first in the queue."""
        return [self._waiting[0].key] if self._waiting else []

    def close(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def _measured(self, task: EvaluationTask) -> Evaluation:
        start = time.monotonic()
        outcome = self._judged(task)
        return Evaluation(
            task.key,
            outcome.status,
            outcome.message,
            outcome.measurements,
            answers=outcome.answers,
            elapsed_s=time.monotonic() - start,
        )

    def _judged(self, task: EvaluationTask) -> Outcome:
        try:
            _, graph = traced(task.text, task.values, self._problem.terms.shape)
            found = self._problem.measured(graph, task.workload.split)
        except ProgramError as error:
            return Outcome(Status.PROGRAM_ERROR, str(error))
        except LookupError as error:
            return Outcome(Status.UNSUPPORTED, str(error))
        odd = [name for name, value in found.figures.items() if not math.isfinite(value)]
        if odd:
            return Outcome(Status.WRONG_RESULT, f"not a finite number: {', '.join(odd)}")
        if task.key.stage is Stage.FIDELITY:
            return Outcome(measurements=(Measurement("kl", 1.0 - found.figures["mass"]),))
        measurements = tuple(Measurement(*each) for each in found.figures.items())
        if task.key.stage is not Stage.SCREEN:
            return Outcome(measurements=measurements)
        status = Status.BELOW_GATE if found.objection else Status.OK
        return Outcome(status, found.objection, measurements, answers=found.signature)
