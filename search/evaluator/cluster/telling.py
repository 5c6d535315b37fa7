"""What each worker is at, told in Ray's own memory: by workers, to the driver and to whoever lists the cluster."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from search.evaluator.cluster.asking import ANSWER_S, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.records import EvaluationTask

PREFIX = "vortex-worker-"  # of the keys, one for each worker
SILENT_S = 10.0  # after the head has not answered


@dataclass(frozen=True)
class Doing:
    """What one worker does. `node`: Ray's id of where it runs; `engines`: the roles of those that it holds.

    `stage` is empty between tasks. `since_s`: when the task, or the pause after it, began, by the clock of its node.
    """

    node: str
    host: str
    engines: tuple[str, ...] = ()
    stage: str = ""
    program: str = ""
    ratio: float = 0.0
    step: str = ""
    since_s: float = 0.0


class Teller:
    """Tells what a worker does, under a key of its own; tells nobody where it has none."""

    def __init__(self, place: str, engines: Callable[[], tuple[str, ...]]) -> None:
        self._place, self._engines = place, engines
        self._said: dict[str, Any] = {}
        self._silent_until = 0.0

    def begin(self, task: EvaluationTask) -> None:
        """Note which task begins; it is told with its first step."""
        key = task.key
        self._said = {"stage": key.stage, "program": key.program_digest, "ratio": task.workload.ratio}
        self._said["since_s"] = time.time()

    def step(self, step: str) -> None:
        """Say what is done now for the task."""
        self._tell(step)

    def end(self) -> None:
        """Say that nothing is done."""
        self._said = {"since_s": time.time()}
        self._tell("")

    def _tell(self, step: str) -> None:
        if not self._place or time.monotonic() < self._silent_until:
            return
        from ray.exceptions import RayError

        doing = Doing(node_id(), socket.gethostname(), engines=self._engines(), step=step, **self._said)
        try:
            _put(self._place, json.dumps(asdict(doing)))
        except RayError:  # the head is away: nobody can be told, and the work goes on
            self._silent_until = time.monotonic() + SILENT_S


def told(place: str) -> str:
    """Give the step that was told there last, nothing before that or while the head is away; for the driver."""
    from ray.exceptions import RayError

    try:
        doing = told_by(head().internal_kv_get(place.encode(), None, ANSWER_S))
    except RayError:
        return ""
    return doing.step if doing else ""


def told_by(said: bytes | None) -> Doing | None:
    """Read what stands under a worker's key; None where it is none of ours."""
    try:
        read = json.loads(said or b"null")
        return Doing(**read | {"engines": tuple(read["engines"])}) if isinstance(read, dict) else None
    except (ValueError, TypeError, KeyError):  # of another version of this project
        return None


def forget(place: str) -> None:
    """Leave nothing there: a cluster may outlive us."""
    from ray.exceptions import RayError

    try:
        head().internal_kv_del(place.encode(), False, None, ANSWER_S)
    except RayError:  # gone with its head
        return


def node_id() -> str:
    """Give Ray's id of the node that this process runs on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _put(place: str, said: str) -> None:
    head().internal_kv_put(place.encode(), said.encode(), True, None, ANSWER_S)
