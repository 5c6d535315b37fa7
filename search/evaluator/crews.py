"""The workers of one kind in a pool, and those of a further kind as an evaluator of their own."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from search.evaluator.cluster import PoolError
from search.evaluator.identity import EVALUATOR_VERSION
from search.kinds.wished import is_gpu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.arms import WorkerSettings
    from search.evaluator.cluster import Placement
    from search.records import Environment, Evaluation, EvaluationKey, EvaluationTask


@dataclass(eq=False)
class Crew:
    """Workers that measure in one environment: how they run engines, where they go, what they have to do and did.

    `refused`: nodes that are not of their kind, and why. `why`: what ended the last worker that was lost.
    """

    settings: WorkerSettings
    placement: Placement
    environment: Environment | None = None  # once they have started
    waiting: deque[EvaluationTask] = field(default_factory=deque)
    done: list[Evaluation] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    why: str = ""
    _alone_since: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot run. Raises PoolError."""
        if is_gpu(self.placement.kind) and self.settings.memory_bytes:
            raise PoolError("an address-space limit breaks CUDA: set memory_bytes to 0 for workers on GPUs")

    def lost(self, *, is_alone: bool) -> str:
        """Say that there has been no worker for longer than there is patience; nothing while that is not so."""
        now, patience_s = time.monotonic(), self.placement.patience_s
        if not is_alone:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= patience_s:
            named = f" of kind {self.placement.kind}" if is_gpu(self.placement.kind) else ""
            return (
                f"no worker{named} is left on Ray at {self.placement.address}, and none could be started for "
                f"{patience_s:g} s: {self.why}"
            )
        return ""


class Manned(Protocol):
    """A pool of several crews."""

    model_digest: str

    def submit_to(self, crew: Crew, task: EvaluationTask) -> None:
        """Queue a task for one of them."""
        ...

    def completed_by(self, crew: Crew, timeout_s: float) -> list[Evaluation]:
        """Give what one of them has finished."""
        ...

    def running_by(self, crew: Crew) -> list[EvaluationKey]:
        """Give what one of them is at work on."""
        ...


class OfKind:
    """Implements `search.contracts.Evaluator` by one crew of a pool, which is who ends it."""

    version = EVALUATOR_VERSION

    def __init__(self, pool: Manned, crew: Crew, environment: Environment) -> None:
        self._pool, self._crew = pool, crew
        self.environment, self.model_digest = environment, pool.model_digest
        self.num_workers = crew.placement.num_workers

    def submit(self, task: EvaluationTask) -> None:
        """Queue one stage of one program. Does not block."""
        self._pool.submit_to(self._crew, task)

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Give what has finished since the last call, waiting up to `timeout_s` for the first of any kind."""
        return self._pool.completed_by(self._crew, timeout_s)

    def running(self) -> list[EvaluationKey]:
        """Give what its workers are at work on."""
        return self._pool.running_by(self._crew)

    def close(self) -> None:
        """Do nothing: the pool kills all workers."""


def check_apart(crews: Sequence[Crew]) -> None:
    """Raise PoolError where two kinds are one environment: their figures would share rows."""
    known: dict[str, Crew] = {}
    for crew in crews:
        assert crew.environment is not None, "they have started"
        other = known.setdefault(crew.environment.digest, crew)
        if other is not crew:
            raise PoolError(
                f"the kinds {other.placement.kind} and {crew.placement.kind} are the same device with the same "
                f"software ({crew.environment.device}), so that their figures would share rows; name one of them"
            )
