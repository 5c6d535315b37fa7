"""The pass that gives made axes names which do not depend on those in the text.

An axis is what one name means from where it is made to where it is reduced away; the text may give one name to
several axes, or several names to what could be one. Axes are told apart by what is done along them, not by name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vortex_dsl.graph.rewrite import rebuilt, rewritten
from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.op import Take
from vortex_dsl.values import DIM, HEAD, PAGE, TOKEN, Axis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.graph.interner import Attrs, Interner

    Place = tuple[Node, str]  # an axis of a value, by the name that it has there

PLATFORM_AXES = (TOKEN, DIM, HEAD, PAGE)
MAX_ROUNDS = 8  # of telling axes apart: far more than programs need, and bounded work for all


def name_axes(graph: Graph) -> Graph:
    """Give the axes that the program made names that do not depend on those in the text."""
    nodes = reachable(graph.roots)
    if all(name in PLATFORM_AXES for node in nodes for name in node.type.names):
        return graph
    axes = _Axes(nodes)
    names = _names(graph, axes)

    def visit(interner: Interner, node: Node, args: tuple[Node, ...]) -> Node:
        return rebuilt(interner, node, args, axes.renamed(node, names))

    return rewritten(graph, visit)


@dataclass(frozen=True)
class _Mention:
    """An axis that an operation names: as which parameter, whether it makes it, and which one it renames so."""

    parameter: str
    place: Place
    is_new: bool = False
    old: Place | None = None


class _Axes:
    """Which places are one axis: operands that have a name in common are aligned along it, and their result too."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes
        self._parent: dict[Place, Place] = {}
        for node in nodes:
            made = {mention.place[1] for mention in mentions(node) if mention.is_new}
            for name in dict.fromkeys(name for each in (node, *node.args) for name in each.type.names):
                own = [(node, name)] if name in node.type.names and name not in made else []
                places = [*((arg, name) for arg in node.args if name in arg.type.names), *own]
                for place in places[1:]:
                    self._parent[self.of(place)] = self.of(places[0])

    def of(self, place: Place) -> Place:
        """Give the place that stands for an axis."""
        while place in self._parent and self._parent[place] != place:
            place = self._parent[place]
        return place

    def together(self) -> Iterable[set[Place]]:
        """Give the axes, other than the platform's, that each operation has to tell apart."""
        for node in self.nodes:
            places = {(each, name) for each in (node, *node.args) for name in each.type.names}
            yield {self.of(place) for place in places if place[1] not in PLATFORM_AXES}

    def renamed(self, node: Node, names: Mapping[Place, str]) -> Attrs:
        """Give a node's attributes with its axes renamed."""
        if node.op in LEAVES:
            return node.attrs

        def old(name: str) -> str:
            return names.get(self.of(_where(node, name)), name)

        def new(name: str) -> str:
            return names.get(self.of((node, name)), name)

        return tuple((key, _renamed_value(_takes(node)[key], value, old, new)) for key, value in node.attrs)


def mentions(node: Node) -> list[_Mention]:
    """Give the axes that an operation names, in the order of its parameters."""
    if node.op in LEAVES:
        return []
    found: list[_Mention] = []
    for key, take in _takes(node).items():
        value: Any = dict(node.attrs).get(key)
        if take is Take.AXIS:
            found.append(_Mention(key, _where(node, value)))
        elif take is Take.NEW_AXIS:
            found.append(_Mention(key, (node, value), is_new=True))
        elif take is Take.AXES:
            found += [_Mention(key, _where(node, name)) for name in value]
        elif take is Take.LENGTHS:
            found.append(_Mention(key, (node, value[0]), is_new=True))
        elif take is Take.NAMES:
            pairs = [(_where(node, old), (node, new)) for old, new in value]
            found += [_Mention(key, old) for old, _ in pairs]
            found += [_Mention(key, new, is_new=True, old=old) for old, new in pairs]
    return found


def _takes(node: Node) -> dict[str, Take]:
    return {param.name: param.take for param in ENTRIES[node.op].params}


def _where(node: Node, name: str) -> Place:
    """Say where an axis that an operation is given comes from: an operand, or itself."""
    return next(((arg, name) for arg in node.args if name in arg.type.names), (node, name))


def _renamed_value(take: Take, value: Any, old: Callable[[str], str], new: Callable[[str], str]) -> Any:
    if take is Take.AXIS:
        return old(value)
    if take is Take.NEW_AXIS:
        return new(value)
    if take is Take.AXES:
        return tuple(sorted(map(old, value), key=lambda name: Axis(name, None).rank))
    if take is Take.LENGTHS:
        return new(value[0]), value[1]
    if take is Take.NAMES:
        return tuple(sorted((old(before), new(after)) for before, after in value))
    return value


def _names(graph: Graph, axes: _Axes) -> dict[Place, str]:
    """Name each axis by the first number that no axis beside it has."""
    beside: dict[Place, set[Place]] = {}
    for together in axes.together():
        for axis in together:
            beside.setdefault(axis, set()).update(together - {axis})
    number: dict[Place, int] = {}
    for axis in _in_order(graph, axes, [*beside]):
        taken = {number.get(other) for other in beside[axis]}
        number[axis] = next(i for i in range(len(beside)) if i not in taken)
    return {axis: f"axis{i}" for axis, i in number.items()}


def _in_order(graph: Graph, axes: _Axes, made: list[Place]) -> list[Place]:
    """Give made axes in the order in which the operations make them, which depends on no name."""
    colors, digests = _told_apart(axes, made)
    written = sorted((value for _, value in graph.updates), key=lambda value: digests[value])
    found: dict[Place, None] = {}
    for node in _in_depth((graph.selection, *written), digests):
        new = [axes.of(mention.place) for mention in mentions(node) if mention.is_new]
        found.update(dict.fromkeys(sorted(new, key=lambda axis: colors.get(axis, "")) if node.op == "rename" else new))
    return [axis for axis in found if axis in colors]


def _told_apart(axes: _Axes, made: list[Place]) -> tuple[dict[Place, str], dict[Node, str]]:
    """Refine what is known of each axis by the operations that name it, while more are told apart.

    Gives what is then known of each axis, and of each node.
    """
    colors = dict.fromkeys(made, "?")
    digests = _digests(axes, colors)
    for _ in made[1 : MAX_ROUNDS + 1]:
        known: dict[Place, list[str]] = {axis: [color] for axis, color in colors.items()}
        for node in axes.nodes:
            for mention in mentions(node):
                old = mention.old and colors.get(axes.of(mention.old), mention.old[1])
                known.get(axes.of(mention.place), []).append(f"{mention.parameter} {old} {digests[node]}")
        before = len({*colors.values()})
        colors = {axis: _hash(repr([marks[0], *sorted(marks[1:])])) for axis, marks in known.items()}
        digests = _digests(axes, colors)
        if len({*colors.values()}) == before:
            break
    return colors, digests


def _digests(axes: _Axes, colors: Mapping[Place, str]) -> dict[Node, str]:
    digests: dict[Node, str] = {}
    for node in axes.nodes:
        below = [digests[arg] for arg in ordered_args(node, digests)]
        attrs = node.attrs[:-1] if node.op == "state" else axes.renamed(node, colors)
        digests[node] = _hash(f"{node.op}{attrs}{below}")
    return digests


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _in_depth(roots: tuple[Node, ...], digests: Mapping[Node, str]) -> tuple[Node, ...]:
    """Give all nodes, operands first, those of commutative operations by digest."""
    order: dict[Node, None] = {}
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            order[node] = None
        elif node not in order:
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(ordered_args(node, digests)))
    return tuple(order)


def ordered_args(node: Node, key: Mapping[Node, str]) -> tuple[Node, ...]:
    """Give a node's operands, those of a commutative operation by key."""
    commutes = node.op not in LEAVES and ENTRIES[node.op].commutative
    return tuple(sorted(node.args, key=lambda arg: key[arg])) if commutes else node.args
