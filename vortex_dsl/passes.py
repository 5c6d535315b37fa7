"""Passes to canonical form, read top to bottom. Each gives a graph that chooses the same pages.

Equal operations are merged, known numbers folded, commutative operands ordered and dead code dropped wherever
nodes are made (see interner.py), so each pass starts and ends with that done.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vortex_dsl.contractions import contracted
from vortex_dsl.interner import Attrs, Interner, rebuilt
from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.op import Take
from vortex_dsl.values import DIM, HEAD, PAGE, TOKEN, Axis
from vortex_dsl.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vortex_dsl.graph import Graph

_SCORES = {"topk": 0, "refine": 1}  # selections that only see the order of their score, and which operand it is
_INCREASING = ("exp", "sigmoid", "tanh")
_POSITIVE_INPUTS = ("scale", "page.count", "layer.count")
_PLATFORM_AXES = (TOKEN, DIM, HEAD, PAGE)


def canonical(graph: Graph) -> Graph:
    """Run every pass, and the verifier after each."""
    verify(graph)
    for transform in (drop_dead_states, strip_increasing_maps, contract, name_axes, merge_states):
        graph = transform(graph)
        verify(graph)
    return graph


def strip_increasing_maps(graph: Graph) -> Graph:
    """Drop strictly increasing maps of a final score, judged in exact arithmetic: they keep its order."""

    def visit(interner: Interner, node: Node, args: tuple[Node, ...]) -> Node:
        place = _SCORES.get(node.op)
        if place is not None:
            score = _stripped(interner, args[place])
            args = (*args[:place], score, *args[place + 1 :])
        return rebuilt(interner, node, args, node.attrs)

    return _rewritten(graph, visit)


def _stripped(interner: Interner, score: Node) -> Node:
    inner = _under_increasing_map(score)
    while inner is not None:
        score, inner = inner, _under_increasing_map(inner)
    if score.op == "mean" and PAGE not in score.attr("axes"):
        return interner.make("sum", score.args, score.attrs)  # a mean is a sum times a positive constant
    return score


def _under_increasing_map(score: Node) -> Node | None:
    """Give s if the score is a strictly increasing map of s, with the same map for every page."""
    if score.op in _INCREASING or (score.op == "softmax" and score.attr("axis") == PAGE):
        return score.args[0]
    if score.op not in ("add", "sub", "mul", "div"):
        return None
    a, b = score.args
    swapped = score.op in ("add", "mul") and PAGE in b.type.names
    inner, other = (b, a) if swapped else (a, b)
    keeps_order = score.op in ("add", "sub") or _is_positive(other)
    return inner if keeps_order and PAGE in inner.type.names and PAGE not in other.type.names else None


def _is_positive(node: Node) -> bool:
    if node.number is not None:
        return node.number > 0
    if node.op == "input":
        return node.attr("name") in _POSITIVE_INPUTS
    return node.op in ("mul", "div") and all(map(_is_positive, node.args))


def drop_dead_states(graph: Graph) -> Graph:
    """Drop states that neither the selection nor a state that it needs ever reads."""
    update = dict(graph.updates)
    live: dict[Node, Node] = {}
    waiting = [graph.selection]
    while waiting:
        for node in reachable((waiting.pop(),), stop="field"):
            if node.op == "state" and node not in live:
                live[node] = update[node]
                waiting.append(update[node])
    return replace(graph, updates=tuple(live.items()))


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

    return _rewritten(graph, visit)


def _digests_by_class(graph: Graph, labels: Mapping[Node, str]) -> dict[Node, str]:
    """Digest every node with a state's class in the place of the state."""
    digests: dict[Node, str] = {}
    for node in reachable(graph.roots):
        below = [digests[arg] for arg in _ordered_args(node, digests)]
        text = labels[node] if node.op == "state" else f"{node.op}{node.attrs!r}{below}"
        digests[node] = hashlib.sha256(text.encode()).hexdigest()
    return digests


def contract(graph: Graph) -> Graph:
    """Turn sums of products, and of the larger of two products, into contractions."""
    return _rewritten(graph, contracted)


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

    return _rewritten(graph, visit)


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


def _rewritten(graph: Graph, visit: Callable[[Interner, Node, tuple[Node, ...]], Node]) -> Graph:
    """Make every node again, operands first, with what `visit` gives for it; what nothing needs is left out."""
    interner = Interner(max_operations=None)  # the bound is on the program, not on what passes make of it
    made: dict[Node, Node] = {}
    for node in reachable((*graph.roots, *(leaf for leaf, _ in graph.updates))):
        made[node] = visit(interner, node, tuple(made[arg] for arg in node.args))
    updates = {made[leaf]: made[value] for leaf, value in graph.updates}
    return replace(graph, selection=made[graph.selection], updates=tuple(updates.items()))
