"""Passes that give made axes and states names and an order that do not depend on those in the text."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.op import Take
from vortex_dsl.rewrite import rebuilt, rewritten
from vortex_dsl.values import DIM, HEAD, PAGE, TOKEN, Axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.graph import Graph
    from vortex_dsl.interner import Attrs, Interner

_PLATFORM_AXES = (TOKEN, DIM, HEAD, PAGE)


def name_axes(graph: Graph) -> Graph:
    """Give the axes that the program made names that do not depend on those in the text."""
    names: dict[str, str] = {name: name for name in _PLATFORM_AXES}
    for node in _blind_order(graph):
        for name in _made_names(node):
            names.setdefault(name, f"axis{len(names) - len(_PLATFORM_AXES)}")

    if len(names) == len(_PLATFORM_AXES):
        return graph

    def visit(interner: Interner, node: Node, args: tuple[Node, ...]) -> Node:
        return rebuilt(interner, node, args, _renamed(node, names))

    return rewritten(graph, visit)


def _made_names(node: Node) -> tuple[str, ...]:
    """Give the axis names that an operation brings into being."""
    return tuple(name for name in node.type.names if all(name not in arg.type.names for arg in node.args))


def _blind_order(graph: Graph) -> tuple[Node, ...]:
    """Give all nodes, operands first, in an order that depends neither on names of made axes nor on states'."""
    blind: dict[Node, str] = {}
    nodes = reachable(graph.roots)
    names = dict.fromkeys({name for node in nodes for name in node.type.names}, "?")
    names |= {name: name for name in _PLATFORM_AXES}
    for node in nodes:
        below = [blind[arg] for arg in _ordered_args(node, blind)]
        attrs = node.attrs[:-1] if node.op == "state" else _renamed(node, names)
        blind[node] = hashlib.sha256(f"{node.op}{attrs}{below}".encode()).hexdigest()
    order: dict[Node, None] = {}
    written = sorted((value for _, value in graph.updates), key=lambda value: blind[value], reverse=True)
    stack = [(root, False) for root in (*written, graph.selection)]
    while stack:
        node, done = stack.pop()
        if done:
            order[node] = None
        elif node not in order:
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(_ordered_args(node, blind)))
    return tuple(order)


def _ordered_args(node: Node, key: Mapping[Node, str]) -> tuple[Node, ...]:
    commutes = node.op not in LEAVES and ENTRIES[node.op].commutative
    return tuple(sorted(node.args, key=lambda arg: key[arg])) if commutes else node.args


def _renamed(node: Node, names: Mapping[str, str]) -> Attrs:
    """Give a node's attributes with its axes renamed."""
    if node.op in LEAVES:
        return node.attrs
    takes = {param.name: param.take for param in ENTRIES[node.op].params}
    return tuple((key, _renamed_value(takes[key], value, names)) for key, value in node.attrs)


def _renamed_value(take: Take, value: Any, names: Mapping[str, str]) -> Any:
    if take is Take.AXIS:
        return names[value]
    if take is Take.AXES:
        return tuple(sorted((names[name] for name in value), key=lambda name: Axis(name, None).rank))
    if take is Take.LENGTHS:
        return names[value[0]], value[1]
    if take is Take.NAMES:
        return tuple(sorted((names[old], names[new]) for old, new in value))
    return value


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
        below = [digests[arg] for arg in _ordered_args(node, digests)]
        text = labels[node] if node.op == "state" else f"{node.op}{node.attrs!r}{below}"
        digests[node] = hashlib.sha256(text.encode()).hexdigest()
    return digests
