"""Workers as threads of the driver: all but Ray is as it is, and nothing but the driver can be killed."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from search.evaluator.identity import EVALUATOR_VERSION, environment
from search.evaluator.models import model_digest, model_folder
from search.evaluator.worker import Worker

if TYPE_CHECKING:
    from search.evaluator.arms import WorkerSettings
    from search.records import Evaluation, EvaluationKey, EvaluationTask

PATIENCE_S = 20.0


class ThreadPool:
    """An evaluator whose workers are threads."""

    version = EVALUATOR_VERSION

    def __init__(self, settings: WorkerSettings, num_workers: int) -> None:
        self.model_digest = model_digest(model_folder(settings.engine.model))
        self.num_workers = num_workers
        self._tasks: queue.SimpleQueue[EvaluationTask | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Evaluation | Exception] = queue.SimpleQueue()
        self._at: dict[int, EvaluationKey] = {}
        workers = [Worker(settings) for _ in range(num_workers)]
        self.environment = environment(settings.engine.dtype)
        self._threads = [threading.Thread(target=self._work, args=each, daemon=True) for each in enumerate(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: EvaluationTask) -> None:
        """Queue one stage of one program."""
        self._tasks.put(task)

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Give what has finished, waiting up to `timeout_s` for the first. Raises what is a fault of ours."""
        found: list[Evaluation | Exception] = []
        with suppress(queue.Empty):
            found.append(self._done.get(timeout=timeout_s) if timeout_s else self._done.get_nowait())
            while True:
                found.append(self._done.get_nowait())
        for each in found:
            if isinstance(each, Exception):
                raise each
        return [each for each in found if not isinstance(each, Exception)]

    def running(self) -> list[EvaluationKey]:
        """Give what workers are at."""
        return list(self._at.values())

    def close(self) -> None:
        """End every worker with its engines."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self._threads = []

    def _work(self, number: int, worker: Worker) -> None:
        while (task := self._tasks.get()) is not None:
            self._at[number] = task.key
            try:
                self._done.put(worker.run(task))
            except Exception as error:
                self._done.put(error)
            del self._at[number]
        worker.close()
