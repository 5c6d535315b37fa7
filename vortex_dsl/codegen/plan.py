"""Graph -> Plan: which kernels run in which order, what they read and write, decided before any launch.

Scoring is cut where pages must be mixed, into rounds of up to three kinds of stages: one `map` stage computes pages
by themselves, a tile of pages per program; one `row` stage reduces over a row's pages; a `scan` stage sums along
them. What a stage leaves for a later one is a Buffer of float32 in memory. A row is one sequence and one KV head.
What only a refinement ranks by is computed for the pages that it refines, by stages of its own, behind all others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

from vortex_dsl.analysis.budget import covered, most_chosen
from vortex_dsl.analysis.layout import Layout
from vortex_dsl.analysis.schedule import is_limited, schedule
from vortex_dsl.codegen.lower import GraphLowering
from vortex_dsl.codegen.rounds import Buffer, Output, Rounds
from vortex_dsl.codegen.tiles import Tiles, choose_tiles
from vortex_dsl.ops.expression import PAGE_LOOP, Loop
from vortex_dsl.values import PAGE, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.node import Node
    from vortex_dsl.values import Axis

EVERY = 2**30  # more pages than any sequence has
NEVER = -(2**30)
WHOLE = 16
MOST_PAGES = {"map": 128, "row": 1024, "scan": 1024}  # per tile: map stages have many programs, others one per row


@dataclass(frozen=True)
class Launch:
    """One kernel: computes and writes its outputs, for all pages or only for those that `among` chooses and lists."""

    number: int
    kind: str
    outputs: tuple[Output, ...]
    tiles: Tiles
    among: Selecting | None = None

    @property
    def name(self) -> str:
        """Give the kernel's name."""
        return f"{self.kind}_{self.number}"

    @property
    def block_pages(self) -> int:
        """Give the pages of one tile; 1 where there are none."""
        return self.tiles.widths.get(PAGE_LOOP, 1)

    def room(self, max_pages: int) -> int:
        """Bound the pages of a row that are computed: by whole sixteens, which are one kernel to Triton."""
        if self.among is None or math.isinf(self.among.most):
            return max_pages
        return min(max(-(-int(self.among.most) // WHOLE), 1) * WHOLE, max_pages)

    def grid(self, rows: int, max_pages: int) -> tuple[int]:
        """Programs to launch: rows, for map stages each with its tiles of pages; other axes have a small bound."""
        return (rows * (-(-self.room(max_pages) // self.block_pages) if self.kind == "map" else 1),)


@dataclass(frozen=True)
class Selecting:
    """A selection: its operation, the score and the numbers that it goes by, and the selections it is made of.

    A number is known beforehand or stands in a buffer.
    """

    op: str
    score: Buffer | None
    numbers: tuple[Buffer | float, ...]
    parts: tuple[Selecting, ...]

    @property
    def most(self) -> float:
        """Give the candidates that it chooses at most, at any length; infinite where that has no bound."""
        limit = self.numbers[-1] if self.numbers else None
        return most_chosen(self.op, [part.most for part in self.parts], None if isinstance(limit, Buffer) else limit)


@dataclass(frozen=True, eq=False)
class Plan:
    """What runs at one decode step of one layer, in order, then which pages are chosen; `states` are the new ones."""

    graph: Graph
    layout: Layout
    lowering: GraphLowering
    stages: tuple[Launch, ...]
    choice: Selecting
    states: tuple[Buffer, ...]

    @cached_property
    def covered(self) -> int:
        """Give the number of candidates up to which all are chosen unscored; none where states need the scores."""
        return NEVER if self.graph.states else int(min(covered(self.graph.selection), EVERY))

    @property
    def num_launches(self) -> int:
        """Give the launches of a decode step: writing the newest token, scoring, choosing, attending, merging."""
        return 1 + len(self.stages) + 1 + 2

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Give the buffers in the order in which they are written."""
        return tuple(output.buffer for stage in self.stages for output in stage.outputs)

    def num_bytes(self, rows: int, max_pages: int) -> int:
        """Bytes of all buffers between stages, page lists aside."""
        return sum(buffer.num_bytes(rows, max_pages) for buffer in self.buffers)

    def __str__(self) -> str:
        lines = [f"plan {self.graph.digest}: {self.layout.bytes_per_page} bytes per page"]
        for stage in self.stages:
            written = ", ".join(map(describe, (output.buffer for output in stage.outputs)))
            lines.append(f"  {stage.name} -> {written}, {stage.block_pages} pages per tile")
        return "\n".join([*lines, f"  choose by {self.choice.op}"])


def describe(buffer: Buffer) -> str:
    """Give a buffer's name and axes."""
    lengths = "".join(f", {length}" for length in buffer.lengths)
    return f"buffer_{buffer.number} [{'row, page' if buffer.paged else 'row'}{lengths}]"


def make_plan(graph: Graph) -> Plan:
    """Plan a graph."""
    lowering, layout = GraphLowering(graph), Layout(graph)
    making = _Making(graph, lowering)
    choice = making.choice(graph.selection)
    every = making.everywhere
    states = tuple(_want(every, lowering, state.update, state.type.axes, state.index) for state in graph.states)
    return Plan(graph, layout, lowering, tuple(making.stages()), choice, states)


class _Making:
    """A plan that is being made: what is computed for all pages, and for the pages of which selections."""

    def __init__(self, graph: Graph, lowering: GraphLowering) -> None:
        self._lowering, self._numbers = lowering, count()
        self._scored = {node for cut in schedule(graph) if cut.among is None for node in cut.nodes}
        self.everywhere = Rounds(lowering, self._numbers)
        self._limited: list[tuple[Selecting, Rounds]] = []

    def choice(self, node: Node) -> Selecting:
        """Plan a selection and all that it needs."""
        parts = tuple(self.choice(arg) for arg in node.args if arg.type.kind is Kind.SELECTION)
        values = [arg for arg in node.args if arg.type.kind is not Kind.SELECTION]
        if not values:
            return Selecting(node.op, None, (), parts)
        score = _want(self._rounds(node, parts), self._lowering, values[0], values[0].type.axes)
        numbers = tuple(self._number(value) for value in values[1:])
        return Selecting(node.op, score, numbers, parts)

    def _rounds(self, node: Node, parts: tuple[Selecting, ...]) -> Rounds:
        """Give where a selection's score is computed."""
        if not is_limited(node) or node.args[1] in self._scored:
            return self.everywhere
        self._limited.append((parts[0], Rounds(self._lowering, self._numbers)))
        return self._limited[-1][1]

    def _number(self, node: Node) -> Buffer | float:
        return float(node.number) if node.number is not None else _want(self.everywhere, self._lowering, node, ())

    def stages(self) -> Iterator[Launch]:
        """Give all stages in the order in which they run."""
        number = count()
        for among, rounds in ((None, self.everywhere), *self._limited):
            for kind, outputs in rounds.stages():
                yield _stage(next(number), kind, outputs, among if kind == "map" else None)


def _want(
    rounds: Rounds, lowering: GraphLowering, node: Node, axes: tuple[Axis, ...], state: int | None = None
) -> Buffer:
    loops = tuple(Loop(axis.name, axis.length) for axis in axes if axis.name != PAGE)
    value = lowering.pool.numeric(lowering.whole(node))
    return rounds.want(value, paged=PAGE in [axis.name for axis in axes], loops=loops, state=state)


def _stage(number: int, kind: str, outputs: tuple[Output, ...], among: Selecting | None) -> Launch:
    targets = [(PAGE_LOOP, *o.buffer.loops) if o.buffer.paged else o.buffer.loops for o in outputs]
    tiles = choose_tiles([output.value for output in outputs], targets, MOST_PAGES[kind], walks=kind != "map")
    return Launch(number, kind, outputs, tiles, among)
