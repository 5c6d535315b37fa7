"""A program's select as a tape for `kernels.tape`: places for all values, and instructions that fill them.

Every value has a place of its own in canonical order without gaps, pages first. An operand that an instruction wants
in another order, or repeated along axes that it lacks, is copied first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kernels.host import tape as machine
from kernels.host.tape import ALONG, LEAVES, MAPS, REDUCTIONS, WIDTH
from vortex_dsl.ops.elementwise import MASK32, mix32
from vortex_dsl.ops.rearranging import taken
from vortex_dsl.values import DIM, PAGE, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl.analysis.stages import Contraction, Stages
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.node import Node
    from vortex_dsl.values import Type

COPIED_AXES = 4
DOT_AXES = 3
MOST_PER_PAGE = 4096  # numbers that a tape may keep per page: longer ones are left to torch, which works by blocks
PER_LAYER = ("layer.index", "layer.count", "scale")
Names = tuple[str, ...]


class _Unwritable(Exception):  # noqa: N818  (no error: such a program runs in torch)
    """The machine has no instruction for it."""


class Size(NamedTuple):
    """A number that may grow with a row's complete pages: `fixed + each * pages`."""

    fixed: int
    each: int = 0

    def times(self, other: Size) -> Size:
        """Multiply two, at most one of which grows."""
        if self.each and other.each:
            raise _Unwritable
        return Size(self.fixed * other.fixed, self.fixed * other.each + self.each * other.fixed)


ONE, NONE = Size(1), Size(0)


class Place(NamedTuple):
    """Where a value lies: at a number of its own region, of values with pages or of all others."""

    paged: bool
    at: int


Line = dict[int, int | Size | Place]  # of an instruction, by where it stands there


@dataclass(frozen=True, eq=False)
class Tape:
    """What `kernels.tape.run` takes. `numbers` begin the scratch; `per_layer` tells where what a layer knows lies.

    fields: canonical names in the order in which instructions name them; result: a place as a `Size`; a scratch for
    `max_pages` pages has `small + columns * max_pages` numbers.
    """

    lines: np.ndarray
    numbers: np.ndarray
    per_layer: dict[str, int]
    fields: tuple[str, ...]
    result: np.ndarray
    small: int
    columns: int


def tape_of(graph: Graph, stages: Stages) -> Tape | None:
    """Write a program as a tape; None where it needs what the machine has not: states, tokens, rarer operations."""
    if graph.states:
        return None
    try:
        return _Writer(graph, stages).tape()
    except _Unwritable:
        return None


@dataclass
class _Writer:
    graph: Graph
    stages: Stages
    places: dict[Node, Place] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    per_layer: dict[str, int] = field(default_factory=dict)
    small: int = 0
    columns: int = 0

    def tape(self) -> Tape:
        """Write everything."""
        leaves = [node for node in self.graph.select_nodes if node.op in ("constant", "input")]
        known = [node for node in leaves if node.op == "constant" or node.attr("name") in PER_LAYER]
        for node in known:
            self._number(node)
        for node in leaves:
            if node not in self.places:
                self._leaf(node)
        for node in self.stages.loaded:
            self._field(node)
        by_node = {each.node: each for each in self.stages.contractions}
        for node in self.graph.select_nodes:
            if node in self.places or node.op == "field":
                continue
            if node in by_node:
                self._contract(by_node[node])
            else:
                self._compute(node)
        if self.columns > MOST_PER_PAGE:
            raise _Unwritable
        return Tape(
            lines=np.array([self._encoded(line) for line in self.lines], np.int64).reshape(-1, WIDTH),
            numbers=np.array(self.numbers, np.float32),
            per_layer=self.per_layer,
            fields=tuple(each.name for each in self.graph.fields),
            result=np.array(self._size(self.places[self.graph.selection]), np.int64),
            small=self.small,
            columns=self.columns,
        )

    def _size(self, place: Place) -> Size:
        return Size(self.small, place.at) if place.paged else Size(place.at)

    def _encoded(self, line: Line) -> list[int]:
        numbers = [0] * WIDTH
        for at, what in line.items():
            if isinstance(what, int):
                numbers[at] = what
            else:
                numbers[at : at + 2] = self._size(what) if isinstance(what, Place) else what
        return numbers

    def _emit(self, op: str, fn: int, to: Place, *operands: Place, more: Line | None = None) -> None:
        places = dict(zip((machine.ONE, machine.OTHER, machine.THIRD), operands, strict=False))
        start: Line = {machine.OP: machine.TAPE_OPS.index(op), machine.FN: fn, machine.TO: to}
        self.lines.append(start | places | (more or {}))

    def _room(self, sizes: Sequence[Size]) -> Place:
        """Make room for a value."""
        total = _product(sizes)
        if total.each:
            self.columns += total.each
            return Place(True, self.columns - total.each)
        self.small += total.fixed
        return Place(False, self.small - total.fixed)

    def _number(self, node: Node) -> None:
        if node.op == "input":
            self.per_layer[node.attr("name")] = len(self.numbers)
        self.places[node] = self._room([])
        self.numbers.append(0.0 if node.number is None else node.number)

    def _leaf(self, node: Node) -> None:
        name = node.attr("name")
        if name not in LEAVES:
            raise _Unwritable  # raw keys and values
        self.places[node] = self._made_leaf(name, _sizes(node.type))

    def _made_leaf(self, name: str, sizes: Sequence[Size]) -> Place:
        place = self._room(sizes)
        self._emit("leaf", LEAVES.index(name), place, more={machine.SIZES: _product(sizes)})
        return place

    def _field(self, node: Node) -> None:
        if node.op != "field":
            raise _Unwritable
        self.places[node] = self._room(_sizes(node.type))
        self._emit("load", self.graph.field(node).index, self.places[node])

    def _contract(self, each: Contraction) -> None:
        query, _ = self._arranged(each.query, (*each.queries, DIM))
        names = (PAGE, *each.vectors, *each.queries)
        sizes = [Size(0, 1), *(Size(length) for length in each.lengths)]
        place, fn = self._room(sizes), self.graph.field(each.field).index
        num_queries = _product(sizes[1 + len(each.vectors) :])
        self._emit("contract", fn, place, query, more={machine.SIZES: num_queries})
        self.places[each.node] = self._copied(place, dict(zip(names, sizes, strict=True)), each.node.type.names)

    def _compute(self, node: Node) -> None:
        sizes, op = _sizes(node.type), node.op
        if node.type.kind is Kind.SELECTION:
            self.places[node] = self._selection(node)
        elif op in MAPS:
            operands = [self._expanded(arg, node.type) for arg in node.args]
            seed = mix32(node.attr("seed") & MASK32) if op == "hash" else 0
            self.places[node] = self._mapped(op, sizes, *operands, seed=seed)
        elif op in REDUCTIONS:
            self._reduce(node, sizes)
        elif op in ALONG:
            self._normalize(node)
        elif op == "dot":
            self._dot(node, sizes)
        elif op == "take":
            self._take(node, sizes)
        else:
            raise _Unwritable

    def _mapped(self, op: str, sizes: Sequence[Size], *operands: Place, seed: int = 0) -> Place:
        place = self._room(sizes)
        self._emit("map", MAPS.index(op), place, *operands, more={machine.SIZES: _product(sizes), machine.SEED: seed})
        return place

    def _selection(self, node: Node) -> Place:
        pages = [Size(0, 1)]
        match node.op, node.args:
            case "every_page", _:
                return self._made_leaf("candidates", pages)
            case "reserved_only", _:
                return self._mapped("ne", pages, *[self._made_leaf("candidates", pages)] * 2)
            case "union", (a, b):
                return self._mapped("or", pages, self.places[a], self.places[b])
            case "topk", (score, n):
                allowed = self._made_leaf("candidates", pages)
            case "refine", (chosen, score, n):
                allowed = self.places[chosen]
            case "above", (score, threshold, n):
                over = self._mapped("gt", pages, self.places[score], self._expanded(threshold, score.type))
                allowed = self._mapped("and", pages, over, self._made_leaf("candidates", pages))
            case _:
                raise _Unwritable
        place = self._room(pages)
        self._emit("best", 0, place, self.places[score], allowed, self.places[n], more={machine.SIZES: Size(0, 1)})
        return place

    def _reduce(self, node: Node, sizes: Sequence[Size]) -> None:
        source, gone = node.args[0], node.attr("axes")
        kept = tuple(name for name in source.type.names if name not in gone)
        reduced = tuple(name for name in source.type.names if name in gone)
        operand, lengths = self._arranged(source, (*kept, *reduced))
        inner = _product([lengths[name] for name in reduced])
        self.places[node] = self._room(sizes)
        more: Line = {machine.SIZES: _product(sizes), machine.SIZES + 2: inner}
        self._emit("reduce", REDUCTIONS.index(node.op), self.places[node], operand, more=more)

    def _normalize(self, node: Node) -> None:
        axis = node.attr("axis")
        names = (*(name for name in node.type.names if name != axis), axis)
        operand, lengths = self._arranged(node.args[0], names)
        sizes = [lengths[name] for name in names]
        place = self._room(sizes)
        more: Line = {machine.SIZES: _product(sizes), machine.SIZES + 2: lengths[axis]}
        self._emit("along", ALONG.index(node.op), place, operand, more=more)
        self.places[node] = self._copied(place, lengths, node.type.names)

    def _dot(self, node: Node, sizes: Sequence[Size]) -> None:
        axis, operands, strides = node.attr("axis"), [], []
        for arg in node.args:
            names = (*(name for name in arg.type.names if name != axis), axis)
            place, lengths = self._arranged(arg, names)
            by_name = _strides(lengths)
            operands.append(place)
            strides.append([by_name.get(name, NONE) for name in node.type.names])
        length = dict(zip(node.args[0].type.names, _sizes(node.args[0].type), strict=True))[axis]
        self.places[node] = self._room(sizes)
        more = _merged(sizes, strides, DOT_AXES) | {machine.SIZES + 6: length}
        self._emit("dot", 0, self.places[node], *operands, more=more)

    def _take(self, node: Node, sizes: Sequence[Size]) -> None:
        source, axis = node.args[0], node.attr("axis")
        kept = taken(node.attr("indices"), source.type.length(axis))
        step = kept[1] - kept[0] if len(kept) > 1 else 1
        if kept != list(range(kept[0], kept[0] + step * len(kept), step)):
            raise _Unwritable
        by_name = _strides(dict(zip(source.type.names, _sizes(source.type), strict=True)))
        offset = by_name[axis].times(Size(kept[0]))
        strides = [by_name[name].times(Size(step if name == axis else 1)) for name in node.type.names]
        if offset.each:
            raise _Unwritable
        start = self.places[source]
        if start.paged and offset.fixed:
            raise _Unwritable  # a place counts by column there
        self.places[node] = self._room(sizes)
        more = _merged(sizes, [strides], COPIED_AXES)
        self._emit("copy", 0, self.places[node], Place(start.paged, start.at + offset.fixed), more=more)

    def _expanded(self, node: Node, target: Type) -> Place:
        """Give a value with all axes of another, in their order."""
        lengths = dict(zip(node.type.names, _sizes(node.type), strict=True))
        wanted = dict(zip(target.names, _sizes(target), strict=True))
        return self._copied(self.places[node], lengths, target.names, wanted)

    def _arranged(self, node: Node, names: Names) -> tuple[Place, dict[str, Size]]:
        """Give a value with its axes in another order, and their lengths in that order."""
        lengths = dict(zip(node.type.names, _sizes(node.type), strict=True))
        return self._copied(self.places[node], lengths, names), {name: lengths[name] for name in names}

    def _copied(
        self, place: Place, lengths: dict[str, Size], names: Names, wanted: dict[str, Size] | None = None
    ) -> Place:
        """Give a value whose axes are `lengths`, in that order, as `names` says; a copy where that differs."""
        wanted = wanted or lengths
        if tuple(lengths) == names:
            return place
        by_name = _strides(lengths)
        sizes = [wanted[name] for name in names]
        to = self._room(sizes)
        more = _merged(sizes, [[by_name.get(name, NONE) for name in names]], COPIED_AXES)
        self._emit("copy", 0, to, place, more=more)
        return to


def _sizes(type_: Type) -> list[Size]:
    return [Size(0, 1) if axis.length is None else Size(axis.length) for axis in type_.axes]


def _product(sizes: Sequence[Size]) -> Size:
    total = ONE
    for size in sizes:
        total = total.times(size)
    return total


def _strides(lengths: dict[str, Size]) -> dict[str, Size]:
    """Give how far apart elements lie along each axis of a value without gaps."""
    strides, step = {}, ONE
    for name in reversed(lengths):
        strides[name] = step
        step = step.times(lengths[name])
    return strides


def _merged(sizes: Sequence[Size], strides: Sequence[Sequence[Size]], most: int) -> Line:
    """Give lengths of `most` axes, and for each operand how far an element lies from the next along them.

    Axes that follow each other in every operand become one.
    """
    merged: list[tuple[Size, tuple[Size, ...]]] = []
    for size, *steps in reversed(list(zip(sizes, *strides, strict=True))):
        if size == ONE:
            continue
        if merged and all(step == last.times(merged[-1][0]) for step, last in zip(steps, merged[-1][1], strict=True)):
            merged[-1] = (merged[-1][0].times(size), merged[-1][1])
        else:
            merged.append((size, tuple(steps)))
    if len(merged) > most:
        raise _Unwritable
    merged += [(ONE, (NONE,) * len(strides))] * (most - len(merged))
    line: Line = {}
    for i, (size, steps_) in enumerate(reversed(merged)):
        line[machine.SIZES + 2 * i] = size
        line |= {at + 2 * i: step for at, step in zip((machine.STRIDES, machine.OTHER_STRIDES), steps_, strict=False)}
    return line
