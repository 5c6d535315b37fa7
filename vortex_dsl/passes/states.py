"""The pass that gives states an order that does not depend on their names in the text."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from vortex_dsl.graph.rewrite import rebuilt, rewritten
from vortex_dsl.node import Node, reachable
from vortex_dsl.passes.axes import ordered_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.graph.interner import Interner


def merge_states(graph: Graph) -> Graph:
    """Give states an order of their own, and let those that always hold the same be one.

    Partition refinement: states are first told apart by axes and initial value alone, then by how they are
    updated in terms of the classes found so far, until no class splits any more.
    """
    if not graph.updates:
        return graph
    labels = {leaf: hashlib.sha256(repr(leaf.attrs[:-1]).encode()).hexdigest() for leaf, _ in graph.updates}
    for _ in graph.updates:
        digests = _digests_by_class(graph, labels)
        labels = {leaf: digests[value] + labels[leaf] for leaf, value in graph.updates}
        labels = {leaf: hashlib.sha256(label.encode()).hexdigest() for leaf, label in labels.items()}
    place = {label: i for i, label in enumerate(sorted(set(labels.values())))}

    def visit(interner: Interner, node: Node, args: tuple[Node, ...]) -> Node:
        if node.op == "state":
            return interner.state(node.type, node.attr("init"), place[labels[node]])
        return rebuilt(interner, node, args, node.attrs)

    return rewritten(graph, visit)


def _digests_by_class(graph: Graph, labels: Mapping[Node, str]) -> dict[Node, str]:
    """Digest every node with a state's class in the place of the state."""
    digests: dict[Node, str] = {}
    for node in reachable(graph.roots):
        below = [digests[arg] for arg in ordered_args(node, digests)]
        text = labels[node] if node.op == "state" else f"{node.op}{node.attrs!r}{below}"
        digests[node] = hashlib.sha256(text.encode()).hexdigest()
    return digests
