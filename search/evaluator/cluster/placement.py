"""Where workers go on a cluster: how many, on which kinds of node, and what there is where a wish is not to be had."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.evaluator.cluster.errors import PoolError
from search.evaluator.cluster.joining import LOCAL

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    Node = dict[str, Any]  # as `ray.nodes()` tells it

KIND_LABEL = "ray.io/accelerator-type"  # Ray's own, set by it on nodes whose GPU it knows
NODE_LABEL = "ray.io/node-id"
CPU, UNKNOWN_GPU = "CPU", "GPU"
PATIENCE_S = 600.0


@dataclass(frozen=True)
class Placement:
    """Where workers go: `num_workers`, on the Ray cluster at `address` ("local" starts one on this machine).

    `accelerators`: None for CPU workers, `(CPU,)` for such on nodes without a GPU alone; otherwise one GPU for each, of
    one of these kinds (empty: any kind). `patience_s`: how long nobody may be left to work before that is the end.
    """

    num_workers: int
    address: str = LOCAL
    accelerators: tuple[str, ...] | None = None
    patience_s: float = PATIENCE_S

    @property
    def on_gpus(self) -> bool:
        """Whether each worker holds a GPU."""
        return self.accelerators not in (None, (CPU,))

    @property
    def kind(self) -> str:
        """Name what workers compute on, in words."""
        return " or ".join(self.accelerators or ()) or (UNKNOWN_GPU if self.on_gpus else CPU)

    def options(self, nodes: Sequence[Node] = (), refused: Collection[str] = ()) -> dict[str, Any]:
        """Give the actor options that ask for this placement, on none of the `refused` nodes.

        On a cluster that somebody made, workers without a GPU leave nodes with GPUs alone where there are others.
        """
        barred = {*refused, *self._left_alone(nodes)}
        selector = {NODE_LABEL: f"!in({','.join(sorted(barred))})"} if barred else {}
        if self.on_gpus and self.accelerators:
            selector[KIND_LABEL] = f"in({','.join(self.accelerators)})"
        gpus = {"num_gpus": 1} if self.on_gpus else {}
        return {"num_cpus": 1} | gpus | ({"label_selector": selector} if selector else {})

    def check(self, nodes: Sequence[Node]) -> None:
        """Raise PoolError where these nodes cannot hold all workers. Ray itself would wait for ever, in silence."""
        alive = [node for node in nodes if node["Alive"]]
        left_alone = self._left_alone(nodes)
        resource, wanted = ("GPU", "GPUs") if self.on_gpus else ("CPU", "CPU cores")
        fitting = [node for node in alive if node.get("NodeID") not in left_alone]
        if self.accelerators:
            fitting = [node for node in alive if kind_of(node) in self.accelerators]
            wanted += f" of kind {self.kind}"
        found = sum(int(node["Resources"].get(resource, 0)) for node in fitting)
        if found < self.num_workers:
            raise PoolError(
                f"{self.num_workers} workers need as many {wanted}, but Ray at {self.address} has {found} "
                f"(its nodes: {there_is(alive)}); ask for fewer workers or for another kind"
            )

    def _left_alone(self, nodes: Sequence[Node]) -> set[str]:
        """Give the ids of nodes with GPUs, where workers without one are to keep off them or have others to go to."""
        is_named = self.accelerators is not None
        if self.on_gpus or (self.address == LOCAL and not is_named):
            return set()
        alive = [node for node in nodes if node["Alive"]]
        with_gpus = {node["NodeID"] for node in alive if kind_of(node) != CPU}
        return with_gpus if is_named or any(kind_of(node) == CPU for node in alive) else set()


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
