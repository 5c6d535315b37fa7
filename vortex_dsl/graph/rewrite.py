"""How a pass makes a graph from a graph: node by node, operands first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vortex_dsl.graph.interner import Interner
from vortex_dsl.node import LEAVES, Node, reachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.graph.interner import Attrs

    Visit = Callable[[Interner, Node, tuple[Node, ...]], Node | None]


def rewritten(graph: Graph, visit: Visit) -> Graph:
    """Make every node again: what `visit` gives for it and its new operands, or else the same operation on those.

    Gives the graph itself where nothing changes. What nothing needs any more is left out.
    """
    interner = Interner(max_operations=None)  # the bound is on the program, not on what passes make of it
    made: dict[Node, Node] = {}
    for node in reachable((*graph.roots, *(leaf for leaf, _ in graph.updates))):
        args = tuple(made[arg] for arg in node.args)
        if all(new is old for new, old in zip(args, node.args, strict=True)):
            interner.keep(node)  # an equal one is then this one
        made[node] = visit(interner, node, args) or rebuilt(interner, node, args, node.attrs)
    if all(new is old for old, new in made.items()):
        return graph
    updates = {made[leaf]: made[value] for leaf, value in graph.updates}
    return replace(graph, selection=made[graph.selection], updates=tuple(updates.items()))


def rebuilt(interner: Interner, node: Node, args: tuple[Node, ...], attrs: Attrs) -> Node:
    """Make a node again from new operands and attributes, leaves included."""
    if node.op == "field":
        return interner.field(args[0])
    if node.op in LEAVES:
        return interner.leaf(node.op, node.type, args, attrs)
    return interner.make(node.op, args, attrs)
