"""Graph -> expressions: composite operations become sums, maxima and elementwise ones, layout becomes indices.

Every value is asked for *at* indices, one per axis, so `split`, `take`, `rename`, `shift` and `smooth` move nothing:
they ask their operand for other indices, down to the loads. An operation over pages asks at every page anew.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from vortex_dsl.expression import PAGE_LOOP, Expr, Loop, Pool, Source
from vortex_dsl.ops.elementwise import MASK32, mix32
from vortex_dsl.ops.layout import taken
from vortex_dsl.storage import scale_bytes, vector_bytes
from vortex_dsl.values import DIM, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vortex_dsl.expression import Kind
    from vortex_dsl.graph import Field, Graph
    from vortex_dsl.node import Node

INFINITY = float("inf")
FURTHEST_PAGE = 2**30  # a sequence has fewer pages, and the sum of this and a page's index is an int32
TYPED_KINDS = ("bfloat16", "float16", "float32")  # the other kinds are read and written byte by byte
LARGEST_CODE = {"int8": 127.0, "int4": 7.0}
ELEMENTS_PER_BYTE = {"fp8_e4m3": 1, "int8": 1, "int4": 2, "sign": 8}
NUMERIC = (
    *("add", "sub", "mul", "div", "mod", "pow", "neg", "abs", "exp", "log", "sqrt", "square", "sign", "floor"),
    *("relu", "sigmoid", "silu", "tanh", "maximum", "minimum", "clip"),
)
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
LOGICAL = ("and", "or", "invert")


class CannotCompile(NotImplementedError):  # noqa: N818  (read as a sentence: the compiler cannot compile this)
    """A valid program that the Triton compiler does not handle yet: the message names the operation."""


class Lowering:
    """Lowers the nodes of one graph into one pool."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.pool = Pool()
        self._done: dict[tuple[Node, tuple[tuple[str, Expr], ...]], Expr] = {}

    def whole(self, node: Node) -> Expr:
        """Lower a node at all of its indices, pages included."""
        return self.at(node, {axis.name: self.pool.loop(Loop(axis.name, axis.length)) for axis in node.type.axes})

    def at(self, node: Node, indices: Mapping[str, Expr]) -> Expr:
        """Lower a node at one index per axis. Raises CannotCompile."""
        key = (node, tuple((name, indices[name]) for name in node.type.names))
        if key not in self._done:
            self._done[key] = self._lowered(node, dict(key[1]))
        return self._done[key]

    def _lowered(self, node: Node, indices: dict[str, Expr]) -> Expr:
        if node.op in NUMERIC:
            return self.pool.make(node.op, self._numbers(node, indices))
        if node.op in COMPARISONS:
            return self.pool.make(node.op, self._numbers(node, indices), kind="bool")
        if node.op in LOGICAL:
            return self.pool.make(node.op, [self.at(arg, indices) for arg in node.args], kind="bool")
        rule = _RULES.get(node.op)
        if rule is None:
            message = f"the Triton compiler cannot compile '{node.op}' yet; use the backend 'torch' for this program"
            raise CannotCompile(message)
        return rule(self, node, indices)

    def _numbers(self, node: Node, indices: Mapping[str, Expr]) -> list[Expr]:
        return [self._number(arg, indices) for arg in node.args]

    def _number(self, node: Node, indices: Mapping[str, Expr]) -> Expr:
        return self.pool.numeric(self.at(node, indices))

    # Leaves

    def _constant(self, node: Node, indices: dict[str, Expr]) -> Expr:
        values = node.attr("values")
        if not node.type.axes:
            return self.pool.number(values[0])
        source = Source("table", tuple(values), tuple(axis.length or 0 for axis in node.type.axes))
        return self._load(source, list(indices.values()))

    def _vector(self, node: Node, indices: dict[str, Expr]) -> Expr:
        source = Source("table", node.attr("values"), (len(node.attr("values")),))
        return self._load(source, [indices[node.attr("axis")]])

    def _matrix(self, node: Node, indices: dict[str, Expr]) -> Expr:
        rows = node.attr("values")
        source = Source("table", tuple(number for row in rows for number in row), (len(rows), len(rows[0])))
        return self._load(source, [indices[node.attr("outer")], indices[node.attr("inner")]])

    def _input(self, node: Node, indices: dict[str, Expr]) -> Expr:
        name = node.attr("name")
        if name == "page.index":
            return self.pool.numeric(indices[PAGE])
        if name == "page.reserved":
            return self.pool.make("is_reserved", (indices[PAGE],), kind="bool")
        if not node.type.axes:
            return self.pool.make("input", (), (name,))
        lengths = tuple(axis.length for axis in node.type.axes if axis.length is not None)
        return self._load(Source(name, 0, lengths), list(indices.values()))

    def _field(self, node: Node, indices: dict[str, Expr]) -> Expr:
        return self.stored(self.graph.field(node), indices)

    def stored(self, field: Field, indices: Mapping[str, Expr]) -> Expr:
        """Read one element of a field back from its bytes (see storage.py)."""
        lengths = tuple(axis.length for axis in field.type.axes if axis.length is not None)
        at = list(indices.values())
        if field.storage in TYPED_KINDS:
            return self._load(Source("field", field.index, lengths), at)
        along_dim = DIM in field.type.names
        vector, element = (at[:-1], at[-1]) if along_dim else (at, self.pool.integer(0))
        vectors, length = (lengths[:-1], lengths[-1]) if along_dim else (lengths, 1)
        code = self._code(field, (*vectors, length), (*vector, element))
        if not scale_bytes(field.storage):
            return code
        return self.pool.make("mul", (code, self._load(Source("scales", field.index, vectors), vector)))

    def _code(self, field: Field, lengths: tuple[int, ...], at: tuple[Expr, ...]) -> Expr:
        """Read the code of one element: of a byte by itself, or of a half or a bit of one."""
        num_bytes = vector_bytes(field.storage, lengths[-1])
        source = Source("codes", field.index, (*lengths[:-1], num_bytes))
        if field.storage == "int8":
            return self.pool.numeric(self._load(source, list(at)))
        if field.storage == "fp8_e4m3":
            return self.pool.make("fp8", (self._load(source, list(at)),))
        per_byte = ELEMENTS_PER_BYTE[field.storage]
        which, place = (
            self.pool.make(op, (at[-1], self.pool.integer(per_byte)), kind="int") for op in ("index_div", "index_mod")
        )
        byte = self._load(source, [*at[:-1], which])
        return self.pool.make("nibble" if field.storage == "int4" else "bit", (byte, place))

    def _reload(self, node: Node, indices: dict[str, Expr]) -> Expr:
        """Round an element as its storage kind does, without storing it (see storage.py)."""
        stored = node.args[0]
        value, kind = stored.args[0], stored.attr("storage")
        x = self.scalar(self._number(value, indices))
        if kind == "sign":
            negative = self.pool.make("lt", (x, self.pool.number(0.0)), kind="bool")
            return self._choose(negative, self.pool.number(-1.0), self.pool.number(1.0))
        if scale_bytes(kind):
            scale = self.scale(value, indices, LARGEST_CODE[kind])
            return self.pool.make("mul", (self.pool.make("code", (x, scale), (LARGEST_CODE[kind],)), scale))
        return x if kind == "float32" else self.pool.make(f"as_{kind}", (x,))

    def scale(self, node: Node, indices: Mapping[str, Expr], largest: float) -> Expr:
        """Lower the scale of the stored vector that lies at some indices, that along `dim` aside."""
        x, loops = self._inside(node, (DIM,) if DIM in node.type.names else (), dict(indices))
        size = self._all("max", self.pool.make("abs", (self.scalar(x),)), loops)
        return self.pool.make("div", (size, self.pool.number(largest)))

    def scalar(self, x: Expr) -> Expr:
        """Let a known number be a value: Python's numbers cannot be rounded in Triton."""
        known = "number" in (x.op, *(arg.op for arg in x.args if x.op == "to_float"))
        return self.pool.make("scalar", (x,)) if known else x

    def _load(self, source: Source, indices: list[Expr]) -> Expr:
        kind: Kind = "int" if source.kind in ("lookup", "codes") else "float"
        return self.pool.make("load", indices, (source,), kind=kind)

    # Elementwise operations that need more than their name

    def _where(self, node: Node, indices: dict[str, Expr]) -> Expr:
        condition, a, b = node.args
        return self._choose(self.at(condition, indices), self._number(a, indices), self._number(b, indices))

    def _hash(self, node: Node, indices: dict[str, Expr]) -> Expr:
        return self.pool.make("hash", self._numbers(node, indices), (mix32(node.attr("seed") & MASK32),))

    def _choose(self, condition: Expr, a: Expr, b: Expr) -> Expr:
        return self.pool.make("where", (condition, a, b))

    def _negative_nan(self, x: Expr) -> Expr:
        """Let NaN be -inf."""
        return self._choose(self.pool.make("eq", (x, x), kind="bool"), x, self.pool.number(-INFINITY))

    # Layout

    def _split(self, node: Node, indices: dict[str, Expr]) -> Expr:
        axis, (outer, _) = node.attr("axis"), node.attr("outer")
        start = self.pool.index_mul(indices[outer], node.type.length(axis))
        return self.at(node.args[0], {**indices, axis: self.pool.index_add(start, indices[axis])})

    def _take(self, node: Node, indices: dict[str, Expr]) -> Expr:
        axis = node.attr("axis")
        kept = taken(node.attr("indices"), node.args[0].type.length(axis))
        step = kept[1] - kept[0] if len(kept) > 1 else 1
        if step > 0 and kept == list(range(kept[0], kept[0] + step * len(kept), step)):
            index = self.pool.index_add(self.pool.index_mul(indices[axis], step), self.pool.integer(kept[0]))
        else:
            index = self._load(Source("lookup", tuple(kept), (len(kept),)), [indices[axis]])
        return self.at(node.args[0], {**indices, axis: index})

    def _rename(self, node: Node, indices: dict[str, Expr]) -> Expr:
        names = dict(node.attr("names"))
        return self.at(node.args[0], {name: indices[names.get(name, name)] for name in node.args[0].type.names})

    def _shift(self, node: Node, indices: dict[str, Expr]) -> Expr:
        n = max(-FURTHEST_PAGE, min(node.attr("n"), FURTHEST_PAGE))
        return self._at_page(node, indices, -n, node.attr("fill"))

    def _at_page(self, node: Node, indices: dict[str, Expr], offset: int, fill: float) -> Expr:
        """Ask the operand for the page `offset` further on; `fill` where there is no complete one."""
        page = self.pool.index_add(indices[PAGE], self.pool.integer(offset))
        exists = self.pool.make("exists", (page,), kind="bool")
        x = self._number(node.args[0], {**indices, PAGE: page})
        return self._choose(exists, x, self.pool.number(float(fill)))

    def _smooth(self, node: Node, indices: dict[str, Expr]) -> Expr:
        weights = node.attr("weights")
        terms = [
            self.pool.make(
                "mul", (self._at_page(node, indices, j - len(weights) // 2, 0.0), self.pool.number(float(weight)))
            )
            for j, weight in enumerate(weights)
        ]
        total = terms[0]
        for term in terms[1:]:
            total = self.pool.make("add", (total, term))
        return total

    def _top(self, node: Node, indices: dict[str, Expr]) -> Expr:
        """Count the elements that come before this one in the order of choice: fewer than n, and it is chosen."""
        axis = node.attr("axis")
        loop = self._fresh(axis, node.type.length(axis), indices)
        other = {**indices, axis: self.pool.loop(loop)}
        mine, its = (self._negative_nan(self._number(node.args[0], at)) for at in (indices, other))
        earlier = self.pool.make("index_lt", (other[axis], indices[axis]), kind="bool")
        tie = self.pool.make("and", (self.pool.make("eq", (its, mine), kind="bool"), earlier), kind="bool")
        before = self.pool.make("or", (self.pool.make("gt", (its, mine), kind="bool"), tie), kind="bool")
        rank = self._reduce("sum", self.pool.numeric(before), loop)
        return self.pool.make("lt", (rank, self.pool.number(float(node.attr("n")))), kind="bool")

    # Reductions

    def _fresh(self, name: str, length: int, indices: Mapping[str, Expr]) -> Loop:
        used = {loop for index in indices.values() for loop in index.loops}
        serial = 0
        while Loop(name, length, serial) in used:
            serial += 1
        return Loop(name, length, serial)

    def _reduce(self, how: str, x: Expr, loop: Loop) -> Expr:
        if loop == PAGE_LOOP:
            return self.pool.make("page_reduce", (x,), (how,), without=loop)
        return self.pool.make("reduce", (x,), (how, loop), without=loop)

    def _inside(self, node: Node, axes: tuple[str, ...], indices: dict[str, Expr]) -> tuple[Expr, list[Loop]]:
        """Lower an operand at every index of some axes: the value, and the loops to reduce, that of pages last."""
        type_ = node.type
        names = sorted(axes, key=lambda name: name == PAGE)
        loops = [PAGE_LOOP if name == PAGE else self._fresh(name, type_.length(name), indices) for name in names]
        inner = {name: self.pool.loop(loop) for name, loop in zip(names, loops, strict=True)}
        return self._number(node, {**indices, **inner}), loops

    def _all(self, how: str, x: Expr, loops: list[Loop]) -> Expr:
        for loop in loops:
            x = self._reduce(how, x, loop)
        return x

    def _plain(self, node: Node, indices: dict[str, Expr]) -> Expr:
        return self._all(node.op, *self._inside(node.args[0], node.attr("axes"), indices))

    def _average(self, x: Expr, loops: list[Loop]) -> Expr:
        count = self.pool.number(float(prod(loop.length for loop in loops if loop.length is not None)))
        if PAGE_LOOP in loops:
            count = self.pool.make("mul", (self.pool.make("input", (), ("complete",)), count))
        return self.pool.make("div", (self._all("sum", x, loops), count))

    def _mean(self, node: Node, indices: dict[str, Expr]) -> Expr:
        return self._average(*self._inside(node.args[0], node.attr("axes"), indices))

    def _var(self, node: Node, indices: dict[str, Expr]) -> Expr:
        x, loops = self._inside(node.args[0], node.attr("axes"), indices)
        distance = self.pool.make("sub", (x, self._average(x, loops)))
        return self._average(self.pool.make("square", (distance,)), loops)

    def _norm(self, node: Node, indices: dict[str, Expr]) -> Expr:
        x, loops = self._inside(node.args[0], node.attr("axes"), indices)
        return self.pool.make("sqrt", (self._all("sum", self.pool.make("square", (x,)), loops),))

    def _finite_max(self, x: Expr, loops: list[Loop]) -> Expr:
        """Give the maximum as what to subtract before exp: 0 where it is infinite."""
        top = self._all("max", x, loops)
        infinite = self.pool.make("eq", (self.pool.make("abs", (top,)), self.pool.number(INFINITY)), kind="bool")
        return self._choose(infinite, self.pool.number(0.0), top)

    def _logsumexp(self, node: Node, indices: dict[str, Expr]) -> Expr:
        x, loops = self._inside(node.args[0], node.attr("axes"), indices)
        top = self._finite_max(x, loops)
        total = self._all("sum", self.pool.make("exp", (self.pool.make("sub", (x, top)),)), loops)
        return self.pool.make("add", (self.pool.make("log", (total,)), top))

    def _softmax(self, node: Node, indices: dict[str, Expr]) -> Expr:
        x, loops = self._inside(node.args[0], (node.attr("axis"),), indices)
        top = self._all("max", x, loops)
        total = self._all("sum", self._shifted_exp(x, top), loops)
        return self.pool.make("div", (self._shifted_exp(self._number(node.args[0], indices), top), total))

    def _shifted_exp(self, x: Expr, top: Expr) -> Expr:
        return self.pool.make("exp", (self.pool.make("sub", (x, top)),))

    def _normalize(self, node: Node, indices: dict[str, Expr]) -> Expr:
        total = self._all("sum", *self._inside(node.args[0], (node.attr("axis"),), indices))
        return self.pool.make("div", (self._number(node.args[0], indices), total))

    def _dot(self, node: Node, indices: dict[str, Expr]) -> Expr:
        axis = node.attr("axis")
        (a, loops), (b, _) = (self._inside(arg, (axis,), indices) for arg in node.args)
        return self._all("sum", self.pool.make("mul", (a, b)), loops)

    def _cumsum(self, node: Node, indices: dict[str, Expr]) -> Expr:
        x = self._number(node.args[0], {**indices, PAGE: self.pool.loop(PAGE_LOOP)})
        return self.pool.make("page_scan", (x, indices[PAGE]))


_RULES: dict[str, Callable[[Lowering, Node, dict[str, Expr]], Expr]] = {
    name: getattr(Lowering, f"_{name}")
    for name in (
        *(
            "constant",
            "vector",
            "matrix",
            "input",
            "field",
            "reload",
            "where",
            "hash",
            "split",
            "take",
            "rename",
            "shift",
        ),
        *("smooth", "top", "mean", "var", "norm", "logsumexp", "softmax", "normalize", "dot", "cumsum"),
    )
} | dict.fromkeys(("sum", "max", "min"), Lowering._plain)  # noqa: SLF001
