"""When each value is computed: scoring is cut into rounds wherever pages must be mixed.

A round is one `map` stage (every page by itself), then one `row` stage (reductions over a row's pages, and what no
page changes), then `scan` stages (sums along the pages). Within a stage a value is computed in place; what another
stage needs of it goes through a Buffer. Whatever is costly is stored before a row stage walks over the pages or
another page is asked for: reductions within pages, over fields or raw keys, by a map stage.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from vortex_dsl.ops.expression import PAGE_LOOP, Expr, Loop, Source, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vortex_dsl.ops.lowering import Lowering

# Operations that no page changes, from which on they are done once per row and not once per tile: ranking 64 channels
# of a query is as many. At 80 channels `sparq` is modelled to score 2.7 times as long where each tile ranks them.
MUCH_WORK = 2**12
MOST_NESTED = 2**24  # steps of reductions within reductions, beyond which the inner ones are stored first
FLOAT_BYTES = 4
KINDS = ("map", "row", "scan")


@dataclass(frozen=True)
class Buffer:
    """Float32 memory that a stage writes: per row, or per row and page, and per element of `loops`.

    `state` is the place of the state of which it becomes the new value, None for what only lives within the step.
    """

    number: int
    paged: bool
    loops: tuple[Loop, ...]
    state: int | None = None

    @property
    def lengths(self) -> tuple[int, ...]:
        """Give the lengths of its axes beside rows and pages."""
        return tuple(loop.length for loop in self.loops if loop.length is not None)

    def num_bytes(self, rows: int, max_pages: int) -> int:
        """Bytes for a batch of `rows` rows of at most `max_pages` pages."""
        return FLOAT_BYTES * rows * (max_pages if self.paged else 1) * prod(self.lengths)


@dataclass(frozen=True)
class Output:
    """A value that a stage computes, and where it goes."""

    value: Expr
    buffer: Buffer


class When(NamedTuple):
    """A stage of a round. "elsewhere" is a map stage that asks for other pages than its own."""

    kind: str
    round: int


class _Levels(NamedTuple):
    """The first round in which a value can be had: in its map stage, there at other pages, or in its row stage."""

    own: int
    elsewhere: int
    row: int


class Rounds:
    """Takes the values that are wanted, then cuts the work into stages."""

    def __init__(self, lowering: Lowering, numbers: Iterator[int]) -> None:
        """`numbers`: what buffers are called, each once."""
        self._lowering, self._pool, self._numbers = lowering, lowering.pool, numbers
        self._wanted: list[Output] = []
        self._levels: dict[Expr, _Levels] = {}
        self._nests: dict[Expr, dict[Loop, int]] = {}
        self._stored: set[Expr] = set()
        self._buffers: dict[tuple[Expr, When], Buffer] = {}
        self._resolved: dict[tuple[Expr, When], Expr] = {}
        self._pending: list[tuple[When, Expr, Buffer]] = []

    def want(self, value: Expr, *, paged: bool, loops: tuple[Loop, ...], state: int | None = None) -> Buffer:
        """Have a value written to a buffer of its own; equal ones share it, states aside."""
        same = (o.buffer for o in self._wanted if o.value is value and o.buffer.state is state is None)
        found = next(same, None)
        if found is None:
            found = Buffer(next(self._numbers), paged, loops, state)
            self._wanted.append(Output(value, found))
        return found

    def stages(self) -> list[tuple[str, tuple[Output, ...]]]:
        """Give the kind and the outputs of every stage in order."""
        self._assess()
        free = [output for output in self._wanted if not output.buffer.paged and not self._levels[output.value].own]
        for value, buffer in ((output.value, output.buffer) for output in self._wanted if output not in free):
            level = self._levels[value]
            self._pending.append((When("map", level.own) if buffer.paged else When("row", level.row), value, buffer))
        done = self._computed()
        first = min((when for when in done if when.kind == "map"), default=When("row", 0), key=lambda when: when.round)
        done[first] += [Output(self._resolve(output.value, first), output.buffer) for output in free]
        return [
            (when.kind, part)
            for when in sorted(done, key=lambda when: (when.round, KINDS.index(when.kind)))
            for part in ([(output,) for output in done[when]] if when.kind == "scan" else [tuple(done[when])])
            if part
        ]

    def _computed(self) -> dict[When, list[Output]]:
        """Resolve what is pending; that may want more."""
        done: dict[When, list[Output]] = defaultdict(list)
        while self._pending:
            when, value, buffer = self._pending.pop(0)
            done[when].append(Output(self._resolve(value, when), buffer))
        return done

    def _assess(self) -> None:
        """Find out when each value can be had, and what is stored before pages are mixed."""
        for expr in walk(output.value for output in self._wanted):
            self._nests[expr], self._levels[expr] = self._nest(expr), self._level(expr)
            if expr.mixes_pages or expr.op in ("scan", "moved"):
                self._stored.update(_outermost(expr.args))
            elif _is_costly(expr) and max(self._nests[expr].values()) > MOST_NESTED:
                self._take_apart(expr)

    def _take_apart(self, expr: Expr) -> None:
        """Store the reductions that would be made anew in each step of this one, a round earlier."""
        inner = [each for each in _outermost(expr.args) if expr.reduced in each.loops]
        self._stored.update(inner)
        self._nests[expr] = dict.fromkeys(expr.loops, expr.reduced.length or 1)
        own = max([self._levels[expr].own, *(self._levels[each].own + 1 for each in inner)])
        self._levels[expr] = _Levels(own, own + 1, own)

    def _nest(self, expr: Expr) -> dict[Loop, int]:
        """Count, per loop that a value varies along, the steps of what is reduced anew in each of the loop's steps."""
        below = [self._nests[arg] for arg in expr.args]
        nest = {loop: max((each[loop] for each in below if loop in each), default=1) for loop in expr.loops}
        if not expr.reduces:
            return nest
        steps = (expr.reduced.length or 1) * max((each.get(expr.reduced, 1) for each in below), default=1)
        return {loop: max(found, steps) for loop, found in nest.items()}

    def _level(self, expr: Expr) -> _Levels:
        below = [self._levels[arg] for arg in expr.args]
        own, elsewhere, row = (max((each[i] for each in below), default=0) for i in range(3))
        if expr.op == "scan":
            return _Levels(row + 1, row + 1, row + 1)
        if expr.mixes_pages or _is_much(expr):
            return _Levels(row + 1, row + 1, row)
        if expr.op == "moved":
            return _Levels(elsewhere, elsewhere, row)
        return _Levels(own, own + 1, own) if _is_costly(expr) else _Levels(own, elsewhere, row)

    def _stored_by(self, expr: Expr, when: When) -> When | None:
        """Give the stage that stores a value which this one loads, None if it is computed in place."""
        level, in_map = self._levels[expr], when.kind in ("map", "elsewhere")
        if expr.op == "scan":
            return When("scan", level.row - 1)
        if expr.mixes_pages or _is_much(expr):
            by = When("row", level.row)
            return None if when == by or (_is_much(expr) and not in_map) else by
        here = when.kind == "map" and not (expr in self._stored and level.own < when.round)
        return When("map", level.own) if _is_costly(expr) and not here else None

    def _resolve(self, root: Expr, when: When) -> Expr:
        """Put loads in the place of what other stages store."""
        stack = [(root, when)]  # a stack of our own: programs are deeper than Python's
        while stack:
            key = stack[-1]
            missing = [below for below in self._below(*key) if below not in self._resolved]
            stack.extend(missing)
            if not missing:
                self._resolved[key] = self._again(*stack.pop())
        return self._resolved[root, when]

    def _below(self, expr: Expr, when: When) -> list[tuple[Expr, When]]:
        if expr.op == "scan":
            return [(expr.args[1], when)]
        if self._stored_by(expr, when) is not None:
            return []
        if expr.op == "moved" and when.kind == "map":
            return [(expr.args[0], When("elsewhere", when.round)), (expr.args[1], when)]
        return [(arg, when) for arg in expr.args]

    def _again(self, expr: Expr, when: When) -> Expr:
        args = tuple(self._resolved[below] for below in self._below(expr, when))
        by = self._stored_by(expr, when)
        if by is not None:
            return self._load(expr, by, args[0] if expr.op == "scan" else self._pool.loop(PAGE_LOOP))
        return self._pool.at_page(*args) if expr.op == "moved" else self._pool.rebuilt(expr, args)

    def _load(self, expr: Expr, by: When, page: Expr) -> Expr:
        """Load what another stage stores, at a page if it differs between pages."""
        value = expr.args[0] if expr.op == "scan" else expr
        buffer = self._buffers.get((value, by))
        if buffer is None:
            loops = tuple(loop for loop in value.loops if loop != PAGE_LOOP)
            buffer = Buffer(next(self._numbers), value.paged, loops)
            self._buffers[value, by] = buffer
            self._pending.append((by, value, buffer))
        indices = [page] if buffer.paged else []
        indices += [self._pool.loop(loop) for loop in buffer.loops]
        return self._lowering.load(Source("buffer", buffer.number, buffer.lengths), indices)


def _outermost(exprs: Iterable[Expr]) -> list[Expr]:
    """Give the costly values that no other one contains."""
    found = walk(exprs, lambda x: _is_costly(x) or x.mixes_pages or x.op == "scan")
    return [x for x in found if _is_costly(x)]


def _is_costly(expr: Expr) -> bool:
    """Say whether a value is a reduction within every page."""
    return expr.reduces and expr.paged


def _is_much(expr: Expr) -> bool:
    """Say whether a reduction that no page changes is too much to be done by every tile of pages."""
    if not expr.reduces or expr.paged or expr.mixes_pages:
        return False
    return prod({loop: loop.length or 1 for arg in expr.args for loop in arg.loops}.values()) >= MUCH_WORK
