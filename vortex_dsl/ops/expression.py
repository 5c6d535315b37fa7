"""What the compiler computes with: expressions over loops, interned, in which every axis is indexed explicitly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vortex_dsl.values import PAGE, Axis

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

Kind = Literal["float", "bool", "int"]
FURTHEST_PAGE = 2**30  # a sequence has fewer pages, and the sum of this and a page's index is an int32


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
    """Memory that a kernel reads: `kind` says what, `key` which, `lengths` the lengths of its own axes.

    Kinds: "q", "k" and "v" of one page, "page.k", "page.v", "field", "codes" and "scales" (key: the field's index),
    "table" (key: its numbers, float), "lookup" (key: its numbers, int), "buffer" (key: the plan's number for it),
    "state" (key: the state's index). `stored`: in which type a field's numbers are, where they are stored as they are.
    """

    kind: str
    key: Hashable
    lengths: tuple[int, ...]
    stored: str = ""


@dataclass(frozen=True, eq=False)
class Expr:
    """One primitive operation over tiles.

    Besides the elementwise names of the operation table: `number` (attrs: the number), `input` (its name), `loop`,
    `load` (attrs: a Source; args: where there are pages, the block or the page and whether it exists, then one index
    per axis), `reduce` (attrs: sum, max or min, and the loop), `dot` (attrs: the loop), `scan` (args: operand and
    page index; the running sum up to that page), `moved` (args: operand and the page index to take it at), `exists`
    (a page index is that of a complete page), `block` (of a page index), `is_reserved`, `to_float`, `scalar` (a known
    number as a value); on integers `index_add`, `index_mul`, `index_div`, `index_mod` and `index_lt`. Of stored
    bytes: `fp8`, `nibble` and `bit` read one, or a place within it; `code` and `pack` (attrs: bits per code) make one.
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

    @property
    def reduces(self) -> bool:
        """Whether a loop of the operands is gone."""
        return self.op in ("reduce", "dot")

    @property
    def reduced(self) -> Loop:
        """Give the loop that a `reduce` or a `dot` runs along."""
        loop = self.attrs[-1]
        assert isinstance(loop, Loop)
        return loop

    @property
    def mixes_pages(self) -> bool:
        """Whether the value comes from all complete pages at once."""
        return self.reduces and self.reduced == PAGE_LOOP

    def __repr__(self) -> str:
        return f"<{self.op} {[loop.name for loop in self.loops]}>"


class Pool:
    """Makes expressions; equal ones are one object."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Expr] = {}

    def make(
        self, op: str, args: Iterable[Expr] = (), attrs: tuple[Hashable, ...] = (), *, kind: Kind = "float"
    ) -> Expr:
        """Make an expression over the loops of its operands, except one that it reduces."""
        args = tuple(args)
        loops = {loop for arg in args for loop in arg.loops}
        if op == "scan":
            loops = {loop for loop in args[0].loops if loop != PAGE_LOOP} | set(args[1].loops)
        elif op in ("reduce", "dot"):
            loops -= {attrs[-1]}
        return self._intern(op, args, attrs, tuple(sorted(loops, key=_rank)), kind)

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

    def boolean(self, op: str, *args: Expr) -> Expr:
        """Make a condition."""
        return self.make(op, args, kind="bool")

    def index_add(self, a: Expr, b: Expr) -> Expr:
        """Add two indices; known numbers come last and become one, no further out than any page lies."""
        if b.op != "number":
            return self.make("index_add", (a, b), kind="int")
        known = _known(b)
        if a.op == "index_add" and a.args[1].op == "number":
            a, known = a.args[0], _known(a.args[1]) + known
        known = max(-FURTHEST_PAGE, min(known, FURTHEST_PAGE))
        return self.make("index_add", (a, self.integer(known)), kind="int") if known else a

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
        return self.index_add(*args) if x.op == "index_add" else self.make(x.op, args, x.attrs, kind=x.kind)

    def at_page(self, x: Expr, page: Expr) -> Expr:
        """Make an expression of the page's own index again for another page's."""
        made = {self.loop(PAGE_LOOP): page}
        for expr in walk((x,), lambda expr: expr.mixes_pages):
            if expr not in made:
                made[expr] = expr if expr.mixes_pages else self.rebuilt(expr, tuple(made[arg] for arg in expr.args))
        return made[x]


def _rank(loop: Loop) -> tuple[object, ...]:
    return loop.rank


def _known(number: Expr) -> int:
    value = number.attrs[0]
    assert isinstance(value, int)
    return value


def walk(roots: Iterable[Expr], stop: Callable[[Expr], bool] = lambda _: False) -> tuple[Expr, ...]:
    """Give all expressions that `roots` need, operands first; nothing below those where `stop` holds."""
    order: dict[Expr, None] = {}
    stack = [(root, False) for root in reversed(tuple(roots))]
    while stack:
        expr, done = stack.pop()
        if done:
            order[expr] = None
        elif expr not in order:
            stack.append((expr, True))
            stack.extend((arg, False) for arg in reversed(() if stop(expr) else expr.args))
    return tuple(order)
