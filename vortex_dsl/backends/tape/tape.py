"""A program's select as a tape for `kernels.host.tape`: places for all values, and instructions that fill them.

Every value has a place of its own without gaps, pages first. An operand that an instruction wants in another order, or
repeated along axes that it lacks, is copied first. What is computed page by page lies in a block's memory, and is
stored where later segments need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernels.host.lines import WIDTH
from kernels.host.tape import SEGMENT
from vortex_dsl.backends.tape.emission import emitted
from vortex_dsl.backends.tape.order import is_page_wise, segments_of, simplified
from vortex_dsl.backends.tape.places import Place, Region, Size, Unwritable
from vortex_dsl.backends.tape.writer import Writer
from vortex_dsl.graph.graph import RAW_PAGES
from vortex_dsl.node import LEAVES
from vortex_dsl.ops.op import InTorch
from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl.backends.tape.order import Roots, Segment
    from vortex_dsl.backends.tape.places import Line
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.node import Node


@dataclass(frozen=True, eq=False)
class Tape:
    """What `kernels.host.tape.run` takes. `numbers` begin the scratch; `per_layer` tells where what a layer knows lies.

    fields: canonical names and those of raw pages, in the order in which instructions name them; result: a place as a
    `Size`; a scratch for `max_pages` pages has `small + columns * max_pages` numbers.
    """

    lines: np.ndarray
    segments: np.ndarray
    numbers: np.ndarray
    per_layer: dict[str, int]
    fields: tuple[str, ...]
    result: np.ndarray
    small: int
    columns: int

    def num_numbers(self, max_pages: int) -> int:
        """Give how long a scratch has to be."""
        return self.small + self.columns * max_pages


def tape_of(graph: Graph) -> Tape | InTorch:
    """Write a program as a tape; or say why it runs in torch."""
    try:
        return _written(graph)
    except Unwritable as reason:
        return InTorch(str(reason))


def _written(graph: Graph) -> Tape:
    roots = simplified(graph)
    wanted = set(roots.nodes)
    names = {field.leaf: field.name for field in graph.fields}
    raw = {node: node.attr("name") for node in roots.nodes if node.op == "input" and node.attr("name") in RAW_PAGES}
    writer = Writer({node: name for node, name in (names | raw).items() if node in wanted}, graph.states)
    segments: list[tuple[int, int, int, Node | None]] = []
    stored = _stored(roots, cut := segments_of(roots))
    writer.begin(by_blocks=False)
    for node in roots.nodes:
        if node.op in LEAVES and PAGE not in node.type.names:
            writer.value(node)
    segments.append((0, len(writer.lines), writer.end(), None))
    for segment in cut:
        first = len(writer.lines)
        _write_segment(writer, segment, stored)
        segments.append((first, len(writer.lines), writer.end(), segment.among))
    first = len(writer.lines)
    writer.begin(by_blocks=False)
    updates = dict(roots.updates)
    for state in graph.states:
        writer.remember(state, updates[state.leaf])
    segments.append((first, len(writer.lines), writer.end(), None))
    return _encoded(writer, roots, segments)


def _write_segment(writer: Writer, segment: Segment, stored: set[Node]) -> None:
    writer.begin(by_blocks=segment.by_blocks)
    for node in segment.nodes:
        writer.computed(node, emitted(writer, node))
    for node in segment.nodes:
        if node in stored:
            writer.store(node)


def _stored(roots: Roots, segments: Sequence[Segment]) -> set[Node]:
    """Give what is computed by blocks and needed by another segment, or by a state."""
    own = {node: i for i, segment in enumerate(segments) for node in segment.nodes}
    needed = {arg for node, i in own.items() for arg in node.args if own.get(arg, i) != i}
    needed |= {value for _, value in roots.updates if value in own}
    return {node for node in needed if is_page_wise(node)}


def _encoded(writer: Writer, roots: Roots, segments: list[tuple[int, int, int, Node | None]]) -> Tape:
    """Settle where each region begins, and write all as integers."""
    memory = writer.memory
    small = len(memory.numbers) + memory.small

    def size(place: Place) -> Size:
        match place.region:
            case Region.NUMBERS:
                return Size(place.at + place.offset)
            case Region.SMALL:
                return Size(len(memory.numbers) + place.at + place.offset)
            case Region.BLOCK:
                return Size(small + place.offset, place.at)
            case Region.FULL:
                return Size(small + memory.block_room + place.offset, place.at)

    def encoded(line: Line) -> list[int]:
        numbers = [0] * WIDTH
        for at, what in line.items():
            if isinstance(what, int):
                numbers[at] = what
            else:
                numbers[at : at + 2] = size(what) if isinstance(what, Place) else what
        return numbers

    def among(selection: Node | None) -> tuple[int, ...]:
        return (-1, 0) if selection is None else tuple(size(writer.value(selection).place))

    writer.begin(by_blocks=False)
    return Tape(
        lines=np.array([encoded(line) for line in writer.lines], np.int64).reshape(-1, WIDTH),
        segments=np.array([(*one[:3], *among(one[3])) for one in segments if one[0] < one[1]], np.int64).reshape(
            -1, SEGMENT
        ),
        numbers=np.array(memory.numbers, np.float32),
        per_layer=writer.per_layer,
        fields=tuple(writer.fields.values()),
        result=np.array(size(writer.value(roots.selection).place), np.int64),
        small=small + memory.block_room,
        columns=memory.columns,
    )
