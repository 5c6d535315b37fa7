"""Where a tape's values lie, and the instructions that read leaves and bring values into another order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernels.host import lines
from kernels.host.lines import AXES, FN, OP, SEED, SIZES, TO
from kernels.host.tape import FAMILIES, FUNCTIONS, LEAVES
from vortex_dsl.backends.tape.places import (
    NONE,
    PAGES,
    Line,
    Place,
    Region,
    Size,
    Unwritable,
    Value,
    lengths_of,
    merged,
    product,
    strides,
)
from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl.backends.tape.places import Lengths
    from vortex_dsl.graph.graph import State
    from vortex_dsl.node import Node
    from vortex_dsl.values import Type

PER_LAYER = ("layer.index", "layer.count", "scale")
MOST_PER_PAGE = 4096  # numbers that are kept per page of a row: 32 MiB where it has 2,048 pages
MOST_IN_BLOCK = 2**21  # numbers per page between two operations: 8 MiB
BLOCK_NUMBERS = 2**15  # of a block of pages: 128 KiB, which stay in the second cache


@dataclass
class Scratch:
    """How much room a tape needs so far: numbers, and columns per page of a row and of the block at hand."""

    numbers: list[float] = field(default_factory=list)
    small: int = 0
    columns: int = 0
    block_columns: int = 0
    block_room: int = 0


@dataclass
class Writer:
    """A tape in the making. fields: what is read of pages, fields by canonical name and raw pages by theirs.

    `kept`: where each state lies among all of them; `by_blocks`: whether the segment at hand works so.
    """

    fields: dict[Node, str]
    states: tuple[State, ...]
    memory: Scratch = field(default_factory=Scratch)
    lines: list[Line] = field(default_factory=list)
    per_layer: dict[str, int] = field(default_factory=dict)
    by_blocks: bool = False
    _kept: dict[Node, Size] = field(default_factory=dict)
    _values: dict[Node, Value] = field(default_factory=dict)
    _of_block: dict[Node, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = NONE
        for state in self.states:
            self._kept[state.leaf] = start
            size = product([*lengths_of(state.type).values()])
            start = Size(start.fixed + size.fixed, start.each + size.each)

    def begin(self, *, by_blocks: bool) -> None:
        """Begin a segment, with an empty block."""
        self.by_blocks, self.memory.block_columns = by_blocks, 0
        self._of_block.clear()

    def end(self) -> int:
        """Settle how many pages a block of this segment has, 0 where it does not work by blocks."""
        memory = self.memory
        if memory.block_columns > MOST_IN_BLOCK or memory.columns > MOST_PER_PAGE:
            reason = f"it needs {memory.columns} numbers per page and {memory.block_columns} between two operations"
            raise Unwritable(f"{reason}; the machine has room for {MOST_PER_PAGE} and {MOST_IN_BLOCK}")
        if not self.by_blocks:
            return 0
        pages = max(1, BLOCK_NUMBERS // max(memory.block_columns, 1))
        memory.block_room = max(memory.block_room, pages * memory.block_columns)
        return pages

    # Memory and instructions

    def room(self, sizes: Sequence[Size]) -> Place:
        """Make room for a value."""
        total, memory = product(sizes), self.memory
        if not total.each:
            memory.small += total.fixed
            return Place(Region.SMALL, memory.small - total.fixed)
        if self.by_blocks:
            memory.block_columns += total.each
            return Place(Region.BLOCK, memory.block_columns - total.each)
        return self.full_room(total)

    def full_room(self, total: Size) -> Place:
        """Make room for a value of all pages of a row."""
        self.memory.columns += total.each
        return Place(Region.FULL, self.memory.columns - total.each)

    def made(self, lengths: Lengths) -> Value:
        """Make room for a value with these axes, pages first."""
        return Value(self.room([*lengths.values()]), lengths)

    def numbers(self, numbers: Sequence[float]) -> Place:
        """Give known numbers a place."""
        self.memory.numbers += numbers
        return Place(Region.NUMBERS, len(self.memory.numbers) - len(numbers))

    def emit(self, op: str, to: Place, *operands: Place, fn: int = 0, more: Line | None = None) -> None:
        """Write an instruction: a family of the machine, or one of the functions of a family that has several."""
        family = next((name for name, functions in FUNCTIONS.items() if op in functions), op)
        fn = FUNCTIONS[family].index(op) if family in FUNCTIONS else fn
        places = dict(zip((lines.ONE, lines.OTHER, lines.THIRD), operands, strict=False))
        start: Line = {OP: FAMILIES.index(family), FN: fn, TO: to}
        self.lines.append(start | places | (more or {}))

    def mapped(self, op: str, lengths: Lengths, *operands: Place, seed: int = 0) -> Value:
        """Compute an elementwise operation of values that lie alike."""
        value = self.made(lengths)
        self.emit(op, value.place, *operands, more={SIZES: product([*lengths.values()]), SEED: seed})
        return value

    def copied(self, value: Value, names: Sequence[str], wanted: Lengths | None = None) -> Value:
        """Give a value with its axes in this order; `wanted` are lengths of axes that it may lack."""
        lengths = {name: (wanted or value.lengths)[name] for name in names}
        if tuple(lengths) == tuple(value.lengths):
            return value
        by_name, to = strides(value.lengths), self.made(lengths)
        more = merged([*lengths.values()], [[by_name.get(name, NONE) for name in names]], AXES)
        self.emit("copy", to.place, value.place, more=more)
        return to

    def expanded(self, node: Node, type_: Type) -> Value:
        """Give a value with all axes of a type, in canonical order."""
        return self.copied(self.value(node), type_.names, lengths_of(type_))

    # Values

    def value(self, node: Node) -> Value:
        """Give a value that was computed, or read a leaf: of the pages at hand."""
        if node in self._of_block:
            return self._of_block[node]
        if node not in self._values:
            return self._keep(node, self._leaf(node))
        value = self._values[node]
        if not (self.by_blocks and PAGE in value.lengths):
            return value
        own = self.made(value.lengths)
        self.emit("fetch", own.place, value.place, more={SIZES: _of_page(value)})
        return self._keep(node, own)

    def is_known(self, node: Node) -> bool:
        """Whether a value was computed already for the pages at hand."""
        return node in self._values or node in self._of_block

    def computed(self, node: Node, value: Value) -> None:
        """Say where the value of a node lies."""
        self._keep(node, value)

    def _keep(self, node: Node, value: Value) -> Value:
        (self._of_block if value.place.region is Region.BLOCK else self._values)[node] = value
        return value

    def store(self, node: Node) -> None:
        """Keep a block's value for later segments."""
        value = self._of_block[node]
        place = self.full_room(product([*value.lengths.values()]))
        self.emit("store", place, value.place, more={SIZES: _of_page(value)})
        self._values[node] = Value(place, value.lengths)

    def remember(self, state: State, update: Node) -> None:
        """Write a state's new value."""
        value, kept = self.expanded(update, state.type), self._kept[state.leaf]
        self.emit("keep", NOWHERE, value.place, fn=int(state.paged), more={lines.OTHER: kept, SIZES: _of_page(value)})

    # Leaves

    def _leaf(self, node: Node) -> Value:
        lengths = lengths_of(node.type)
        if node.op == "constant" or (node.op == "input" and node.attr("name") in PER_LAYER):
            if node.op == "input":
                self.per_layer[node.attr("name")] = len(self.memory.numbers)
            return Value(self.numbers([float(node.number or 0.0)]), lengths)
        value = self.made(lengths)
        if node in self.fields:
            self.emit("load", value.place, fn=self.index(node))
        elif node.op == "state":
            more: Line = {lines.OTHER: self._kept[node], SIZES: _of_page(value)}
            self.emit("recall", value.place, fn=int(PAGE in lengths), more=more)
        else:
            self.leaf(node.attr("name"), value)
        return value

    def leaf(self, name: str, value: Value) -> None:
        """Read one of select's small inputs."""
        if name not in LEAVES:
            raise Unwritable(f"the machine does not know '{name}'")
        self.emit(name, value.place, more={SIZES: product([*value.lengths.values()])})

    def candidates(self) -> Value:
        """Give which pages may be chosen."""
        value = self.made({PAGE: PAGES})
        self.leaf("candidates", value)
        return value

    def index(self, node: Node) -> int:
        """Give the number of a field or of raw pages among those that the tape names."""
        return [*self.fields].index(node)


NOWHERE = Place(Region.NUMBERS, 0)


def _of_page(value: Value) -> int:
    """Give how many numbers a page has, or a value without pages."""
    return product([length for name, length in value.lengths.items() if name != PAGE]).fixed
