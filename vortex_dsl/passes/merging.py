"""The passes that every compiler has: dead code, common subexpressions, known numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vortex_dsl.graph.interner import in_order
from vortex_dsl.graph.rewrite import rebuilt, rewritten
from vortex_dsl.node import LEAVES, reachable

if TYPE_CHECKING:
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.graph.interner import Interner
    from vortex_dsl.node import Node


def drop_dead_code(graph: Graph) -> Graph:
    """Leave out operations, fields and states that neither the selection nor a state that it needs reads."""
    update = dict(graph.updates)
    live: dict[Node, Node] = {}
    waiting = [graph.selection]
    while waiting:
        for node in reachable((waiting.pop(),), stop="field"):
            if node.op == "state" and node not in live:
                live[node] = update[node]
                waiting.append(update[node])
    if not graph.dead and len(live) == len(graph.updates):
        return graph
    return replace(graph, updates=tuple(live.items()), dead=())


def merge_equal_operations(graph: Graph) -> Graph:
    """Put the operands of commutative operations and comparisons in one order, and let what is equal then be one."""

    def visit(interner: Interner, node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op in LEAVES:
            return None
        op, ordered = in_order(node.op, args)
        return interner.record(op, ordered, node.attrs)

    return rewritten(graph, visit)


def fold_known_numbers(graph: Graph) -> Graph:
    """Compute operations on known numbers, and drop those that change nothing: x * 1, x - 0, max(x, x), -(-x)."""
    return rewritten(graph, lambda interner, node, args: rebuilt(interner, node, args, node.attrs))
