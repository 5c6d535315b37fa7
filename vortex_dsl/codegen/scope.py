"""Blocks of emitted code: which lines stand in which loop, and what every value is called there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.errors import CompilerError
from vortex_dsl.ops.expression import PAGE_LOOP, Expr, Loop

if TYPE_CHECKING:
    from vortex_dsl.ops.expression import Pool

_WORDS = ("token", "dim", "head", "page")


def word(loop: Loop) -> str:
    """Give a loop's name in emitted code: the platform's, never a program's."""
    return loop.name if loop.name in _WORDS else "axis"


class Names:
    """Makes names that are not used yet: a word of ours and a number."""

    def __init__(self) -> None:
        self._count = 0

    def make(self, stem: str) -> str:
        """Make a name."""
        self._count += 1
        return f"{stem}_{self._count}"


class Scope:
    """A block of lines: a kernel's own, or the body of a loop. It sees the values of the blocks around it.

    A value that varies along the block's loop never comes from around it: there, if anywhere, it belongs to another
    loop along the same axis.
    """

    def __init__(self, pool: Pool, names: Names, outer: Scope | None = None, loop: Loop | None = None) -> None:
        self.lines: list[str] = []
        self.pool, self.names = pool, names
        self._outer, self._loop, self._start = outer, loop, "0"
        self._known: dict[Expr, str] = {}
        around = outer.bound if outer else frozenset()
        self.bound: frozenset[Loop] = around | ({loop} if loop else set())

    def binds(self, loop: Loop) -> bool:
        """Say whether the block lies within a loop."""
        return loop in self.bound

    def find(self, expr: Expr) -> str | None:
        """Give the name of a value that is known here."""
        if expr in self._known:
            return self._known[expr]
        hidden = self._outer is None or self._loop in expr.loops
        return None if hidden else self._outer.find(expr)  # type: ignore[union-attr]

    def __getitem__(self, expr: Expr) -> str:
        """Give the name of a value that must be known here."""
        name = self.find(expr)
        if name is None:
            message = f"{expr} is used before it is written"
            raise CompilerError(message)
        return name

    def learn(self, expr: Expr, name: str) -> None:
        """Remember what a value is called."""
        self._known[expr] = name

    def assign(self, stem: str, code: str) -> str:
        """Write one assignment."""
        name = self.names.make(stem)
        self.lines.append(f"{name} = {code}")
        return name

    def index(self, loop: Loop) -> str:
        """Give the index that runs along a loop."""
        return self[self.pool.loop(loop)]

    def start(self, loop: Loop) -> str:
        """Give where the tile that is at hand begins on a loop."""
        return self._start if self._loop == loop or self._outer is None else self._outer.start(loop)

    def mask(self, loop: Loop) -> str:
        """Give whether a place of a tile lies on the loop."""
        if loop == PAGE_LOOP:
            return self[self.pool.boolean("exists", self.pool.loop(loop))]
        return f"({self.index(loop)} < {loop.length})"

    def open(self, loop: Loop, width: int) -> Scope:
        """Begin a loop that goes along an axis a tile at a time; `close` ends it."""
        inner = Scope(self.pool, self.names, self, loop)
        inner._start = start = self.names.make(f"{word(loop)}_start")
        index = self.names.make(word(loop))
        end = "complete_0" if loop == PAGE_LOOP else loop.length
        self.lines.append(f"for {start} in range(0, {end}, {width}):")
        inner.lines.append(f"{index} = {start} + tl.arange(0, {width})")
        inner.learn(self.pool.loop(loop), index)
        if loop == PAGE_LOOP:
            exists = self.pool.boolean("exists", self.pool.loop(loop))
            inner.learn(exists, inner.assign("here", f"{index} < complete_0"))
        return inner

    def close(self, inner: Scope) -> None:
        """End the loop that was begun last."""
        self.lines += [f"    {line}" for line in inner.lines]
