"""Workers as Ray actors on CPUs or GPUs, none of which can lose, repeat or block a task.

What is lost with a node goes back to the queue, and whoever is left goes on. Only once nobody has been left for as long
as there is patience is that the end. Workers of each kind are a crew, with a queue and an environment of its own.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.evaluator.cluster import PoolError
from search.evaluator.cluster.asking import ANSWER_S, kill, nodes, start
from search.evaluator.cluster.losses import is_lost, reason
from search.evaluator.cluster.membership import Membership
from search.evaluator.cluster.telling import PREFIX, forget, told
from search.evaluator.crews import Crew, check_apart
from search.evaluator.identity import EVALUATOR_VERSION
from search.evaluator.models import model_digest, model_folder, model_outline
from search.evaluator.worker import Introduction, Worker
from search.records import Environment, Evaluation, EvaluationTask, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractContextManager

    from search.evaluator.arms import WorkerSettings
    from search.evaluator.cluster import Placement
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

    crew: Crew
    actor: Any
    call: Any
    deadline: float
    place: str  # where it tells what it does
    task: EvaluationTask | None = None
    known: Introduction | None = None  # once it has started
    served: str = ""  # the text of the program that it was given last, whose fields its engine has at hand


def _worker() -> Any:
    """Make the actor's class, once: Ray sends it to each head that is joined, with the first worker."""
    import ray

    return ray.remote(Worker)


class RayPool:
    """Implements `search.contracts.OfKinds`: an evaluator by its first crew, beside those by others.

    Use from one thread.
    """

    version = EVALUATOR_VERSION

    def __init__(
        self,
        settings: WorkerSettings,
        placement: Placement,
        said: Callable[[str], AbstractContextManager[object]] = nullcontext,
        further: Sequence[tuple[WorkerSettings, Placement]] = (),
    ) -> None:
        """Start Ray or join it, and wait for every worker; `said` is told what begins, and left when it is done.

        `further`: how workers of other kinds run engines, and where they go on the same cluster.

        Raises PoolError where they cannot be placed or differ, ModelError or ConfigError for a model of no use.
        """
        self._crews = [Crew(*each) for each in ((settings, placement), *further)]
        folder = model_folder(settings.engine.model)
        self.model_digest, self._model = model_digest(folder), model_outline(folder)
        self.num_workers = placement.num_workers
        num_workers = sum(crew.placement.num_workers for crew in self._crews)
        self._lost: Counter[EvaluationKey] = Counter()  # nodes, under a task
        self._slots: list[_Slot] = []
        self._cluster = Membership(placement.address, num_workers)
        self._is_cut_off, self._look_at = False, 0.0  # and when to look the next time whether we are
        try:
            with said(f"starting Ray ({placement.address})"):
                self._cluster.join()
            self._worker = _worker()
            with said(f"starting {num_workers} worker{'s' * (num_workers > 1)}"):
                self.environment, *others = self._start_workers()
        except BaseException:
            self.close()
            raise
        self.further = tuple(_OfKind(self, *each) for each in zip(self._crews[1:], others, strict=True))

    def submit(self, task: EvaluationTask) -> None:
        """Queue one stage of one program. Does not block."""
        self.submit_to(self._crews[0], task)

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Give what has finished since the last call, waiting up to `timeout_s` for the first of any kind.

        Gives nothing at once when nothing is queued. Raises PoolError when there has been no worker for too long.
        """
        return self.completed_by(self._crews[0], timeout_s)

    def running(self) -> list[EvaluationKey]:
        """Give what workers are at work on; the rest of what was submitted waits for one of them."""
        return self.running_by(self._crews[0])

    def submit_to(self, crew: Crew, task: EvaluationTask) -> None:
        """Queue a task for one kind of workers."""
        crew.waiting.append(task)
        self._hand_out()

    def completed_by(self, crew: Crew, timeout_s: float) -> list[Evaluation]:
        """Give what one kind of workers has finished; as `completed`."""
        deadline = time.monotonic() + timeout_s
        while self._is_at_work(crew) and not any(each.done for each in self._crews):
            self._turn(deadline)
            self._check_patience()
            if time.monotonic() >= deadline:
                break
        self._hand_out()
        finished, crew.done = crew.done, []
        return finished

    def running_by(self, crew: Crew) -> list[EvaluationKey]:
        """Give what one kind of workers is at work on."""
        return [slot.task.key for slot in self._slots if slot.crew is crew and slot.task is not None]

    def doing(self, keys: Collection[EvaluationKey]) -> dict[EvaluationKey, str]:
        """Give what workers are doing for some of what is in their hands, in words."""
        asked = [(slot.task.key, slot.place) for slot in self._slots if slot.task and slot.task.key in keys]
        return {key: step for key, place in asked if (step := told(place))} if self._cluster.lasts() else {}

    def close(self) -> None:
        """Kill every worker; its engines die with it, and a Ray of our own with all that hangs of it. Idempotent."""
        for crew in self._crews:
            crew.waiting.clear()
        try:
            for slot in self._slots:
                self._end(slot)
            self._slots = []
        finally:
            self._cluster.leave()

    def _is_at_work(self, crew: Crew) -> bool:
        return bool(crew.waiting) or any(slot.task for slot in self._slots if slot.crew is crew)

    # Workers

    def _start_workers(self) -> list[Environment]:
        """Start all workers, wait for them and give each kind's environment: unlike machines must not share a row."""
        import ray

        try:
            known_nodes = nodes()
            for crew in self._crews:
                crew.placement.check(known_nodes)
            self._slots = [self._fresh_slot(crew) for crew in self._crews for _ in range(crew.placement.num_workers)]
            found = ray.get([slot.call for slot in self._slots], timeout=START_S)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise PoolError(f"the workers did not start: {reason(error)}") from error
        wanted: dict[Crew, Environment] = {}
        for slot, known in zip(self._slots, found, strict=True):
            slot.crew.environment = wanted.setdefault(slot.crew, known.environment)  # of its first worker
            if complaint := self._complaint(known, slot.crew):
                raise PoolError(f"{complaint}; name one kind of accelerator, and install the same on all nodes")
            slot.known, slot.call = known, None
        check_apart(self._crews)
        return list(wanted.values())

    def _complaint(self, known: Introduction, crew: Crew) -> str:
        """Say why a worker's figures would not share a row with others of its kind, if they would not."""
        if known.fault or known.model != self._model:
            return f"the model on {known.host} is another one than here: {known.fault or 'its files differ'}"
        ours, theirs = vars(crew.environment), vars(known.environment)
        differing = [f"{name} {theirs[name]} instead of {ours[name]}" for name in FIELDS if ours[name] != theirs[name]]
        return f"the workers' machines differ: {known.host} has {', '.join(differing)}" if differing else ""

    def _fresh_slot(self, crew: Crew) -> _Slot:
        """Start a worker wherever there is room, now or later."""
        options = crew.placement.options(nodes(), crew.refused)
        place = f"{PREFIX}{secrets.token_hex(8)}"
        actor = start(self._worker.options(max_restarts=0, **options), crew.settings, place)
        return _Slot(crew, actor, actor.introduce.remote(), time.monotonic() + START_S, place)

    def _end(self, slot: _Slot) -> None:
        if slot.actor is not None and self._cluster.lasts():
            kill(slot.actor)
            forget(slot.place)

    def _leave(self, i: int, why: str) -> None:
        """Give up a worker; another one is started in its place in a while."""
        crew = self._slots[i].crew
        self._end(self._slots[i])
        self._slots[i] = _vacant(crew, RETRY_S)
        crew.why = why

    def _welcome(self, i: int, known: Introduction) -> None:
        """Take a worker in that has started, unless its machine is another."""
        crew = self._slots[i].crew
        complaint = self._complaint(known, crew)
        if complaint:
            crew.refused[known.node] = complaint
            self._leave(i, complaint)
        else:
            self._slots[i].known, self._slots[i].call = known, None

    # Work

    def _turn(self, deadline: float) -> None:
        """Give out work and take what is done; where Ray itself is gone, all workers are gone with it."""
        from ray.exceptions import RayError

        try:
            self._look_around()
            if not self._is_cut_off:
                self._revive()
            self._hand_out()
            self._collect(deadline)
        except RayError as error:
            self._cluster.lose()
            self._look_at = 0.0
            for i in range(len(self._slots)):
                self._replace(i, Status.INFRASTRUCTURE, reason(error), lost=True)

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
        self._slots = [_vacant(slot.crew, 0.0) for slot in self._slots]
        try:
            self._cluster.join()
        except PoolError as error:
            for crew in self._crews:
                crew.why = str(error)
        else:
            self._is_cut_off = False

    def _revive(self) -> None:
        now = time.monotonic()
        for i, slot in enumerate(self._slots):
            if slot.actor is None and now >= slot.deadline:
                self._slots[i] = self._fresh_slot(slot.crew)

    def _hand_out(self) -> None:
        """Give what waits to whoever is free, first to who has served the same program last."""
        for crew in self._crews if not self._is_cut_off else ():
            free = [slot for slot in self._slots if slot.crew is crew and slot.known is not None and slot.call is None]
            for task in tuple(crew.waiting)[: len(free)]:
                place = next((i for i, slot in enumerate(free) if slot.served == task.text), 0)
                self._give(free.pop(place), task)

    def _give(self, slot: _Slot, task: EvaluationTask) -> None:
        slot.task, slot.served = slot.crew.waiting.popleft(), task.text
        slot.call = slot.actor.run.remote(task)
        slot.deadline = time.monotonic() + slot.crew.stage_s(task)

    def _collect(self, deadline: float) -> None:
        """Wait for the first call to end or to be overdue, then settle all that are."""
        import ray

        calls = [slot.call for slot in self._slots if slot.call is not None]
        wait_s = max(0.0, min(deadline, self._next_deadline()) - time.monotonic())
        if not calls:
            time.sleep(wait_s)
            return
        ray.wait(calls, timeout=wait_s)
        ready, _ = ray.wait(calls, num_returns=len(calls), timeout=0)
        for i, slot in enumerate(self._slots):
            if slot.call in ready:
                self._settle(i)
            elif slot.call is not None and time.monotonic() >= slot.deadline:
                self._give_up(i)

    def _next_deadline(self) -> float:
        """Give when something is to be done though no call has ended."""
        to_look = [] if all(slot.known for slot in self._slots) else [self._look_at]
        overdue = [slot.deadline for slot in self._slots if slot.call is not None]
        to_revive = [slot.deadline for slot in self._slots if slot.actor is None and not self._is_cut_off]
        return min([*to_look, *overdue, *to_revive], default=math.inf)

    def _settle(self, i: int) -> None:
        """Take what a call gave. A worker that broke is replaced; what was lost with a node goes back to the queue."""
        import ray

        slot = self._slots[i]
        try:
            result = ray.get(slot.call, timeout=ANSWER_S)
        except ray.exceptions.RayError as error:
            lost = is_lost(error) or not self._cluster.lasts()
            self._replace(i, Status.INFRASTRUCTURE, f"the worker broke: {reason(error)}", lost=lost)
            return
        if slot.known is None:
            self._welcome(i, result)
            return
        if slot.task:
            slot.crew.done.append(result)
        slot.task, slot.call = None, None

    def _give_up(self, i: int) -> None:
        """Replace a worker that let its own limits pass, or whose answer has no way to us."""
        crew, task = self._slots[i].crew, self._slots[i].task
        message = f"the worker gave no answer within {crew.stage_s(task) if task else START_S:g} s and was killed"
        self._replace(i, Status.TIMED_OUT, message, lost=not self._cluster.lasts())

    def _replace(self, i: int, status: Status, message: str, *, lost: bool = False) -> None:
        crew, task = self._slots[i].crew, self._slots[i].task
        self._leave(i, message)
        if task is None:
            return
        self._lost[task.key] += lost
        if lost and self._lost[task.key] < MAX_LOST:
            crew.waiting.appendleft(task)
        else:
            crew.done.append(Evaluation(task.key, status, message))

    def _check_patience(self) -> None:
        """Raise PoolError where there has been no worker for too long; on a further kind, give up what waits."""
        manned = {slot.crew for slot in self._slots if slot.known}
        for crew in self._crews:
            lost = crew.lost(is_alone=crew not in manned)
            if lost and crew is self._crews[0] and self._is_at_work(crew):
                raise PoolError(lost)
            if lost:
                crew.give_up(lost)


class _OfKind:
    """Implements `search.contracts.Evaluator` by one crew of a pool, which is who ends it."""

    version = EVALUATOR_VERSION

    def __init__(self, pool: RayPool, crew: Crew, environment: Environment) -> None:
        self._pool, self._crew = pool, crew
        self.environment, self.model_digest = environment, pool.model_digest
        self.num_workers = crew.placement.num_workers

    def submit(self, task: EvaluationTask) -> None:
        self._pool.submit_to(self._crew, task)

    def completed(self, timeout_s: float) -> list[Evaluation]:
        return self._pool.completed_by(self._crew, timeout_s)

    def running(self) -> list[EvaluationKey]:
        return self._pool.running_by(self._crew)

    def close(self) -> None:
        """Do nothing: the pool kills all workers."""


def _vacant(crew: Crew, retry_s: float) -> _Slot:
    """Give a place whose worker is to be started in a while."""
    return _Slot(crew, None, None, time.monotonic() + retry_s, "")
