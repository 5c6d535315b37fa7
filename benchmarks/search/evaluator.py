"""An evaluator that measures in this process, on a problem instead of an engine; to the loop it is like any other."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING

from search.evaluator.identity import EVALUATOR_VERSION, environment
from search.fit import traced
from search.records import Evaluation, Measurement, Stage, Status
from vortex_dsl import ProgramError

if TYPE_CHECKING:
    from benchmarks.search.problems import Problem
    from search.records import EvaluationKey, EvaluationTask

DTYPE = "float32"


class InProcess:
    """`search.contracts.Evaluator` on a problem: recall as it is measured, and as fidelity the mass that is lost."""

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
        status, message, measurements = self._judged(task)
        return Evaluation(task.key, status, message, measurements, elapsed_s=time.monotonic() - start)

    def _judged(self, task: EvaluationTask) -> tuple[Status, str, tuple[Measurement, ...]]:
        try:
            _, graph = traced(task.text, task.values, self._problem.terms.shape)
            found = self._problem.measured(graph, task.workload.split)
        except ProgramError as error:
            return Status.PROGRAM_ERROR, str(error), ()
        except LookupError as error:
            return Status.UNSUPPORTED, str(error), ()
        odd = [name for name, value in found.items() if not math.isfinite(value)]
        if odd:
            return Status.WRONG_RESULT, f"not a finite number: {', '.join(odd)}", ()
        if task.key.stage is Stage.FIDELITY:
            found = {"kl": 1.0 - found["mass"]}
        return Status.OK, "", tuple(Measurement(*each) for each in found.items())
