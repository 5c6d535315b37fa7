"""Quick looks on another machine of a Ray cluster: where nothing is recorded here, one that has recordings answers."""

from __future__ import annotations

import sys
from threading import Lock
from typing import TYPE_CHECKING, Any

from search.contracts import LookError
from search.evaluator.cluster.asking import kill, nodes, start
from search.evaluator.recall.looker import LOOK_S, START_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.evaluator.recall.looker import RecordedLooker
    from search.records import Measurement

    Values = tuple[tuple[str, float | int | str], ...]

FIND_S = 60.0  # for all machines to say whether they have recordings, started processes included
MAX_MACHINES = 64  # that are asked
NOWHERE = "there is no look: no machine of the cluster has recorded the model's attention so far"


class NearestLooker:
    """Implements `search.contracts.Looker`: on this machine where it has recordings, else on the Ray that we drive.

    make: gives what looks on the machine on which it is called, so that it must be a function that others can import. A
    process that drives no Ray looks here alone. Elsewhere an actor looks that takes no core of the workers', on the
    first machine that has recordings, until this is closed or that machine is lost.
    """

    def __init__(self, make: Callable[[], RecordedLooker]) -> None:
        self._make, self._here = make, make()
        self._lock, self._actor = Lock(), None

    def look(self, text: str, values: Values) -> tuple[Measurement, ...]:
        """Give figures of recall (`search.evaluator.recall.looking`). Raises LookError."""
        return self._here.look(text, values) if self._is_near() else self._asked("look", text, values)

    def statistics(self) -> tuple[Measurement, ...]:
        """Describe what was recorded (`search.evaluator.recall.describing`). Raises LookError."""
        return self._here.statistics() if self._is_near() else self._asked("statistics")

    def close(self) -> None:
        """Kill the processes that look. Idempotent."""
        self._here.close()
        with self._lock:
            self._leave()

    def _is_near(self) -> bool:
        """Whether to look here: it can be done, or there is no other place."""
        return self._here.is_recorded() or not _drives_ray()

    def _asked(self, call: str, *args: Any) -> tuple[Measurement, ...]:
        """Let the actor answer. Raises LookError where none can, or it takes too long."""
        import ray

        with self._lock:
            actor = self._actor = self._actor or _found(self._make)
        try:
            found: tuple[Measurement, ...] = ray.get(getattr(actor, call).remote(*args), timeout=START_S + LOOK_S)
        except ray.exceptions.RayTaskError as error:
            raise LookError(str(error.cause)) from None
        except (ray.exceptions.RayError, TimeoutError) as error:
            with self._lock:
                self._leave()
            raise LookError(f"the look came to nothing on another machine: {type(error).__name__}") from error
        return found

    def _leave(self) -> None:
        if self._actor is not None and _drives_ray():
            kill(self._actor)
        self._actor = None


def _drives_ray() -> bool:
    """Whether this process drives a Ray: then it has imported it, which takes seconds and is not done to ask."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


class _Place:
    """Looks on the machine on which it was started."""

    def __init__(self, make: Callable[[], RecordedLooker]) -> None:
        self._looker = make()

    def is_recorded(self) -> bool:
        return self._looker.is_recorded()

    def look(self, text: str, values: Values) -> tuple[Measurement, ...]:
        return self._looker.look(text, values)

    def statistics(self) -> tuple[Measurement, ...]:
        return self._looker.statistics()


def _found(make: Callable[[], RecordedLooker]) -> Any:
    """Start an actor on every machine, keep one that has recordings, and kill the others. Raises LookError."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    try:
        machines = [node["NodeID"] for node in nodes() if node["Alive"]][:MAX_MACHINES]
    except ray.exceptions.RayError as error:
        raise LookError(f"there is no look: Ray's head does not tell its machines: {type(error).__name__}") from error
    placed: Any = ray.remote(_Place)
    actors: list[Any] = []
    kept = None
    try:
        for each in machines:
            on_it = NodeAffinitySchedulingStrategy(each, soft=False)
            actors.append(start(placed.options(num_cpus=0, scheduling_strategy=on_it), make))
        asked = {actor.is_recorded.remote(): actor for actor in actors}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=FIND_S)
        kept = next((asked[call] for call in ready if _says_yes(call)), None)
    except ray.exceptions.RayError as error:
        raise LookError(f"there is no look: {error}") from error
    finally:
        for actor in actors:
            if actor is not kept:
                kill(actor)
    if kept is None:
        raise LookError(NOWHERE)
    return kept


def _says_yes(call: Any) -> bool:
    """Whether a machine has recordings; one that cannot say so has none."""
    import ray

    try:
        return bool(ray.get(call))
    except ray.exceptions.RayError:
        return False
