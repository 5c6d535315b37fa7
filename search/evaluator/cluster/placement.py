"""Where workers go on a cluster: how many, on which kinds of node, and what there is where a wish is not to be had."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.evaluator.cluster.errors import PoolError
from search.evaluator.cluster.joining import LOCAL
from search.kinds.wished import ANY_GPU, CPU, WHEREVER, is_gpu

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from search.evaluator.cluster.asking import Node

KIND_LABEL = "ray.io/accelerator-type"  # Ray's own, set by it on nodes whose GPU it knows
NODE_LABEL = "ray.io/node-id"
UNKNOWN_GPU = "GPU"
RESOURCES = {"num_cpus": "CPU", "num_gpus": "GPU"}  # of a node, by what workers ask for
PATIENCE_S = 600.0


@dataclass(frozen=True)
class Placement:
    """Where workers go: `num_workers`, on the Ray cluster at `address` ("local" starts one on this machine).

    `kind`: of the machines, as people wish for them (`search.kinds.wished`); on that of a GPU each worker has one.
    `patience_s`: how long nobody may be left to work before that is the end.
    """

    num_workers: int
    address: str = LOCAL
    kind: str = WHEREVER
    patience_s: float = PATIENCE_S

    def options(self, nodes: Sequence[Node] = (), refused: Collection[str] = ()) -> dict[str, Any]:
        """Give the actor options that ask for this placement, on none of the `refused` nodes.

        On a cluster that somebody made, workers without a GPU leave nodes with GPUs alone where there are others.
        """
        barred = {*refused, *self._left_alone(nodes)}
        selector = {NODE_LABEL: f"!in({','.join(sorted(barred))})"} if barred else {}
        if self._is_named_gpu:
            selector[KIND_LABEL] = self.kind
        return dict.fromkeys(self._takes, 1) | ({"label_selector": selector} if selector else {})

    def check(self, nodes: Sequence[Node]) -> None:
        """Raise PoolError where these nodes cannot hold all workers. Ray itself would wait for ever, in silence."""
        alive = [node for node in nodes if node["Alive"]]
        left_alone = self._left_alone(nodes)
        fitting = [node for node in alive if node.get("NodeID") not in left_alone]
        if self._is_named_gpu:
            fitting = [node for node in alive if kind_of(node) == self.kind]
        resources = [RESOURCES[each] for each in self._takes]
        found = sum(min(int(node["Resources"].get(name, 0)) for name in resources) for node in fitting)
        if found < self.num_workers:
            raise PoolError(
                f"{self.num_workers} workers need as many {self._wanted}, but Ray at {self.address} has {found} "
                f"(its nodes: {there_is(alive)}); ask for fewer workers or for another kind"
            )

    @property
    def _takes(self) -> tuple[str, ...]:
        """Give of what a worker takes one, as Ray calls it."""
        return ("num_cpus", "num_gpus") if is_gpu(self.kind) else ("num_cpus",)

    @property
    def _is_named_gpu(self) -> bool:
        return is_gpu(self.kind) and self.kind != ANY_GPU

    @property
    def _wanted(self) -> str:
        if is_gpu(self.kind):
            return f"GPUs{f' of kind {self.kind}' if self._is_named_gpu else ''}, each with a CPU core"
        return f"CPU cores{' of nodes without a GPU' if self.kind == CPU else ''}"

    def _left_alone(self, nodes: Sequence[Node]) -> set[str]:
        """Give the ids of nodes with GPUs, where workers without one are to keep off them or have others to go to."""
        if is_gpu(self.kind) or (self.address == LOCAL and self.kind != CPU):
            return set()
        alive = [node for node in nodes if node["Alive"]]
        with_gpus = {node["NodeID"] for node in alive if kind_of(node) != CPU}
        return with_gpus if self.kind == CPU or any(kind_of(node) == CPU for node in alive) else set()


def kind_of(node: Node) -> str:
    """Name what a node computes on: its GPU as Ray calls it, or CPU."""
    label = node.get("Labels", {}).get(KIND_LABEL)
    return label or (UNKNOWN_GPU if node["Resources"].get("GPU") else CPU)


def there_is(alive: Sequence[Node]) -> str:
    """Say which nodes there are: how many of each kind, with how many CPUs and GPUs together."""
    nodes, totals = Counter(map(kind_of, alive)), Counter[tuple[str, str]]()
    for node in alive:
        for resource in ("GPU", "CPU"):
            totals[kind_of(node), resource] += int(node["Resources"].get(resource, 0))
    told = []
    for kind, number in sorted(nodes.items()):
        has = [f"{totals[kind, name]} {name}s" for name in ("GPU", "CPU") if totals[kind, name]]
        told.append(f"{number} of kind {kind} with {' and '.join(has) or 'nothing to give'}")
    return ", ".join(told) or "none"
