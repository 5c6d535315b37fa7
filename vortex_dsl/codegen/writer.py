"""Expressions -> lines of Triton: how each is written, and in which loop its line stands.

A value is computed in the outermost block in which all the loops that it varies along are bound; reductions that walk
along one loop and are ready at the same time share one walk.
"""

from __future__ import annotations

import math
from math import prod
from typing import TYPE_CHECKING

from vortex_dsl.codegen.address import Pointers, spread
from vortex_dsl.codegen.exact import stored_as
from vortex_dsl.codegen.scope import Names, Scope, word
from vortex_dsl.codegen.tiles import Tiles, sides
from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.expression import PAGE_LOOP, Expr, Loop, walk
from vortex_dsl.ops.op import Elementwise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vortex_dsl.ops.expression import Pool

INFINITY = float("inf")
NEUTRAL = {"sum": 0.0, "max": -INFINITY, "min": INFINITY}
_REDUCE = {"sum": "tl.sum({0}, {1})", "max": "largest({0}, {1})", "min": "smallest({0}, {1})"}
_JOIN = {"sum": "{0} + {1}", "max": "larger({0}, {1})", "min": "smaller({0}, {1})"}
_INPUTS = {
    "page.count": "count_0.to(tl.float32)",
    "complete": "complete_0.to(tl.float32)",
    "layer.index": "layer_index_0",
    "layer.count": "layer_count_0",
    "kv_head.index": "(kv_head_0 + first_head_0).to(tl.float32)",
    "scale": "scale_0",
}
_IN_PLACE = {"nibble": "nibble({0})", "bit": "signed_bit({0})"}  # of bytes that are shifted as they are loaded
_LAZY = ("index_div", "index_mod")  # written where they are used, if at all
_PRIMITIVES = {
    "to_float": "({0}).to(tl.float32)",
    "scalar": "tl.full((), {0}, tl.float32)",
    "index_add": "{0} + {1}",
    "index_mul": "{0} * {1}",
    "index_div": "{0} // {1}",
    "index_mod": "{0} % {1}",
    "index_lt": "{0} < {1}",
    "exists": "({0} >= 0) & ({0} < complete_0)",
    "block": "tl.load(block_table_0 + sequence_0 * table_stride_0 + {0}, mask={1}, other=0).to(tl.int64)",
    "nibble": "nibble({0} >> ({1} * 4))",
    "bit": "signed_bit({0} >> {1})",
    "fp8": "decode_fp8({0})",
    "code": "code({0}, {1}, {number})",
    "round_bfloat16": "round_bfloat16({0}).to(tl.float32)",
    "round_float16": "({0}).to(tl.float16).to(tl.float32)",
    "round_float32": "{0}",
    "round_fp8_e4m3": "decode_fp8(encode_fp8({0}).to(tl.int32))",
}


class Writer:
    """Writes the lines that compute expressions, for one kernel."""

    def __init__(self, pool: Pool, tiles: Tiles, memory: Pointers) -> None:
        self._tiles, self._memory = tiles, memory
        self.top = Scope(pool, Names())

    def nest(self, scope: Scope, loops: Sequence[Loop], roots: Sequence[Expr], finish: Callable[[Scope], None]) -> None:
        """Compute `roots` within walks along those of `loops` that are cut, and finish there."""
        self.fill(scope, roots)
        cut = [loop for loop in loops if self._tiles.is_cut(loop)]
        if not cut:
            finish(scope)
            return
        inner = scope.open(cut[0], self._tiles.widths[cut[0]])
        self.nest(inner, cut[1:], roots, finish)
        scope.close(inner)

    def fill(self, scope: Scope, roots: Sequence[Expr]) -> None:
        """Write all of `roots`, and of what they need, that can be computed in a block.

        What only values need that are known already is not written again: a walk would be made for nothing.
        """
        order = walk(roots, stop=lambda expr: scope.find(expr) is not None)
        todo = [expr for expr in order if self._belongs(expr, scope) and scope.find(expr) is None]
        while todo:
            todo = [expr for expr in todo if not self._write_plain(expr, scope)]
            if not todo:
                return
            ready = self._ready(order, scope)
            walks = [expr for expr in ready if expr.reduced == ready[0].reduced]
            self._walk_along(walks[0].reduced, walks, scope)
            todo = [expr for expr in todo if scope.find(expr) is None]

    def _belongs(self, expr: Expr, scope: Scope) -> bool:
        return all(scope.binds(loop) for loop in expr.loops if self._tiles.is_cut(loop) and not self._is_given(loop))

    def _is_given(self, loop: Loop) -> bool:
        """Say whether the grid covers a loop."""
        return loop == PAGE_LOOP and not self._tiles.walks

    def _walks(self, expr: Expr) -> bool:
        return expr.reduces and self._tiles.is_cut(expr.reduced)

    def _write_plain(self, expr: Expr, scope: Scope) -> bool:
        """Write an expression if it needs no walk, and all its operands are there."""
        if self._walks(expr) or any(scope.find(arg) is None for arg in expr.args):
            return False
        scope.learn(expr, self._written(expr, scope))
        return True

    def _ready(self, order: Sequence[Expr], scope: Scope) -> list[Expr]:
        """Give the reductions of a block that wait for no other one."""
        waiting: set[Expr] = set()
        ready = []
        for expr in order:
            if scope.find(expr) is not None:
                continue
            pending = self._walks(expr) and self._belongs(expr, scope)
            waits = any(arg in waiting for arg in expr.args)
            if pending and not waits:
                ready.append(expr)
            if pending or waits:
                waiting.add(expr)
        return ready

    def _walk_along(self, loop: Loop, reductions: Sequence[Expr], scope: Scope) -> None:
        """Compute several reductions in one walk."""
        totals = [scope.assign(_stem(expr), self._start(expr)) for expr in reductions]
        inner = scope.open(loop, self._tiles.widths[loop])
        self.fill(inner, [arg for expr in reductions for arg in expr.args])
        for total, expr in zip(totals, reductions, strict=True):
            inner.lines.append(f"{total} = {self._added(expr, inner, total)}")
        scope.close(inner)
        for total, expr in zip(totals, reductions, strict=True):
            final = expr in self._tiles.matrices and self._as_tile(expr, total)
            scope.learn(expr, scope.assign(_stem(expr), final) if final and final != total else total)

    def _start(self, expr: Expr) -> str:
        how = str(expr.attrs[0]) if expr.op == "reduce" else "sum"
        shape = self._matrix_shape(expr) if expr in self._tiles.matrices else self._tiles.shape(expr.loops)
        return full(shape, NEUTRAL[how])

    def _added(self, expr: Expr, scope: Scope, total: str) -> str:
        if expr in self._tiles.matrices:
            return self._product(expr, scope, total)
        how = str(expr.attrs[0]) if expr.op == "reduce" else "sum"
        return _JOIN[how].format(total, self._reduced(expr, scope))

    def _written(self, expr: Expr, scope: Scope) -> str:
        """Write one expression; known numbers and inputs need no line."""
        if expr.op == "number":
            return literal(expr.attrs[0])
        if expr.op == "input":
            return _INPUTS[str(expr.attrs[0])]
        if expr.op == "to_float" and expr.args[0].op == "number":
            return literal(float(expr.args[0].attrs[0]))  # type: ignore[arg-type]
        if expr.op in _LAZY:
            return f"({self._code(expr, scope)})"
        return scope.assign(_stem(expr), self._code(expr, scope))

    def _loaded(self, expr: Expr, scope: Scope) -> str:
        """Load a tile; bytes that hold several neighbours once, shifted so that each neighbour's bits are lowest."""
        code, num = self._memory.load(expr, scope), self._memory.codes_per_byte(expr)
        *lead, width = self._tiles.shape(expr.loops) or (1,)
        for halving in range(1, num.bit_length()):
            name = scope.assign("bytes", code)
            shape = (*lead, width // num * 2**halving)
            code = f"tl.reshape(tl.join({name}, {name} >> {8 >> halving}), {shape})"
        return code

    def _code(self, expr: Expr, scope: Scope) -> str:
        if expr.op == "loop":
            return f"tl.arange(0, {self._tiles.widths[expr.attrs[0]]})"  # type: ignore[index]
        if expr.op == "load":
            return self._loaded(expr, scope)
        if expr in self._tiles.matrices:
            return self._as_tile(expr, self._product(expr, scope, self._start(expr)))
        if expr.reduces:
            return self._reduced(expr, scope)
        if expr.op == "is_reserved":
            return self._memory.reserved(scope[expr.args[0]])
        operands = [spread(scope[arg], arg.loops, expr.loops) for arg in expr.args]
        if expr.op == "pack":
            return _packed(operands, int(expr.attrs[0]))  # type: ignore[call-overload]
        rule = ENTRIES[expr.op].triton if expr.op in ENTRIES else None
        code = rule.code if isinstance(rule, Elementwise) else _PRIMITIVES[expr.op]
        if expr.op == "div" and _is_exact_inverse(expr.args[1]):
            return f"{operands[0]} * {literal(1.0 / float(expr.args[1].attrs[0]))}"  # type: ignore[arg-type]
        if expr.op in _IN_PLACE and self._memory.codes_per_byte(expr.args[0]) > 1:
            code = _IN_PLACE[expr.op]
        return code.format(*operands, number=literal(expr.attrs[0]) if expr.attrs else "")

    def _reduced(self, expr: Expr, scope: Scope) -> str:
        """Reduce the tile that is at hand."""
        loop, how = expr.reduced, str(expr.attrs[0]) if expr.op == "reduce" else "sum"
        loops = tuple(sorted({loop for arg in expr.args for loop in arg.loops}, key=lambda loop: loop.rank))
        value = " * ".join(spread(scope[arg], arg.loops, loops) for arg in expr.args)
        if self._tiles.overhangs(loop):
            mask = spread(scope.mask(loop), (loop,), loops)
            value = f"tl.where({mask}, {value}, {literal(NEUTRAL[how])})"
        return _REDUCE[how].format(value, loops.index(loop))

    # Matrix products

    def _rows_first(self, expr: Expr) -> list[tuple[Expr, tuple[Loop, ...]]]:
        """Give a dot's operands with their own loops: pages, or else the longer side, become the rows."""
        both = list(zip(expr.args, sides(expr), strict=True))
        return sorted(both, key=lambda each: prod(loop.length or 1 << 30 for loop in each[1]), reverse=True)

    def _matrix_shape(self, expr: Expr) -> tuple[int, ...]:
        return tuple(prod(self._tiles.shape(loops)) for _, loops in self._rows_first(expr))

    def _product(self, expr: Expr, scope: Scope, total: str) -> str:
        (a, rows), (b, columns) = self._rows_first(expr)
        left = self._matrix(a, (*rows, expr.reduced), expr.reduced, scope)
        right = self._matrix(b, (expr.reduced, *columns), expr.reduced, scope)
        stored = [stored_as(x) for x in (a, b)]
        pointers = [self._memory.name(sources[0]) if sources else "None" for sources in stored]
        if None not in stored:
            return f"product({left}, {right}, {total}, {', '.join(pointers)})"
        return f'tl.dot({left}, {right}, {total}, input_precision="tf32x3")'

    def _matrix(self, x: Expr, order: tuple[Loop, ...], reduced: Loop, scope: Scope) -> str:
        """Lay out an operand as a matrix, 0 beyond the end of what is reduced."""
        code = scope[x]
        if self._tiles.overhangs(reduced):
            code = f"tl.where({spread(scope.mask(reduced), (reduced,), x.loops)}, {code}, 0.0)"
        code = permuted(code, x.loops, order)
        own = prod(self._tiles.shape(loop for loop in order if loop != reduced))
        depth = self._tiles.widths[reduced]
        return reshaped(code, (own, depth) if order[-1] == reduced else (depth, own), len(order))

    def _as_tile(self, expr: Expr, matrix: str) -> str:
        """Turn a product back into a tile over the dot's loops."""
        order = tuple(loop for _, loops in self._rows_first(expr) for loop in loops)
        return permuted(reshaped(matrix, self._tiles.shape(order), 2), order, expr.loops)


def _is_exact_inverse(divisor: Expr) -> bool:
    """Say whether dividing is, bit for bit, multiplying by the inverse: by a power of two, which is quicker."""
    number = divisor.attrs[0] if divisor.op == "number" else None
    if not isinstance(number, float) or not 2.0**-100 < abs(number) < 2.0**100:
        return False
    return abs(math.frexp(number)[0]) == 0.5


def _stem(expr: Expr) -> str:
    """Give the word that a value's name starts with: what it is, and along which axis."""
    if expr.op == "loop":
        return word(expr.attrs[0])  # type: ignore[arg-type]
    if expr.op == "load":
        return Pointers.stem(expr)
    if expr.reduces:
        return f"{expr.attrs[0] if expr.op == 'reduce' else 'dot'}_{word(expr.reduced)}"
    return expr.op


def _packed(codes: Iterable[str], bits: int) -> str:
    parts = [f"(({code}).to(tl.int32) & {2**bits - 1})" for code in codes]
    return " | ".join(f"{part} << {bits * i}" if i else part for i, part in enumerate(parts))


def literal(number: object) -> str:
    """Write a known number."""
    if isinstance(number, bool):
        return f"(tl.full((), {int(number)}, tl.int32) == 1)"
    assert isinstance(number, int | float)
    if isinstance(number, float) and not math.isfinite(number):
        return f'float("{number}")'
    return f"({number!r})" if number < 0 else repr(number)


def full(shape: tuple[int, ...], number: float) -> str:
    """Write a tile of one number."""
    return f"tl.full({shape}, {literal(number)}, tl.float32)"


def permuted(code: str, own: tuple[Loop, ...], order: tuple[Loop, ...]) -> str:
    """Bring a tile's axes into another order."""
    return code if own == order else f"tl.permute({code}, {tuple(own.index(loop) for loop in order)})"


def reshaped(code: str, shape: tuple[int, ...], rank: int) -> str:
    """Give a tile another shape, if it is of another rank."""
    return code if len(shape) == rank else f"tl.reshape({code}, {shape})"


def function(name: str, parameters: Sequence[str], body: Sequence[str]) -> str:
    """Write a kernel."""
    lines = ["@triton.jit", f"def {name}({', '.join(parameters)}):", *(f"    {line}" for line in body)]
    return "\n".join(lines) + "\n"
