"""What the compiler computes with: expressions over loops, interned, in which every axis is indexed explicitly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vortex_dsl.values import PAGE, Axis

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

Kind = Literal["float", "bool", "int"]


@dataclass(frozen=True)
class Loop:
    """One axis of a tile. `serial` tells apart loops that have one name and length in one expression."""

    name: str
    length: int | None
    serial: int = 0

    @property
    def padded(self) -> int:
        """Give the least power of two that covers the loop: Triton's tiles have no other lengths."""
        assert self.length is not None, "the page loop is tiled, not padded"
        return 1 << (self.length - 1).bit_length()

    @property
    def rank(self) -> tuple[object, ...]:
        """Key of the order of a tile's axes."""
        return (*Axis(self.name, None).rank, self.length or 0, self.serial)


PAGE_LOOP = Loop(PAGE, None)


@dataclass(frozen=True)
class Source:
    """Memory that a stage reads: `kind` says what, `key` which, `lengths` the lengths of its own axes.

    Kinds: "q", "k" and "v" of one page, "page.k", "page.v", "field", "codes" and "scales" (key: the field's index),
    "table" (key: its numbers, float), "lookup" (key: its numbers, int), "buffer" (key: the plan's number for it).
    """

    kind: str
    key: Hashable
    lengths: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Expr:
    """One primitive operation over tiles.

    Besides the elementwise names of the operation table: `number` (attrs: the number), `input` (its name), `loop`,
    `load` (attrs: a Source; args: one index per axis, the page first where there is one), `reduce` (attrs: sum, max
    or min, and the loop), `page_reduce` (sum, max or min over the complete pages), `page_scan` (args: operand and
    page index; the running sum up to that page), `exists` (a page index is that of a complete page), `is_reserved`,
    `to_float`, `scalar` (a known number as a value); on integers `index_add`, `index_mul`, `index_div`, `index_mod`
    and `index_lt`. Of stored bytes: `fp8`, `nibble` and `bit` read one, or a place within it; `code` and `pack`
    (attrs: bits per code) make one.
    """

    op: str
    args: tuple[Expr, ...]
    attrs: tuple[Hashable, ...]
    loops: tuple[Loop, ...]
    kind: Kind

    @property
    def paged(self) -> bool:
        """Whether the value differs from page to page."""
        return PAGE_LOOP in self.loops

    def __repr__(self) -> str:
        return f"<{self.op} {[loop.name for loop in self.loops]}>"


class Pool:
    """Makes expressions; equal ones are one object."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Expr] = {}

    def make(
        self,
        op: str,
        args: Iterable[Expr] = (),
        attrs: tuple[Hashable, ...] = (),
        *,
        kind: Kind = "float",
        without: Loop | None = None,
    ) -> Expr:
        """Make an expression over the loops of its operands, except `without`."""
        args = tuple(args)
        loops = {loop for arg in args for loop in arg.loops} - {without}
        return self._intern(op, args, attrs, tuple(sorted(loops, key=lambda loop: loop.rank)), kind)  # type: ignore[union-attr]

    def _intern(
        self, op: str, args: tuple[Expr, ...], attrs: tuple[Hashable, ...], loops: tuple[Loop, ...], kind: Kind
    ) -> Expr:
        signed = tuple((str(number), type(number)) if isinstance(number, int | float) else number for number in attrs)
        key = (op, args, signed)
        if key not in self._made:
            self._made[key] = Expr(op, args, attrs, loops, kind)
        return self._made[key]

    def number(self, value: float) -> Expr:
        """Make a known number: a float, or a boolean."""
        return self._intern("number", (), (value,), (), "bool" if isinstance(value, bool) else "float")

    def integer(self, value: int) -> Expr:
        """Make a known index."""
        return self._intern("number", (), (value,), (), "int")

    def loop(self, loop: Loop) -> Expr:
        """Make the index that runs along a loop."""
        return self._intern("loop", (), (loop,), (loop,), "int")

    def index_add(self, a: Expr, b: Expr) -> Expr:
        """Add two indices."""
        return a if b.attrs == (0,) and b.op == "number" else self.make("index_add", (a, b), kind="int")

    def index_mul(self, a: Expr, factor: int) -> Expr:
        """Multiply an index by a known number."""
        return a if factor == 1 else self.make("index_mul", (a, self.integer(factor)), kind="int")

    def numeric(self, x: Expr) -> Expr:
        """Let a boolean count as 0 or 1, an index as a number."""
        return x if x.kind == "float" else self.make("to_float", (x,))

    def rebuilt(self, x: Expr, args: tuple[Expr, ...]) -> Expr:
        """Make an expression again from other operands."""
        if args == x.args:
            return x
        loops = {loop for arg in args for loop in arg.loops}
        lost = x.attrs[1] if x.op == "reduce" else PAGE_LOOP if x.op == "page_reduce" else None
        kept = sorted(loops - {lost}, key=lambda loop: loop.rank)  # type: ignore[arg-type]
        return self._intern(x.op, args, x.attrs, tuple(kept), x.kind)


def largest_index(x: Expr) -> int:
    """Bound an index from above, the padding of its loops included. Not for indices of pages."""
    if x.op == "loop":
        loop = x.attrs[0]
        assert isinstance(loop, Loop)
        return loop.padded - 1
    if x.op == "number":
        return int(x.attrs[0])  # type: ignore[call-overload]
    if x.op == "load":
        source = x.attrs[0]
        assert isinstance(source, Source)
        assert isinstance(source.key, tuple)
        return max(source.key)
    a, b = (largest_index(arg) for arg in x.args)
    return {"index_add": a + b, "index_mul": a * b, "index_div": a // max(b, 1), "index_mod": b - 1}[x.op]


def walk(roots: Iterable[Expr]) -> tuple[Expr, ...]:
    """Give all expressions that `roots` need, operands first."""
    order: dict[Expr, None] = {}
    stack = [(root, False) for root in reversed(tuple(roots))]
    while stack:
        expr, done = stack.pop()
        if done:
            order[expr] = None
        elif expr not in order:
            stack.append((expr, True))
            stack.extend((arg, False) for arg in reversed(expr.args))
    return tuple(order)
