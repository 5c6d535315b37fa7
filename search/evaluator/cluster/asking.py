"""What the pool asks of its cluster's head. Ray's own calls wait for one that is away, maybe for ever; these do not."""

from __future__ import annotations

from concurrent.futures import Future, wait
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Node = dict[str, Any]  # as `ray.nodes()` tells it
ANSWER_S = 1.0  # for the head to take note, or to tell what it was told
NODES_S = 10.0  # for it to tell of all nodes
TAKE_S = 10.0  # for it to take an actor's class, which it is sent with the first actor after it was joined


def head() -> Any:
    """Give the client of the head that we are a driver or a worker of. Each of its calls takes a `timeout`."""
    from ray.experimental.internal_kv import internal_kv_get_gcs_client

    return internal_kv_get_gcs_client()


def nodes() -> list[dict[str, Any]]:
    """Give the nodes, lost ones included, as `ray.nodes()` tells them. Raises RayError where nobody answers."""
    return [_node(each) for each in head().get_all_node_info(timeout=NODES_S).values()]


def start(actor_class: Any, *arguments: Any) -> Any:
    """Start an actor, wherever and whenever there is room. Raises RayError where the head does not take its class."""
    from ray.exceptions import GetTimeoutError

    started = _beside(lambda: actor_class.remote(*arguments))
    if not _is_done(started, TAKE_S):
        raise GetTimeoutError(f"Ray's head has not taken an actor's class within {TAKE_S:g} s")
    return started.result()


def kill(actor: Any) -> None:
    """Kill an actor; a head that is slow to take note is not waited for."""
    _is_done(_beside(lambda: _kill(actor)), ANSWER_S)


def _beside(ask: Callable[[], Any]) -> Future[Any]:
    """Ask in a thread of its own, which no exit of the process waits for."""
    answer: Future[Any] = Future()

    def asked() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # it is raised where the answer is read
            answer.set_exception(error)

    Thread(target=asked, daemon=True).start()
    return answer


def _is_done(answer: Future[Any], patience_s: float) -> bool:
    """Wait for an answer, and say whether there is one, an error included."""
    return bool(wait((answer,), patience_s).done)


def _kill(actor: Any) -> None:
    import ray

    with suppress(ray.exceptions.RayError):  # gone with its node, or with Ray
        ray.kill(actor)


def _node(info: Any) -> dict[str, Any]:
    return {
        "NodeID": info.node_id.hex(),
        "Alive": info.state == info.ALIVE,
        "NodeManagerAddress": info.node_manager_address,
        "NodeManagerPort": info.node_manager_port,
        "Resources": dict(info.resources_total),
        "Labels": dict(info.labels),
    }
