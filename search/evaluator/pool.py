"""Workers as Ray actors on CPUs or GPUs, none of which can lose, repeat or block a task.

What is lost with a node goes back to the queue, and whoever is left goes on. Only once nobody has been left for as long
as there is patience is that the end.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter, deque
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.evaluator.arms import WorkerSettings
from search.evaluator.cluster import Placement, PoolError
from search.evaluator.cluster.asking import ANSWER_S, kill, nodes
from search.evaluator.cluster.losses import is_lost, reason
from search.evaluator.cluster.membership import Membership
from search.evaluator.cluster.telling import PREFIX, forget, told
from search.evaluator.identity import EVALUATOR_VERSION
from search.evaluator.models import model_digest, model_folder, model_outline
from search.evaluator.speed.stage import num_pairs_of
from search.evaluator.worker import Introduction, Worker
from search.records import Environment, Evaluation, EvaluationTask, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from search.records import EvaluationKey

START_S = 120.0  # of a worker, once there is room for it
RETRY_S = 2.0  # between two attempts to start one
FIELDS = ("device", "driver", "python", "torch", "vllm", "commit", "dtype")  # of an environment
MAX_LOST = 5  # nodes under one task: then it is told that it cannot be measured


@dataclass
class _Slot:
    """One worker's place: its actor and what it is at work on. A call without a task is the actor's start.

    Without an actor it waits until `deadline` for another attempt.
    """

    actor: Any
    call: Any
    deadline: float
    place: str  # where it tells what it does
    task: EvaluationTask | None = None
    known: Introduction | None = None  # once it has started


def _worker() -> Any:
    """Make the actor's class, once: Ray sends it to each head that is joined, and waits until that has taken it."""
    import ray

    return ray.remote(Worker)


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
        self.model_digest, self._model = model_digest(folder), model_outline(folder)
        self.num_workers = placement.num_workers
        self._settings, self._placement = settings, placement
        self._waiting: deque[EvaluationTask] = deque()
        self._lost: Counter[EvaluationKey] = Counter()  # nodes, under a task
        self._slots: list[_Slot] = []
        self._refused: dict[str, str] = {}  # nodes, and why
        self._alone_since: float | None = None  # since when there is no worker
        self._why = ""  # there is none
        self._cluster = Membership(placement.address, placement.num_workers)
        self._is_cut_off, self._look_at = False, 0.0  # and when to look the next time whether we are
        with said(f"starting Ray ({placement.address})"):
            self._cluster.join()
        self._worker = _worker()
        try:
            with said(f"starting {placement.num_workers} worker{'s' * (placement.num_workers > 1)}"):
                self.environment = self._start_workers()
        except BaseException:
            self.close()
            raise

    def submit(self, task: EvaluationTask) -> None:
        """Queue one stage of one program. Does not block."""
        self._waiting.append(task)
        self._hand_out()

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Give what has finished since the last call, waiting up to `timeout_s` for the first.

        Gives nothing at once when nothing is queued. Raises PoolError when there has been no worker for too long.
        """
        deadline = time.monotonic() + timeout_s
        finished: list[Evaluation] = []
        while not finished and (self._waiting or any(slot.task for slot in self._slots)):
            finished = self._turn(deadline)
            self._check_patience()
            if time.monotonic() >= deadline:
                break
        self._hand_out()
        return finished

    def running(self) -> list[EvaluationKey]:
        """Give what workers are at work on; the rest of what was submitted waits for one of them."""
        return [slot.task.key for slot in self._slots if slot.task is not None]

    def doing(self, keys: Collection[EvaluationKey]) -> dict[EvaluationKey, str]:
        """Give what workers are doing for some of what is in their hands, in words."""
        asked = [(slot.task.key, slot.place) for slot in self._slots if slot.task and slot.task.key in keys]
        return {key: step for key, place in asked if (step := told(place))} if self._cluster.lasts() else {}

    def close(self) -> None:
        """Kill every worker; its engines die with it. Idempotent."""
        self._waiting.clear()
        for slot in self._slots:
            self._end(slot)
        self._slots = []
        self._cluster.leave()

    def _stage_s(self, task: EvaluationTask) -> float:
        return self._settings.limits.stage_s(task.key.stage, 1 + num_pairs_of(task))

    # Workers

    def _start_workers(self) -> Environment:
        """Start all workers and wait for them; figures from unlike machines must not share a row."""
        import ray

        try:
            self._placement.check(nodes())
            self._slots = [self._fresh_slot() for _ in range(self.num_workers)]
            found = ray.get([slot.call for slot in self._slots], timeout=START_S)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise PoolError(f"the workers did not start: {reason(error)}") from error
        for slot, known in zip(self._slots, found, strict=True):
            if complaint := self._complaint(known, found[0].environment):
                raise PoolError(f"{complaint}; name one kind of accelerator, and install the same on all nodes")
            slot.known, slot.call = known, None
        return found[0].environment

    def _complaint(self, known: Introduction, wanted: Environment) -> str:
        """Say why a worker's figures would not share a row with others', if they would not."""
        if known.fault or known.model != self._model:
            return f"the model on {known.host} is another one than here: {known.fault or 'its files differ'}"
        ours, theirs = vars(wanted), vars(known.environment)
        differing = [f"{name} {theirs[name]} instead of {ours[name]}" for name in FIELDS if ours[name] != theirs[name]]
        return f"the workers' machines differ: {known.host} has {', '.join(differing)}" if differing else ""

    def _fresh_slot(self) -> _Slot:
        """Start a worker wherever there is room, now or later."""
        options = self._placement.options(nodes(), self._refused)
        place = f"{PREFIX}{secrets.token_hex(8)}"
        actor = self._worker.options(max_restarts=0, **options).remote(self._settings, place)
        return _Slot(actor, actor.introduce.remote(), time.monotonic() + START_S, place)

    def _end(self, slot: _Slot) -> None:
        if slot.actor is not None and self._cluster.lasts():
            kill(slot.actor)
            forget(slot.place)

    def _leave(self, i: int, why: str) -> None:
        """Give up a worker; another one is started in its place in a while."""
        self._end(self._slots[i])
        self._slots[i] = _Slot(None, None, time.monotonic() + RETRY_S, "")
        self._why = why

    def _welcome(self, i: int, known: Introduction) -> None:
        """Take a worker in that has started, unless its machine is another."""
        complaint = self._complaint(known, self.environment)
        if complaint:
            self._refused[known.node] = complaint
            self._leave(i, complaint)
        else:
            self._slots[i].known, self._slots[i].call = known, None

    # Work

    def _turn(self, deadline: float) -> list[Evaluation]:
        """Give out work and take what is done; where Ray itself is gone, all workers are gone with it."""
        from ray.exceptions import RayError

        try:
            self._look_around()
            if not self._is_cut_off:
                self._revive()
            self._hand_out()
            return self._collect(deadline)
        except RayError as error:
            self._cluster.lose()
            self._look_at = 0.0
            gone = [self._replace(i, Status.INFRASTRUCTURE, reason(error), lost=True) for i in range(len(self._slots))]
            return [evaluation for evaluation in gone if evaluation is not None]

    def _look_around(self) -> None:
        """Look now and then, while a worker is missing, whether Ray is there to start it.

        Where it is not, others finish what they are at; then we leave, and join or start what is there instead.
        """
        now = time.monotonic()
        if now < self._look_at or all(slot.known for slot in self._slots):
            return
        self._look_at = now + RETRY_S
        self._is_cut_off = not self._cluster.lasts()
        if self._is_cut_off and not any(slot.task for slot in self._slots):
            self._rejoin()

    def _rejoin(self) -> None:
        """Leave a cluster that is gone, with workers that nobody can replace, and join what answers in its place."""
        self._slots = [_Slot(None, None, time.monotonic(), "") for _ in self._slots]
        try:
            self._cluster.join()
        except PoolError as error:
            self._why = str(error)
        else:
            self._is_cut_off = False

    def _revive(self) -> None:
        now = time.monotonic()
        for i, slot in enumerate(self._slots):
            if slot.actor is None and now >= slot.deadline:
                self._slots[i] = self._fresh_slot()

    def _hand_out(self) -> None:
        for slot in self._slots:
            if self._waiting and not self._is_cut_off and slot.known is not None and slot.call is None:
                slot.task = self._waiting.popleft()
                slot.call = slot.actor.run.remote(slot.task)
                slot.deadline = time.monotonic() + self._stage_s(slot.task)

    def _collect(self, deadline: float) -> list[Evaluation]:
        """Wait for the first call to end or to be overdue, then settle all that are."""
        import ray

        calls = [slot.call for slot in self._slots if slot.call is not None]
        wait_s = max(0.0, min(deadline, self._next_deadline()) - time.monotonic())
        if not calls:
            time.sleep(wait_s)
            return []
        ray.wait(calls, timeout=wait_s)
        ready, _ = ray.wait(calls, num_returns=len(calls), timeout=0)
        settled: list[Evaluation | None] = []
        for i, slot in enumerate(self._slots):
            if slot.call in ready:
                settled.append(self._settle(i))
            elif slot.call is not None and time.monotonic() >= slot.deadline:
                settled.append(self._give_up(i))
        return [evaluation for evaluation in settled if evaluation is not None]

    def _next_deadline(self) -> float:
        """Give when something is to be done though no call has ended."""
        to_look = [] if all(slot.known for slot in self._slots) else [self._look_at]
        overdue = [slot.deadline for slot in self._slots if slot.call is not None]
        to_revive = [slot.deadline for slot in self._slots if slot.actor is None and not self._is_cut_off]
        return min([*to_look, *overdue, *to_revive], default=math.inf)

    def _settle(self, i: int) -> Evaluation | None:
        """Take what a call gave. A worker that broke is replaced; what was lost with a node goes back to the queue."""
        import ray

        slot = self._slots[i]
        try:
            result = ray.get(slot.call, timeout=ANSWER_S)
        except ray.exceptions.RayError as error:
            lost = is_lost(error) or not self._cluster.lasts()
            return self._replace(i, Status.INFRASTRUCTURE, f"the worker broke: {reason(error)}", lost=lost)
        if slot.known is None:
            self._welcome(i, result)
            return None
        task, slot.task, slot.call = slot.task, None, None
        return result if task else None

    def _give_up(self, i: int) -> Evaluation | None:
        """Replace a worker that let its own limits pass, or whose answer has no way to us."""
        task = self._slots[i].task
        limit_s = self._stage_s(task) if task else START_S
        message = f"the worker gave no answer within {limit_s:g} s and was killed"
        return self._replace(i, Status.TIMED_OUT, message, lost=not self._cluster.lasts())

    def _replace(self, i: int, status: Status, message: str, *, lost: bool = False) -> Evaluation | None:
        task = self._slots[i].task
        self._leave(i, message)
        if task is None:
            return None
        self._lost[task.key] += lost
        if lost and self._lost[task.key] < MAX_LOST:
            self._waiting.appendleft(task)
            return None
        return Evaluation(task.key, status, message)

    def _check_patience(self) -> None:
        """Raise PoolError where there has been no worker for too long."""
        now = time.monotonic()
        if any(slot.known for slot in self._slots):
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= self._placement.patience_s:
            raise PoolError(
                f"no worker is left on Ray at {self._placement.address}, and none could be started for "
                f"{self._placement.patience_s:g} s: {self._why}"
            )
