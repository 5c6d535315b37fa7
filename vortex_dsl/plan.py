"""Graph -> Plan: which kernels run in which order, what they read and write, decided before any launch.

A stage ends where pages must be mixed. `map` stages compute every page by itself, a tile of pages per program;
`reduce` and `scan` stages walk over one row's pages; `row` stages compute what does not differ between pages.
What a stage leaves for a later one is a Buffer of float32 in memory. A row is one sequence and one KV head.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

from vortex_dsl.expression import PAGE_LOOP, Expr, Loop, Pool, Source, walk
from vortex_dsl.layout import FieldLayout, Layout
from vortex_dsl.lower import CannotCompile, Lowering
from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    from vortex_dsl.graph import Graph
    from vortex_dsl.node import Node

TILE_ELEMENTS = 8192
MAX_TILE_ELEMENTS = 2**20  # Triton's own bound
MAX_BLOCK_PAGES = 128
FLOAT_BYTES = 4


StageKind = Literal["map", "reduce", "scan", "row"]


@dataclass(frozen=True)
class Buffer:
    """Float32 memory between two stages: per row, or per row and page, and per element of `loops`."""

    number: int
    paged: bool
    loops: tuple[Loop, ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Give the lengths of its axes beside rows and pages."""
        return tuple(loop.length for loop in self.loops if loop.length is not None)

    def num_bytes(self, rows: int, max_pages: int) -> int:
        """Bytes for a batch of `rows` rows of at most `max_pages` pages."""
        return FLOAT_BYTES * rows * (max_pages if self.paged else 1) * prod(self.lengths)


@dataclass(frozen=True)
class Stage:
    """One kernel: computes `value` and writes it to `output`.

    `how` is the page reduction of a reduce stage. A program of the grid covers `block_pages` pages at a time.
    """

    number: int
    kind: StageKind
    value: Expr
    output: Buffer
    block_pages: int
    how: str = ""

    def grid(self, rows: int, max_pages: int) -> tuple[int, ...]:
        """Programs to launch: rows, and for map stages tiles of pages."""
        return (rows, max(-(-max_pages // self.block_pages), 1)) if self.kind == "map" else (rows,)


@dataclass(frozen=True)
class Summary:
    """One field's part of summarize: what is stored of a complete page, and where."""

    layout: FieldLayout
    node: Node


@dataclass(frozen=True)
class Choice:
    """A selection: its operation, the buffer of its scores, those of its numbers, and the selections it is made of."""

    op: str
    score: Buffer | None
    numbers: tuple[Buffer, ...]
    parts: tuple[Choice, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """What runs at one decode step of one layer, in order, then which pages are chosen."""

    graph: Graph
    layout: Layout
    lowering: Lowering
    summaries: tuple[Summary, ...]
    stages: tuple[Stage, ...]
    choice: Choice

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Give the buffers in the order in which they are written."""
        return tuple(stage.output for stage in self.stages)

    def num_bytes(self, rows: int, max_pages: int) -> int:
        """Bytes of all buffers between stages, page lists aside."""
        return sum(buffer.num_bytes(rows, max_pages) for buffer in self.buffers)

    def __str__(self) -> str:
        lines = [f"plan {self.graph.digest}: {self.layout.bytes_per_page} bytes per page"]
        for stage in self.stages:
            place = "row, page" if stage.output.paged else "row"
            lengths = "".join(f", {length}" for length in stage.output.lengths)
            lines.append(
                f"  {stage.kind}_{stage.number} -> buffer_{stage.output.number} [{place}{lengths}], "
                f"{stage.block_pages} pages per tile"
            )
        return "\n".join([*lines, f"  choose by {self.choice.op}"])


def make_plan(graph: Graph) -> Plan:
    """Plan a graph. Raises CannotCompile, which names the operation, for what cannot be compiled yet."""
    lowering, layout = Lowering(graph), Layout(graph)
    planner = _Planner(lowering)
    choice = planner.choice(graph.selection)
    summaries = tuple(Summary(field, field.field.node) for field in layout.fields)
    for summary in summaries:
        _require_summary(lowering, summary)
    return Plan(graph, layout, lowering, summaries, tuple(planner.stages), choice)


def _require_summary(lowering: Lowering, summary: Summary) -> None:
    """Refuse a field whose tiles would be too large."""
    elements = _largest_tile(lowering.whole(summary.node))
    _require_tile(elements, 1)


class _Planner:
    """Cuts expressions into stages where pages are mixed."""

    def __init__(self, lowering: Lowering) -> None:
        self.stages: list[Stage] = []
        self._lowering = lowering
        self._pool: Pool = lowering.pool
        self._resolved: dict[Expr, Expr] = {}
        self._stored: dict[Expr, Expr] = {}
        self._outputs: dict[Expr, Buffer] = {}

    def choice(self, node: Node) -> Choice:
        """Plan a selection and all that it needs."""
        selections = [arg for arg in node.args if arg.type.kind == "selection"]
        values = [arg for arg in node.args if arg.type.kind != "selection"]
        parts = tuple(self.choice(part) for part in selections)
        if not values:
            return Choice(node.op, None, (), parts)
        score, *numbers = [self._output(self._pool.numeric(self._lowering.whole(value))) for value in values]
        return Choice(node.op, score, tuple(numbers), parts)

    def _output(self, value: Expr) -> Buffer:
        """Plan the stages that compute a value, the last of which stores it."""
        value = self._with_stored(self._resolve(value))
        if value not in self._outputs:
            self._outputs[value] = self._stage("map" if value.paged else "row", value)
        return self._outputs[value]

    def _resolve(self, root: Expr) -> Expr:
        """Put loads of buffers in the place of operations that mix pages, and plan the stages that fill those."""
        for expr in walk((root,)):
            if expr in self._resolved:
                continue
            again = self._pool.rebuilt(expr, tuple(self._resolved[arg] for arg in expr.args))
            if expr.op == "page_reduce":
                again = self._reduced(again)
            elif expr.op == "page_scan":
                again = self._scanned(again)
            self._resolved[expr] = again
        return self._resolved[root]

    def _reduced(self, expr: Expr) -> Expr:
        operand = self._store_reductions(expr.args[0])
        key = self._pool.make("page_reduce", (operand,), expr.attrs, without=PAGE_LOOP)
        if key not in self._outputs:
            self._outputs[key] = self._stage("reduce", operand, str(expr.attrs[0]))
        return self._load(self._outputs[key], None)

    def _scanned(self, expr: Expr) -> Expr:
        operand, page = expr.args
        operand = self._store_reductions(operand)
        key = self._pool.make("page_scan", (operand, self._pool.loop(PAGE_LOOP)))
        if key not in self._outputs:
            self._outputs[key] = self._stage("scan", operand)
        return self._load(self._outputs[key], page)

    def _store_reductions(self, root: Expr) -> Expr:
        """Let a map stage compute each reduction within pages, so that walking over the pages is cheap."""
        for expr in _outermost_reductions(root):
            if expr not in self._stored:
                buffer = self._stage("map", self._with_stored(expr))
                self._stored[expr] = self._load(buffer, self._pool.loop(PAGE_LOOP))
        return self._with_stored(root)

    def _with_stored(self, root: Expr) -> Expr:
        """Load what a map stage has stored instead of computing it again."""
        made: dict[Expr, Expr] = {}
        for expr in walk((root,)):
            again = self._pool.rebuilt(expr, tuple(made[arg] for arg in expr.args))
            made[expr] = self._stored.get(expr, again)
        return made[root]

    def _load(self, buffer: Buffer, page: Expr | None) -> Expr:
        indices = [] if page is None else [page]
        indices += [self._pool.loop(loop) for loop in buffer.loops]
        return self._pool.make("load", indices, (Source("buffer", buffer.number, buffer.lengths),))

    def _stage(self, kind: StageKind, value: Expr, how: str = "") -> Buffer:
        elements = _largest_tile(value)
        block_pages = min(max(TILE_ELEMENTS // elements, 1), MAX_BLOCK_PAGES)
        _require_tile(elements, block_pages)
        number = len(self.stages)
        paged = kind in ("map", "scan")
        buffer = Buffer(number, paged, tuple(loop for loop in value.loops if loop.name != PAGE))
        self.stages.append(Stage(number, kind, value, buffer, block_pages, how))
        return buffer


def _outermost_reductions(root: Expr) -> list[Expr]:
    """Give the reductions over other axes than `page`, of values that differ between pages, that no other contains."""
    found: dict[Expr, None] = {}
    seen: set[Expr] = set()
    stack = [root]
    while stack:
        expr = stack.pop()
        if expr in seen:
            continue
        seen.add(expr)
        if expr.op == "reduce" and expr.paged:
            found[expr] = None
        else:
            stack.extend(expr.args)
    return list(found)


def _largest_tile(root: Expr) -> int:
    """Give the most elements that any value has per page, padding included."""
    return max(prod(loop.padded for loop in expr.loops if loop != PAGE_LOOP) for expr in walk((root,)))


def _require_tile(elements: int, block_pages: int) -> None:
    if elements * block_pages > MAX_TILE_ELEMENTS:
        message = (
            f"the Triton compiler cannot compile this program yet: an operation has {elements} elements per page, "
            f"Triton's limit is {MAX_TILE_ELEMENTS}; reduce over 'dim' or 'token' earlier, or take fewer channels"
        )
        raise CannotCompile(message)


__all__ = ["Buffer", "Choice", "Plan", "Stage", "Summary", "make_plan"]
