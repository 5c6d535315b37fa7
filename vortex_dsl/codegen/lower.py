"""Graph -> expressions: nodes lowered as their entries of the operation table say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.expression import Expr, Loop, Source
from vortex_dsl.ops.lowering import Indices, Key, Lowering, Missing
from vortex_dsl.ops.op import Elementwise
from vortex_dsl.storage import CODED, elements_per_byte, scale_bytes, vector_bytes
from vortex_dsl.values import DIM, PAGE, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vortex_dsl.graph.graph import Field, Graph
    from vortex_dsl.node import Node


class GraphLowering(Lowering):
    """Lowers the nodes of one graph, each as its entry of the operation table says."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def whole(self, node: Node) -> Expr:
        """Lower a node at all of its indices, pages included."""
        indices = {axis.name: self.pool.loop(Loop(axis.name, axis.length)) for axis in node.type.axes}
        return self.run(lambda: self.at(node, indices))

    def run(self, rule: Callable[[], Expr]) -> Expr:
        """Run a rule; where it asks for what is not lowered yet, lower that first and start the rule again."""
        while True:
            try:
                return rule()
            except Missing as missing:
                self._lower(missing.args[0])

    def _lower(self, key: Key) -> None:
        wanted = [key]  # a stack of our own: programs are deeper than Python's
        while wanted:
            try:
                self.done[wanted[-1]] = self._rule(*wanted[-1])
                wanted.pop()
            except Missing as missing:
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
        if rule is None:
            raise LookupError(f"'{node.op}' of the operation table does not say what it is in Triton")
        return rule(self, node, indices)

    def _operands(self, rule: Elementwise, node: Node, indices: Indices) -> list[Expr]:
        conditions = [self.at(arg, indices) for arg in node.args[: rule.conditions]]
        return conditions + [self.number(arg, indices) for arg in node.args[rule.conditions :]]

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


def read_back(lower: Lowering, field: Field, indices: Mapping[str, Expr]) -> Expr:
    """Read one element of a field back from its bytes. Indices: the page's, then those of the field's axes."""
    lengths = tuple(axis.length for axis in field.type.axes if axis.length is not None)
    at = list(indices.values())
    if field.storage not in CODED:
        return lower.load(Source("field", field.index, lengths, field.storage), at)
    along_dim = DIM in field.type.names
    vector, element = (at[:-1], at[-1]) if along_dim else (at, lower.pool.integer(0))
    vectors, length = (lengths[:-1], lengths[-1]) if along_dim else (lengths, 1)
    code = _code(lower, field, (*vectors, length), (*vector, element))
    if not scale_bytes(field.storage):
        return code
    return lower.pool.make("mul", (code, lower.load(Source("scales", field.index, vectors), vector)))


def _code(lower: Lowering, field: Field, lengths: tuple[int, ...], at: tuple[Expr, ...]) -> Expr:
    """Read the code of one element: of a byte by itself, or of a half or a bit of one."""
    pool, num_bytes = lower.pool, vector_bytes(field.storage, lengths[-1])
    source = Source("codes", field.index, (*lengths[:-1], num_bytes))
    if field.storage == "int8":
        return pool.numeric(lower.load(source, list(at)))
    if field.storage == "fp8_e4m3":
        return pool.make("fp8", (lower.load(source, list(at)),))
    per_byte = pool.integer(elements_per_byte(field.storage))
    which, place = (pool.make(op, (at[-1], per_byte), kind="int") for op in ("index_div", "index_mod"))
    byte = lower.load(source, [*at[:-1], which])
    return pool.make("nibble" if field.storage == "int4" else "bit", (byte, place))


def _lengths(node: Node) -> tuple[int, ...]:
    return tuple(axis.length for axis in node.type.axes if axis.length is not None)


_LEAVES = {
    "constant": GraphLowering._constant,  # noqa: SLF001
    "input": GraphLowering._input,  # noqa: SLF001
    "state": GraphLowering._state,  # noqa: SLF001
    "field": GraphLowering._field,  # noqa: SLF001
}
