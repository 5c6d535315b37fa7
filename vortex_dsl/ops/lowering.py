"""What the entries of the operation table ask of lowering: their operands at indices, loops, reductions, loads.

Every value is asked for *at* indices, one per axis, so `split`, `take` and `rename` move nothing: they ask their
operand for other indices, down to the loads. `codegen/lower.py` walks a graph by these entries.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from vortex_dsl.errors import CompilerError
from vortex_dsl.ops.expression import PAGE_LOOP, Expr, Loop, Pool, Source
from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.node import Node

Indices = dict[str, Expr]
Key = tuple["Node", tuple[Expr, ...]]


class Missing(Exception):  # noqa: N818  (a request, not an error)
    """A rule asked for a node at indices where it has not been lowered yet."""


class Lowering:
    """Expressions of one graph's nodes, in one pool: `done` are those that have been lowered, by node and indices."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.done: dict[Key, Expr] = {}
        self._offsets: dict[Node, Loop] = {}

    def at(self, node: Node, indices: Mapping[str, Expr]) -> Expr:
        """Give a node at one index per axis; indices of other axes are left aside."""
        key = (node, tuple(indices[name] for name in node.type.names))
        if key not in self.done:
            raise Missing(key)
        return self.done[key]

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
            if loop not in x.loops:
                message = f"{x} is reduced along {loop}, along which it does not vary"
                raise CompilerError(message)
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
