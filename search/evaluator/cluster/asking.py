"""What the pool asks of its cluster's head. Ray's own calls wait for one that is away, maybe for ever; these do not."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread
from typing import Any

Node = dict[str, Any]  # as `ray.nodes()` tells it
ANSWER_S = 1.0  # for the head to take note, or to tell what it was told
NODES_S = 10.0  # for it to tell of all nodes


def head() -> Any:
    """Give the client of the head that we are a driver or a worker of. Each of its calls takes a `timeout`."""
    from ray.experimental.internal_kv import internal_kv_get_gcs_client

    return internal_kv_get_gcs_client()


def nodes() -> list[dict[str, Any]]:
    """Give the nodes, lost ones included, as `ray.nodes()` tells them. Raises RayError where nobody answers."""
    return [_node(each) for each in head().get_all_node_info(timeout=NODES_S).values()]


def kill(actor: Any) -> None:
    """Kill an actor; a head that is slow to take note is not waited for."""
    asking = Thread(target=_kill, args=(actor,), daemon=True)
    asking.start()
    asking.join(ANSWER_S)


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
