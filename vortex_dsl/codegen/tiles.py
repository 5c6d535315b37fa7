"""How much of each loop a kernel's tiles cover, so that no tile is large, whatever the shape and the length.

A loop that a tile does not cover as a whole is *cut*: the kernel walks along it, a piece at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from vortex_dsl.codegen.exact import stored_as
from vortex_dsl.errors import CompilerError
from vortex_dsl.ops.expression import PAGE_LOOP, Expr, Loop, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TILE_ELEMENTS = 4096  # 32 registers per thread of four warps
PRODUCT_ELEMENTS = 2**16  # multiplications of one matrix product
SUMMED_ELEMENTS = 8192  # products of one sum of products, of which a thread keeps the sums alone
LEAST_SIDE = 16  # of a matrix, in Triton
WORTHWHILE_SIDE = 8  # of a product whose operands are not exact in 16 bits
WHOLE_DEPTH = 128  # of what is reduced, a vector of most heads, where it fits
FEW_PAGES, FEW_ELEMENTS = 16, 32  # what cutting leaves of a loop before it turns to others


@dataclass(frozen=True)
class Tiles:
    """The width of every loop in one kernel's tiles, and the dots that become matrix products.

    `walks` says whether the kernel walks along a row's pages itself, or covers one tile of pages.
    """

    widths: Mapping[Loop, int]
    matrices: frozenset[Expr]
    walks: bool

    def shape(self, loops: Iterable[Loop]) -> tuple[int, ...]:
        """Give the shape of a tile."""
        return tuple(self.widths[loop] for loop in loops)

    def is_cut(self, loop: Loop) -> bool:
        """Say whether the kernel walks along a loop."""
        return self.walks if loop.length is None else loop.length > self.widths[loop]

    def overhangs(self, loop: Loop) -> bool:
        """Say whether tiles hold places beyond a loop's end."""
        return loop.length is None or loop.length % self.widths[loop] > 0


def sides(dot: Expr) -> tuple[tuple[Loop, ...], tuple[Loop, ...]]:
    """Give the loops of a dot's operands beside the one that is reduced."""
    a, b = (tuple(loop for loop in arg.loops if loop != dot.reduced) for arg in dot.args)
    return a, b


def choose_tiles(roots: Sequence[Expr], extra: Iterable[tuple[Loop, ...]], most_pages: int, *, walks: bool) -> Tiles:
    """Choose the widths for a kernel that computes `roots` and also has tiles over `extra` loops."""
    exprs = walk(roots)
    worthwhile = frozenset(expr for expr in exprs if _is_matrix(expr))
    for matrices, depth in ((worthwhile, WHOLE_DEPTH), (worthwhile, LEAST_SIDE), (frozenset[Expr](), LEAST_SIDE)):
        cutter = _Cutter(exprs, matrices, most_pages, depth)
        if cutter.cut([*cutter.demands(), *((loops, TILE_ELEMENTS) for loops in extra)]):
            return Tiles(cutter.widths, matrices, walks)
    message = "a kernel has no tiles, though without matrices every loop can be cut to single elements"
    raise CompilerError(message)


def _is_matrix(expr: Expr) -> bool:
    """Say whether a dot becomes a matrix product: no loop is common to its operands but the reduced one.

    Where both are exact in 16 bits a narrow side does not matter: tensor cores have multiplied it, padding and
    all, while sums across threads would only begin.
    """
    if expr.op != "dot" or set(sides(expr)[0]) & set(sides(expr)[1]) or not all(sides(expr)):
        return False
    *others, reduced = (prod(_length(loop) for loop in side) for side in (*sides(expr), (expr.reduced,)))
    if all(stored_as(arg) is not None for arg in expr.args):
        return max(others) >= LEAST_SIDE and reduced >= LEAST_SIDE
    return min(*others, reduced) >= WORTHWHILE_SIDE


def _length(loop: Loop) -> int:
    return LEAST_SIDE if loop.length is None else loop.length


class _Cutter:
    """Halves widths until every tile is small enough. A side of a matrix keeps its least width."""

    def __init__(self, exprs: Sequence[Expr], matrices: frozenset[Expr], most_pages: int, depth: int) -> None:
        """`depth`: what is reduced in products keeps that width, so that vectors are read in one piece."""
        self._exprs, self._matrices, self._most_pages = exprs, matrices, most_pages
        self._least: dict[Loop, int] = {}
        for dot in matrices:
            for side in sides(dot):
                self._least.setdefault(max(side, key=lambda loop: (_length(loop), loop != PAGE_LOOP)), LEAST_SIDE)
            reduced = dot.reduced
            most = LEAST_SIDE if reduced == PAGE_LOOP else max(reduced.padded, LEAST_SIDE)
            self._least[reduced] = max(min(most, depth), self._least.get(reduced, 0))
        self.widths: dict[Loop, int] = {}

    def demands(self) -> list[tuple[tuple[Loop, ...], int]]:
        """Give the loops of every tile, and how many elements it may have."""
        found = [(expr.loops, TILE_ELEMENTS) for expr in self._exprs]
        for expr in self._exprs:
            if expr.op == "dot":
                limit = PRODUCT_ELEMENTS if expr in self._matrices else SUMMED_ELEMENTS
                found.append((tuple(dict.fromkeys(loop for arg in expr.args for loop in arg.loops)), limit))
        return list(dict.fromkeys(found))

    def cut(self, demands: Sequence[tuple[tuple[Loop, ...], int]]) -> bool:
        """Choose all widths; False if matrices do not leave enough to cut."""
        for loop in dict.fromkeys(loop for loops, _ in demands for loop in loops):
            whole = self._most_pages if loop == PAGE_LOOP else loop.padded
            self.widths[loop] = max(whole, self._least.get(loop, 1))
        return all(self._cut_one(loops, limit) for loops, limit in demands)

    def _cut_one(self, loops: tuple[Loop, ...], limit: int) -> bool:
        while prod(self.widths[loop] for loop in loops) > limit:
            wide = [loop for loop in loops if self.widths[loop] > self._least.get(loop, 1)]
            if not wide:
                return False
            self.widths[max(wide, key=self._readiness)] //= 2
        return True

    def _readiness(self, loop: Loop) -> tuple[int, int]:
        """Tell which loop to cut first: many pages, then long loops, then the last pages, then the rest."""
        width = self.widths[loop]
        if loop == PAGE_LOOP:
            return (3 if width > FEW_PAGES else 1), width
        return (2 if width > FEW_ELEMENTS else 0), width
