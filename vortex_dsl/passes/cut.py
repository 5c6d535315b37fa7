"""The cheapest set of values from which others can be computed: a smallest cut of vertices (Ford and Fulkerson)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from vortex_dsl.node import LEAVES, Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Vertex = tuple[Node | None, bool]  # a node's upper side (False) or its lower one (True); (None, …) are the ends

_SOURCE: Vertex = (None, False)
_SINK: Vertex = (None, True)


def smallest_cut(price: Mapping[Node, float], wanted: Iterable[Node]) -> set[Node]:
    """Choose nodes to read so that all of `wanted` can be computed from them, at the least price in all.

    `price` has every node that may be read or computed on the way, infinite for those that may only be computed;
    an operand without a price costs nothing. Of cuts of one price, the one nearest to `wanted` is given.
    """
    network = _Network(price, wanted)
    while network.augment():
        pass
    return {node for node in price if (node, False) in network.reached and (node, True) not in network.reached}


class _Network:
    """Flow runs from `wanted` down to the leaves; an edge through a node carries its price."""

    def __init__(self, price: Mapping[Node, float], wanted: Iterable[Node]) -> None:
        self.reached: dict[Vertex, Vertex] = {}
        self._room: dict[Vertex, dict[Vertex, float]] = {}
        for node in wanted:
            self._edge(_SOURCE, (node, False), float("inf"))
        for node, most in price.items():
            self._edge((node, False), (node, True), most)
            below = [] if node.op in LEAVES else [arg for arg in node.args if arg in price]
            for arg in below:
                self._edge((node, True), (arg, False), float("inf"))
            if node.op in LEAVES:
                self._edge((node, True), _SINK, float("inf"))

    def _edge(self, start: Vertex, end: Vertex, room: float) -> None:
        self._room.setdefault(start, {})[end] = room
        self._room.setdefault(end, {}).setdefault(start, 0.0)

    def augment(self) -> bool:
        """Send flow along a shortest path that has room; False when there is none."""
        self.reached = {_SOURCE: _SOURCE}
        waiting = deque([_SOURCE])
        while waiting and _SINK not in self.reached:
            vertex = waiting.popleft()
            for other, room in self._room.get(vertex, {}).items():
                if room > 0 and other not in self.reached:
                    self.reached[other] = vertex
                    waiting.append(other)
        if _SINK not in self.reached:
            return False
        path = [_SINK]
        while path[-1] != _SOURCE:
            path.append(self.reached[path[-1]])
        steps = list(zip(path[1:], path, strict=False))
        flow = min(self._room[start][end] for start, end in steps)
        for start, end in steps:
            self._room[start][end] -= flow
            self._room[end][start] += flow
        return True
