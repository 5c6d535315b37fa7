"""The workers of one kind in a pool: what they run, where they go, and what waits for them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from search.evaluator.cluster import PoolError
from search.evaluator.speed.stage import num_pairs_of
from search.kinds.wished import ANY_GPU, WHEREVER, is_gpu
from search.records import Evaluation, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.arms import WorkerSettings
    from search.evaluator.cluster import Placement
    from search.records import Environment, EvaluationTask


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

    def stage_s(self, task: EvaluationTask) -> float:
        """Give the seconds after which a worker that has not answered is ended."""
        limits, others = self.settings.limits, self.placement.num_workers - 1
        waits_s = limits.waits_s(others) if self.settings.timed_alone else 0.0
        return limits.stage_s(task.key.stage, 1 + num_pairs_of(task)) + waits_s

    def lost(self, *, is_alone: bool) -> str:
        """Say that there has been no worker for longer than there is patience; nothing while that is not so."""
        now, patience_s = time.monotonic(), self.placement.patience_s
        if not is_alone:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= patience_s:
            named = f" of kind {self.placement.kind}" if self.placement.kind not in (WHEREVER, ANY_GPU) else ""
            return (
                f"no worker{named} is left on Ray at {self.placement.address}, and none could be started for "
                f"{patience_s:g} s: {self.why}"
            )
        return ""

    def give_up(self, why: str) -> None:
        """Tell of all that waits that it cannot be measured."""
        self.done += [Evaluation(task.key, Status.INFRASTRUCTURE, why) for task in self.waiting]
        self.waiting.clear()


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
