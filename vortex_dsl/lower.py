"""Graph -> expressions: composite operations become sums, maxima and elementwise ones, layout becomes indices.

Every value is asked for *at* indices, one per axis, so `split`, `take` and `rename` move nothing: they ask their
operand for other indices, down to the loads. How an operation is lowered stands in its entry of the operation table.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from vortex_dsl.codes import read_back
from vortex_dsl.expression import PAGE_LOOP, Expr, Loop, Pool, Source
from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.op import Elementwise
from vortex_dsl.values import PAGE, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vortex_dsl.graph import Graph
    from vortex_dsl.node import Node

Indices = dict[str, Expr]
Key = tuple["Node", tuple[Expr, ...]]


class _Missing(Exception):  # noqa: N818  (a request, not an error)
    """A rule asked for a node at indices where it has not been lowered yet."""


class Lowering:
    """Lowers the nodes of one graph into one pool."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.pool = Pool()
        self._done: dict[Key, Expr] = {}
        self._offsets: dict[Node, Loop] = {}

    def whole(self, node: Node) -> Expr:
        """Lower a node at all of its indices, pages included."""
        indices = {axis.name: self.pool.loop(Loop(axis.name, axis.length)) for axis in node.type.axes}
        return self.run(lambda: self.at(node, indices))

    def run(self, rule: Callable[[], Expr]) -> Expr:
        """Run a rule; where it asks for what is not lowered yet, lower that first and start the rule again."""
        while True:
            try:
                return rule()
            except _Missing as missing:
                self._lower(missing.args[0])

    def _lower(self, key: Key) -> None:
        wanted = [key]  # a stack of our own: programs are deeper than Python's
        while wanted:
            try:
                self._done[wanted[-1]] = self._rule(*wanted[-1])
                wanted.pop()
            except _Missing as missing:
                wanted.append(missing.args[0])

    def _rule(self, node: Node, at: tuple[Expr, ...]) -> Expr:
        indices = dict(zip(node.type.names, at, strict=True))
        if node.op in _LEAVES:
            return _LEAVES[node.op](self, node, indices)
        rule = ENTRIES[node.op].triton
        if isinstance(rule, Elementwise):
            numbers = (rule.number(node),) if rule.number else ()
            return self.pool.make(
                node.op,
                self._operands(rule, node, indices),
                numbers,
                kind="bool" if node.type.kind is Kind.BOOL else "float",
            )
        assert rule is not None, f"'{node.op}' says what it does in Triton"
        return rule(self, node, indices)

    def _operands(self, rule: Elementwise, node: Node, indices: Indices) -> list[Expr]:
        conditions = [self.at(arg, indices) for arg in node.args[: rule.conditions]]
        return conditions + [self.number(arg, indices) for arg in node.args[rule.conditions :]]

    # What the rules in the operation table ask for

    def at(self, node: Node, indices: Mapping[str, Expr]) -> Expr:
        """Give a node at one index per axis; indices of other axes are left aside."""
        key = (node, tuple(indices[name] for name in node.type.names))
        if key not in self._done:
            raise _Missing(key)
        return self._done[key]

    def number(self, node: Node, indices: Mapping[str, Expr]) -> Expr:
        """Give a node at one index per axis, a boolean as 0 or 1."""
        return self.pool.numeric(self.at(node, indices))

    def fresh(self, name: str, length: int | None, indices: Mapping[str, Expr]) -> Loop:
        """Make a loop that none of the indices runs along; there is only one over pages."""
        if name == PAGE:
            return PAGE_LOOP
        used = {loop for index in indices.values() for loop in index.loops}
        serial = 0
        while Loop(name, length, serial) in used:
            serial += 1
        return Loop(name, length, serial)

    def offset(self, node: Node, length: int) -> Loop:
        """Make the loop over the neighbours of a page that a node reads: it is no other node's."""
        return self._offsets.setdefault(node, Loop("neighbour of page", length, len(self._offsets)))

    def inside(self, node: Node, axes: tuple[str, ...], indices: Mapping[str, Expr]) -> tuple[Expr, list[Loop]]:
        """Give a node's number at every index of some axes, and the loops to reduce, that of pages last."""
        lengths = {axis.name: axis.length for axis in node.type.axes}
        names = sorted(axes, key=lambda name: name == PAGE)
        loops = [self.fresh(name, lengths[name], indices) for name in names]
        inner = {name: self.pool.loop(loop) for name, loop in zip(names, loops, strict=True)}
        return self.number(node, {**indices, **inner}), loops

    def reduce(self, how: str, x: Expr, loops: list[Loop]) -> Expr:
        """Reduce by sum, max or min along loops."""
        for loop in loops:
            assert loop in x.loops, "what is reduced varies along the loop"
            x = self.pool.make("reduce", (x,), (how, loop))
        return x

    def average(self, x: Expr, loops: list[Loop]) -> Expr:
        """Reduce to the mean along loops."""
        count = self.pool.number(float(prod(loop.length for loop in loops if loop.length is not None)))
        if PAGE_LOOP in loops:
            count = self.pool.make("mul", (self.pool.make("input", (), ("complete",)), count))
        return self.pool.make("div", (self.reduce("sum", x, loops), count))

    def load(self, source: Source, indices: list[Expr]) -> Expr:
        """Read memory: where there are pages their index comes first, and none is read that is not complete."""
        paged = len(indices) > len(source.lengths)
        if paged:
            page, *own = indices
            mixed = source.kind in ("buffer", "state")  # by row and page; all else lies in blocks
            place = page if mixed else self.pool.make("block", (page, self.exists(page)), kind="int")
            indices = [place, self.exists(page), *own]
        kind = "int" if source.kind in ("lookup", "codes") else "float"
        return self.pool.make("load", indices, (source,), kind=kind)  # type: ignore[arg-type]

    def exists(self, page: Expr) -> Expr:
        """Make whether a page index is that of a complete page."""
        return self.pool.boolean("exists", page)

    def choose(self, condition: Expr, a: Expr, b: Expr) -> Expr:
        """Give a where the condition holds, else b."""
        return self.pool.make("where", (condition, a, b))

    def table(self, numbers: tuple[float, ...], lengths: tuple[int, ...], indices: list[Expr]) -> Expr:
        """Read a constant with axes."""
        return self.load(Source("table", numbers, lengths), indices)

    # Leaves

    def _constant(self, node: Node, indices: Indices) -> Expr:
        values = node.attr("values")
        if not node.type.axes:
            return self.pool.number(values[0])
        return self.table(tuple(values), tuple(axis.length or 0 for axis in node.type.axes), list(indices.values()))

    def _input(self, node: Node, indices: Indices) -> Expr:
        name = node.attr("name")
        if name == "page.index":
            return self.pool.numeric(indices[PAGE])
        if name == "page.reserved":
            return self.pool.boolean("is_reserved", indices[PAGE])
        if not node.type.axes:
            return self.pool.make("input", (), (name,))
        return self.load(Source(name, 0, _lengths(node)), list(indices.values()))

    def _state(self, node: Node, indices: Indices) -> Expr:
        return self.load(Source("state", node.attr("index"), _lengths(node)), list(indices.values()))

    def _field(self, node: Node, indices: Indices) -> Expr:
        return read_back(self, self.graph.field(node), indices)


def _lengths(node: Node) -> tuple[int, ...]:
    return tuple(axis.length for axis in node.type.axes if axis.length is not None)


_LEAVES = {
    "constant": Lowering._constant,  # noqa: SLF001
    "input": Lowering._input,  # noqa: SLF001
    "state": Lowering._state,  # noqa: SLF001
    "field": Lowering._field,  # noqa: SLF001
}
