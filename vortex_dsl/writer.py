"""Expressions -> lines of Triton: how each primitive operation is written, and which line stands in the loop."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from math import prod
from typing import TYPE_CHECKING

from vortex_dsl.expression import PAGE_LOOP, Expr, Loop, Source, largest_index, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

INFINITY = float("inf")
_WORDS = ("token", "dim", "head", "page")
_STRIDES = {"q": 3, "k": 4, "v": 4, "page.k": 4, "page.v": 4, "field": 2, "codes": 2, "scales": 2}
_INPUTS = {
    "page.count": "count_0.to(tl.float32)",
    "complete": "complete_0.to(tl.float32)",
    "layer.index": "layer_index_0",
    "layer.count": "layer_count_0",
    "kv_head.index": "kv_head_0.to(tl.float32)",
    "scale": "scale_0",
}
NEUTRAL = {"sum": 0.0, "max": -INFINITY, "min": INFINITY}
REDUCE = {"sum": "tl.sum({0}, {1})", "max": "largest({0}, {1})", "min": "smallest({0}, {1})"}
JOIN = {"sum": "{0} + {1}", "max": "larger({0}, {1})", "min": "smaller({0}, {1})"}
_CODE = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "divide({0}, {1})",
    "mod": "modulo({0}, {1})",
    "pow": "power({0}, {1})",
    "neg": "-({0})",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "and": "both({0}, {1})",
    "or": "either({0}, {1})",
    "invert": "{0} == 0",
    "abs": "tl.abs({0})",
    "exp": "tl.exp({0})",
    "log": "tl.log({0})",
    "sqrt": "tl.sqrt_rn({0})",
    "square": "{0} * {0}",
    "sign": "sign({0})",
    "floor": "tl.floor({0})",
    "relu": "larger({0}, 0.0)",
    "sigmoid": "sigmoid({0})",
    "silu": "{0} * sigmoid({0})",
    "tanh": "tanh({0})",
    "maximum": "larger({0}, {1})",
    "minimum": "smaller({0}, {1})",
    "clip": "smaller(larger({0}, {1}), {2})",
    "where": "tl.where({0}, {1}, {2})",
    "hash": "scatter_bits({0}, {attr})",
    "to_float": "({0}).to(tl.float32)",
    "scalar": "tl.full((), {0}, tl.float32)",
    "index_add": "{0} + {1}",
    "index_mul": "{0} * {1}",
    "index_div": "{0} // {1}",
    "index_mod": "{0} % {1}",
    "index_lt": "{0} < {1}",
    "exists": "({0} >= 0) & ({0} < complete_0)",
    "nibble": "((({0} >> ({1} * 4)) & 15 ^ 8) - 8).to(tl.float32)",
    "bit": "(({0} >> {1} & 1) * 2 - 1).to(tl.float32)",
    "fp8": "decode_fp8({0})",
    "code": "code({0}, {1}, {attr})",
    "as_bfloat16": "round_bfloat16({0}).to(tl.float32)",
    "as_float16": "({0}).to(tl.float16).to(tl.float32)",
    "as_fp8_e4m3": "decode_fp8(encode_fp8({0}).to(tl.int32))",
}


class Writer(ABC):
    """Turns expressions into lines: those that no page changes before the loop over pages, the others within."""

    def __init__(self) -> None:
        self.before: list[str] = []
        self.within: list[str] = []
        self.sources: dict[Source, int] = {}
        self.names: dict[Expr, str] = {}
        self._blocks: dict[Expr, str] = {}
        self._count = 0

    def name(self, word: str) -> str:
        """Make a name that is not used yet."""
        self._count += 1
        return f"{word}_{self._count}"

    def write(self, roots: Sequence[Expr]) -> None:
        """Write the lines that compute some expressions."""
        for expr in walk(roots):
            if expr not in self.names:
                self.names[expr] = self._written(expr)

    def assign(self, word: str, code: str, *, paged: bool) -> str:
        """Write one assignment."""
        name = self.name(word)
        (self.within if paged else self.before).append(f"{name} = {code}")
        return name

    def spread(self, expr: Expr, loops: tuple[Loop, ...]) -> str:
        """Refer to a value as part of a tile over `loops`."""
        return spread(self.names[expr], expr.loops, loops)

    def _written(self, expr: Expr) -> str:
        if expr.op == "number":
            return literal(expr.attrs[0])
        if expr.op == "input":
            return _INPUTS[str(expr.attrs[0])]
        if expr.op == "to_float" and expr.args[0].op == "number":
            return literal(float(expr.args[0].attrs[0]))  # type: ignore[arg-type]
        if expr.op == "loop":
            return self._loop(expr.attrs[0])  # type: ignore[arg-type]
        code = {"load": self._load, "reduce": self._reduce, "is_reserved": self._reserved}.get(expr.op, self._simple)
        return self.assign(expr.op, code(expr), paged=expr.paged)

    def _loop(self, loop: Loop) -> str:
        if loop == PAGE_LOOP:
            return "page_0"
        word = loop.name if loop.name in _WORDS else "axis"
        return self.assign(word, f"tl.arange(0, {loop.padded})", paged=False)

    def _simple(self, expr: Expr) -> str:
        if expr.op == "pack":
            bits = int(expr.attrs[0])  # type: ignore[call-overload]
            codes = [f"(({self.spread(arg, expr.loops)}).to(tl.int32) & {2**bits - 1})" for arg in expr.args]
            return " | ".join(f"{code} << {bits * i}" if i else code for i, code in enumerate(codes))
        operands = [self.spread(arg, expr.loops) for arg in expr.args]
        return _CODE[expr.op].format(*operands, attr=literal(expr.attrs[0]) if expr.attrs else "")

    @abstractmethod
    def _reserved(self, expr: Expr) -> str:
        """Write whether a page is reserved."""

    def _reduce(self, expr: Expr) -> str:
        how, loop = str(expr.attrs[0]), expr.attrs[1]
        assert isinstance(loop, Loop)
        operand = expr.args[0]
        value = self.spread(operand, operand.loops)
        if loop.padded != loop.length:
            index = spread(self.index_of(loop), (loop,), operand.loops)
            value = f"tl.where({index} < {loop.length}, {value}, {literal(NEUTRAL[how])})"
        return REDUCE[how].format(value, operand.loops.index(loop))

    def index_of(self, loop: Loop) -> str:
        """Give the name of the index that runs along a loop."""
        found = next((name for expr, name in self.names.items() if expr.op == "loop" and expr.attrs == (loop,)), None)
        assert found is not None, "a value over a loop needs its index"
        return found

    def _load(self, expr: Expr) -> str:
        source = expr.attrs[0]
        assert isinstance(source, Source)
        number = self.sources.setdefault(source, len(self.sources))
        masks = [
            f"({self.spread(index, expr.loops)} < {length})"
            for index, length in zip(self._own(expr, source), source.lengths, strict=True)
            if largest_index(index) >= length
        ]
        terms = [f"source_{number}", *self._place(expr, source, number)]
        if len(expr.args) > len(source.lengths):
            masks.append(self._exists(expr.args[0], expr.loops))
        guard = f", mask={' & '.join(masks)}, other=0" if masks else ""
        convert = ".to(tl.float32)" if expr.kind == "float" else ".to(tl.int32)"
        return f"tl.load({' + '.join(terms)}{guard}){convert}"

    def _own(self, expr: Expr, source: Source) -> tuple[Expr, ...]:
        return expr.args[len(expr.args) - len(source.lengths) :]

    def _place(self, expr: Expr, source: Source, number: int) -> list[str]:
        """Give the terms of an address beside its base."""
        own = self._own(expr, source)
        if source.kind in ("q", "k", "v", "page.k", "page.v"):
            first = _STRIDES[source.kind] - len(own)
            strides = [f"stride_{number}_{first + i}" for i in range(len(own))]
        else:
            strides = [str(prod(source.lengths[i + 1 :])) for i in range(len(own))]
        terms = self._base(expr, source, number)
        for index, stride in zip(own, strides, strict=True):
            term = self.spread(index, expr.loops)
            terms.append(term if stride == "1" else f"{term} * {stride}")
        return [term for term in terms if not term.startswith("0 *") and term != "0"]

    @abstractmethod
    def _base(self, expr: Expr, source: Source, number: int) -> list[str]:
        """Give the terms of an address that lead to the row, the block and the page."""

    @abstractmethod
    def _exists(self, page: Expr, loops: tuple[Loop, ...]) -> str:
        """Write whether a page index is that of a complete page, as part of a tile over `loops`."""

    def parameters(self) -> list[str]:
        """Give the parameters of the sources."""
        names = []
        for source, number in self.sources.items():
            names.append(f"source_{number}")
            names += [f"stride_{number}_{i}" for i in range(_STRIDES.get(source.kind, 0))]
        return names


def literal(number: object) -> str:
    """Write a known number."""
    if isinstance(number, bool):
        return f"(tl.full((), {int(number)}, tl.int32) == 1)"
    assert isinstance(number, int | float)
    if isinstance(number, float) and not math.isfinite(number):
        return f'float("{number}")'
    return f"({number!r})" if number < 0 else repr(number)


def spread(code: str, own: tuple[Loop, ...], target: tuple[Loop, ...]) -> str:
    """Insert axes of length 1 so that a tile over `own` meets tiles over `target`."""
    if own == target or not own:
        return code
    assert set(own) <= set(target), "a tile has no axis that its result lacks"
    return f"{code}[{', '.join(':' if loop in own else 'None' for loop in target)}]"


def function(name: str, parameters: Sequence[str], body: Sequence[str]) -> str:
    """Write a kernel."""
    lines = ["@triton.jit", f"def {name}({', '.join(parameters)}):", *(f"    {line}" for line in body)]
    return "\n".join(lines) + "\n"
