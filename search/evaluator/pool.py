"""Workers on Ray: the Evaluator that the search talks to.

Ray places processes and notices when they die; it never retries and never sees the database. The ledger decides
what is run again.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.evaluator.arms import WorkerSettings
from search.evaluator.cluster import LOCAL, PoolError, connected, forget, told
from search.evaluator.identity import EVALUATOR_VERSION
from search.evaluator.models import model_digest, model_folder
from search.evaluator.speed.stage import num_pairs_of
from search.evaluator.worker import Worker
from search.records import Environment, Evaluation, EvaluationTask, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager

    from search.records import EvaluationKey

PLACEMENT_PATIENCE_S = 120.0
ACCELERATOR_LABEL = "ray.io/accelerator-type"


@dataclass(frozen=True)
class Placement:
    """Where workers go: `num_workers`, on the Ray cluster at `address` ("local" starts one on this machine).

    `accelerators`: None for CPU workers; otherwise one GPU for each, of one of these kinds (empty: any kind).
    """

    num_workers: int
    address: str = LOCAL
    accelerators: tuple[str, ...] | None = None

    def options(self) -> dict[str, Any]:
        """Give the actor options that ask for this placement."""
        if self.accelerators is None:
            return {"num_cpus": 1}
        if not self.accelerators:
            return {"num_cpus": 1, "num_gpus": 1}
        selector = {ACCELERATOR_LABEL: f"in({','.join(self.accelerators)})"}
        return {"num_cpus": 1, "num_gpus": 1, "label_selector": selector}

    def check(self, nodes: Sequence[dict[str, Any]]) -> None:
        """Raise PoolError where these nodes (as `ray.nodes()` tells them) cannot hold all workers.

        Ray itself would wait for ever, in silence.
        """
        alive = [node for node in nodes if node["Alive"]]
        kinds = [node.get("Labels", {}).get(ACCELERATOR_LABEL, "none") for node in alive]
        resource, wanted = ("CPU", "CPU cores") if self.accelerators is None else ("GPU", "GPUs")
        if self.accelerators:
            alive = [node for node, kind in zip(alive, kinds, strict=True) if kind in self.accelerators]
            wanted = f"GPUs of kind {' or '.join(self.accelerators)}"
        found = sum(int(node["Resources"].get(resource, 0)) for node in alive)
        if found < self.num_workers:
            raise PoolError(
                f"{self.num_workers} workers need as many {wanted}, but Ray at {self.address} has {found} "
                f"(accelerators of its nodes: {', '.join(sorted(set(kinds))) or 'no nodes'}); ask for fewer workers "
                "or for another kind"
            )


@dataclass
class _Slot:
    """One worker's place: its actor and what it is at work on. A call without a task is the actor's start."""

    actor: Any
    call: Any
    deadline: float
    place: str  # where it tells what it does
    task: EvaluationTask | None = None


class RayPool:
    """Implements `search.contracts.Evaluator`. Use from one thread."""

    version = EVALUATOR_VERSION

    def __init__(
        self,
        settings: WorkerSettings,
        placement: Placement,
        said: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Start Ray or join it, and wait for every worker; `said` is told what begins, and left when it is done.

        Raises PoolError where they cannot be placed or differ, ModelError or ConfigError for a model of no use.
        """
        if placement.accelerators is not None and settings.memory_bytes:
            raise PoolError("an address-space limit breaks CUDA: set memory_bytes to 0 for workers on GPUs")
        folder = model_folder(settings.engine.model)
        self.model_digest = model_digest(folder)
        self.num_workers = placement.num_workers
        self._settings, self._placement = settings, placement
        self._waiting: deque[EvaluationTask] = deque()
        self._slots: list[_Slot] = []
        self._ray = ExitStack()
        with said(f"starting Ray ({placement.address})"):
            self._ray.enter_context(connected(placement.address, placement.num_workers))
        try:
            with said(f"starting {placement.num_workers} worker{'s' * (placement.num_workers > 1)}"):
                self._start_workers()
        except BaseException:
            self.close()
            raise

    def submit(self, task: EvaluationTask) -> None:
        """Queue one stage of one program. Does not block."""
        self._waiting.append(task)
        self._dispatch()

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Give what has finished since the last call, waiting up to `timeout_s` for the first.

        Gives nothing at once when nothing is queued. Raises PoolError when no worker can be started any more.
        """
        deadline = time.monotonic() + timeout_s
        finished: list[Evaluation] = []
        while not finished and (self._waiting or any(slot.task for slot in self._slots)):
            self._dispatch()
            finished = self._collect(deadline)
            if time.monotonic() >= deadline:
                break
        self._dispatch()
        return finished

    def running(self) -> list[EvaluationKey]:
        """Give what workers are at work on; the rest of what was submitted waits for one of them."""
        return [slot.task.key for slot in self._slots if slot.task is not None]

    def doing(self, keys: Collection[EvaluationKey]) -> dict[EvaluationKey, str]:
        """Give what workers are doing for some of what is in their hands, in words."""
        asked = [(slot.task.key, slot.place) for slot in self._slots if slot.task and slot.task.key in keys]
        return {key: step for key, place in asked if (step := told(place))}

    def close(self) -> None:
        """Kill every worker; its engines die with it. Idempotent."""
        import ray

        self._waiting.clear()
        for slot in self._slots:
            ray.kill(slot.actor)
            forget(slot.place)
        self._slots = []
        self._ray.close()

    def _stage_s(self, task: EvaluationTask) -> float:
        return self._settings.limits.stage_s(task.key.stage, 1 + num_pairs_of(task))

    def _start_workers(self) -> None:
        import ray

        self._placement.check(ray.nodes())
        self._slots = [self._fresh_slot() for _ in range(self.num_workers)]
        self.environment = self._common_environment()

    def _fresh_slot(self) -> _Slot:
        import ray

        placed: Any = ray.remote(Worker).options(max_restarts=0, **self._placement.options())
        place = f"vortex-{secrets.token_hex(8)}"
        actor = placed.remote(self._settings, place)
        return _Slot(actor, actor.__ray_ready__.remote(), time.monotonic() + PLACEMENT_PATIENCE_S, place)

    def _common_environment(self) -> Environment:
        """Wait for all workers to start; figures from unlike machines must not share a row."""
        import ray

        try:
            calls = [slot.actor.environment.remote() for slot in self._slots]
            found = ray.get(calls, timeout=PLACEMENT_PATIENCE_S)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise PoolError(f"the workers did not start: {_reason(error)}") from error
        if len({environment.digest for environment in found}) > 1:
            devices = "; ".join(sorted({f"{e.device}, {e.driver}, vLLM {e.vllm}" for e in found}))
            raise PoolError(f"the workers' machines differ ({devices}); name one kind of accelerator")
        for slot in self._slots:
            slot.call = None
        return found[0]

    def _dispatch(self) -> None:
        for slot in self._slots:
            if self._waiting and slot.call is None:
                slot.task = self._waiting.popleft()
                slot.call = slot.actor.run.remote(slot.task)
                stage_s = self._stage_s(slot.task)
                slot.deadline = time.monotonic() + stage_s

    def _collect(self, deadline: float) -> list[Evaluation]:
        """Wait for the first call to end or to be overdue, then settle all that are."""
        import ray

        calls = [slot.call for slot in self._slots if slot.call is not None]
        nearest = min([deadline, *(slot.deadline for slot in self._slots if slot.call is not None)])
        ray.wait(calls, timeout=max(0.0, nearest - time.monotonic()))
        ready, _ = ray.wait(calls, num_returns=len(calls), timeout=0)
        settled: list[Evaluation | None] = []
        for i, slot in enumerate(self._slots):
            if slot.call in ready:
                settled.append(self._settle(i))
            elif slot.call is not None and time.monotonic() >= slot.deadline:
                settled.append(self._give_up(i))
        return [evaluation for evaluation in settled if evaluation is not None]

    def _settle(self, i: int) -> Evaluation | None:
        """Take what a call gave. A worker that broke is replaced, and the row may be tried again."""
        import ray

        slot = self._slots[i]
        try:
            result = ray.get(slot.call)
        except ray.exceptions.RayError as error:
            return self._replace(i, Status.INFRASTRUCTURE, f"the worker broke: {_reason(error)}")
        task, slot.task, slot.call = slot.task, None, None
        return result if task else None

    def _give_up(self, i: int) -> Evaluation | None:
        """Replace a worker that let its own limits pass. Raises PoolError if it never even started."""
        task = self._slots[i].task
        if task is None:
            raise PoolError(f"a worker could not be started again within {PLACEMENT_PATIENCE_S:g} s")
        stage_s = self._stage_s(task)
        return self._replace(i, Status.TIMED_OUT, f"the worker gave no answer within {stage_s:g} s and was killed")

    def _replace(self, i: int, status: Status, message: str) -> Evaluation | None:
        import ray

        slot = self._slots[i]
        ray.kill(slot.actor)
        forget(slot.place)
        self._slots[i] = self._fresh_slot()
        return Evaluation(slot.task.key, status, message) if slot.task else None


def _reason(error: Exception) -> str:
    """Give the telling part of Ray's long messages."""
    cause = getattr(error, "cause", None)
    if cause is not None:
        return f"{type(cause).__name__}: {cause}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
