"""`vortex cluster`: nodes, what they have, and what each worker on them is at. Joins nothing: it asks the head."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.evaluator.cluster.joining import asked
from search.evaluator.cluster.placement import kind_of
from search.evaluator.cluster.telling import PREFIX, told_by

if TYPE_CHECKING:
    from search.evaluator.cluster.telling import Doing

ANSWER_S = 10.0


@dataclass(frozen=True)
class Node:
    """A node of a cluster, alive or lost, and what its workers are at. `seconds`: since it joined, or until its end."""

    id: str
    host: str
    address: str
    kind: str
    num_cpus: float
    num_gpus: float
    is_alive: bool
    seconds: float
    workers: tuple[Doing, ...]


def nodes_at(address: str) -> list[Node]:
    """List the nodes of the cluster whose head is at `address`, living ones first. Raises PoolError."""
    with asked(address) as client:
        found = client.get_all_node_info(timeout=ANSWER_S)
        keys = client.internal_kv_keys(PREFIX.encode(), None, ANSWER_S)
        said = [told_by(client.internal_kv_get(key, None, ANSWER_S)) for key in keys]
    workers = [each for each in said if each is not None]
    nodes = [_node(info, workers) for info in found.values()]
    return sorted(nodes, key=lambda node: (not node.is_alive, node.kind, node.host, node.id))


def _node(info: Any, workers: list[Doing]) -> Node:
    """Read Ray's description of a node."""
    resources, is_alive, number = dict(info.resources_total), info.state == info.ALIVE, info.node_id.hex()
    end_s = time.time() if is_alive else info.end_time_ms / 1000
    return Node(
        id=number,
        host=info.node_manager_hostname,
        address=info.node_manager_address,
        kind=kind_of({"Labels": dict(info.labels), "Resources": resources}),
        num_cpus=resources.get("CPU", 0.0),
        num_gpus=resources.get("GPU", 0.0),
        is_alive=is_alive,
        seconds=max(0.0, end_s - info.start_time_ms / 1000),
        workers=tuple(each for each in workers if each.node == number),
    )
