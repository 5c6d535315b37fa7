"""Plan -> Triton source text, one kernel per stage and one for summarize.

Every name is made here: words of ours and a number. Nothing of a program's text, not even a name, is copied. Tiles
have fixed sizes, so a kernel does not change with the length of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import TYPE_CHECKING, TypeVar

from vortex_dsl.codegen.address import Place, Pointers, spread, times
from vortex_dsl.codegen.packing import Store, stores
from vortex_dsl.codegen.plan import describe
from vortex_dsl.codegen.scope import word
from vortex_dsl.codegen.tiles import choose_tiles
from vortex_dsl.codegen.writer import Writer, full, function
from vortex_dsl.ops.expression import PAGE_LOOP, Loop, Source, walk
from vortex_dsl.storage import SCALE_BYTES, vector_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vortex_dsl.analysis.layout import Layout
    from vortex_dsl.codegen.plan import Launch, Plan
    from vortex_dsl.codegen.rounds import Output
    from vortex_dsl.codegen.scope import Scope
    from vortex_dsl.codegen.tiles import Tiles
    from vortex_dsl.graph.graph import Field
    from vortex_dsl.ops.expression import Expr

T = TypeVar("T")
ROW_ARGUMENTS = (
    *("seq_lens_0", "block_table_0", "table_stride_0", "num_kv_heads_0", "max_pages_0"),
    *("layer_index_0", "layer_count_0", "scale_0", "first_head_0", "covered_0"),
)

LIST_ARGUMENTS = ("among_0", "room_0", "num_0")  # of which pages are computed, see `emit_stage`

# Read while a sequence's length is awaited, so that one waits for both at once; what is behind its end may be anything.
_BLOCKS_AHEAD = (
    "ahead_0 = tl.load(block_table_0 + sequence_0 * table_stride_0 + page_0, mask=page_0 < max_pages_0, other=0)"
)
_LIST_AHEAD = "ahead_0 = tl.load(among_0 + row_0 * room_0 + place_0, mask=place_0 < room_0, other=0)"


@dataclass(frozen=True)
class Kernel:
    """One emitted function: its name, its text, and the memory it takes after the common arguments, in order."""

    name: str
    text: str
    sources: tuple[Source, ...]

    def page_bytes(self, layout: Layout, cached_bytes: int) -> int:
        """Give the bytes that it reads of a page and KV head: fields, and keys and values of so many bytes each."""
        sizes = {"page.k": cached_bytes, "page.v": cached_bytes, "codes": 1, "scales": SCALE_BYTES}
        total = 0
        for source in self.sources:
            if source.kind == "field":
                assert isinstance(source.key, int)
                field = layout.fields[source.key]
                total += prod(source.lengths) * vector_bytes(field.kind, 1)
            total += prod(source.lengths) * sizes.get(source.kind, 0)
        return total


def emit_stage(plan: Plan, stage: Launch) -> Kernel:
    """Emit one stage of select: `ROW_ARGUMENTS`, the sources, each with its strides, then the outputs.

    Where it computes only some pages, `LIST_ARGUMENTS` follow: which, int32 [row, room], that room, and how many.
    """
    return _StageEmitter(plan, stage).kernel()


def emit_summarize(plan: Plan) -> Kernel:
    """Emit summarize: slots, the sources, then per stored piece a pointer and two strides.

    Where a slot is the last of its block, one program per KV head computes the block's fields; all others return.
    """
    return _SummaryEmitter(plan).kernel()


def source_text(plan: Plan, summarize: Kernel | None, stages: Sequence[tuple[Launch, Kernel]]) -> str:
    """Join the kernels, each under a line that says what it writes, below a header of what they are made for."""
    shape, graph = plan.graph.shape, plan.graph
    parts = [f"# program {graph.digest}: group {shape.group}, head_dim {shape.head_dim}, page_size {graph.page_size}"]
    parts += [f"# field_{field.index}: [{_axes(field)}] as {field.storage}" for field in graph.fields]
    parts += [f"# summarize_0: the fields of one page of one kv head\n{summarize.text}"] if summarize else []
    for stage, kernel in stages:
        written = ", ".join(describe(output.buffer) for output in stage.outputs)
        parts.append(f"# {stage.name}: {written}, {stage.block_pages} pages per tile\n{kernel.text}")
    return "\n".join(parts)


def _axes(field: Field) -> str:
    return ", ".join(f"{word(Loop(axis.name, axis.length))} {axis.length}" for axis in field.type.axes)


class _StageEmitter:
    """Emits one stage of select."""

    def __init__(self, plan: Plan, stage: Launch) -> None:
        self._graph, self._pool, self._stage = plan.graph, plan.lowering.pool, stage
        self._memory = Pointers(plan.graph, stage.tiles)
        self._writer = Writer(self._pool, stage.tiles, self._memory)

    def kernel(self) -> Kernel:
        """Write the whole function."""
        self._head()
        for loops, together in grouped(self._stage.outputs, self._loops, self._stage.tiles).items():
            finish = self._scan if self._stage.kind == "scan" else self._store_all
            roots = [output.value for output in together] + [
                self._pool.loop(loop) for o in together for loop in o.buffer.loops
            ]
            self._writer.nest(self._writer.top, loops, roots, partial(finish, together))
        memory, names = self._memory, [f"out_{i}" for i in range(len(self._stage.outputs))]
        given = [*ROW_ARGUMENTS, *(LIST_ARGUMENTS if self._stage.among else ()), *memory.parameters(), *names]
        text = function(self._stage.name, given, self._writer.top.lines)
        return Kernel(self._stage.name, text, tuple(memory.sources))

    def _head(self) -> None:
        size, top, block = self._graph.page_size, self._writer.top, self._stage.block_pages
        is_map = self._stage.kind == "map"
        room = "room_0" if self._stage.among else "max_pages_0"
        tiles = [f"tiles_0 = ({room} + {block - 1}) // {block}", "tile_0 = tl.program_id(0) % tiles_0"]
        top.lines += [
            "begin()",
            *(tiles if is_map else []),
            f"number_0 = tl.program_id(0){' // tiles_0' if is_map else ''}",  # divided as int32, which is quick
            "row_0 = number_0.to(tl.int64)",
            "sequence_0 = (number_0 // num_kv_heads_0).to(tl.int64)",
            "kv_head_0 = (number_0 % num_kv_heads_0).to(tl.int64)",
            *(self._places() if is_map else ()),
            f"length_0 = tl.minimum(tl.load(seq_lens_0 + sequence_0).to(tl.int32), max_pages_0 * {size})",
            f"complete_0 = length_0 // {size}",
            f"count_0 = (length_0 + {size - 1}) // {size}",
            f"if count_0 - {self._graph.sink + self._graph.window} <= covered_0:",  # all are taken without scores
            "    return",
        ]
        if is_map:
            self._pages()

    @cached_property
    def _block(self) -> Expr | None:
        """Give the blocks of a tile's pages; None where nothing of them is read."""
        own, exprs = (self._pool.loop(PAGE_LOOP),), walk([output.value for output in self._stage.outputs])
        return next((expr for expr in exprs if expr.op == "block" and expr.args[:1] == own), None)

    def _places(self) -> list[str]:
        """Say which pages a tile covers: neighbours, or neighbours in the list of a refinement's pages."""
        block = self._stage.block_pages
        covered = f"tile_0 * {block} + tl.arange(0, {block})"
        if self._stage.among is not None:
            return ["listed_0 = tl.load(num_0 + row_0)", f"place_0 = {covered}", _LIST_AHEAD]
        return [f"page_0 = {covered}", *([_BLOCKS_AHEAD] if self._block is not None else [])]

    def _pages(self) -> None:
        """Say which of a tile's pages exist, and where they are."""
        top, listed, page = self._writer.top, self._stage.among is not None, self._pool.loop(PAGE_LOOP)
        place, end = ("place_0", "listed_0") if listed else ("page_0", "complete_0")
        top.lines += [
            f"if (tile_0 > 0) & (tile_0 * {self._stage.block_pages} >= {end}):",
            "    return",
            f"here_0 = {place} < {end}",
            *(["page_0 = tl.where(here_0, ahead_0, 0)"] if listed else []),
        ]
        top.learn(page, "page_0")
        top.learn(self._pool.boolean("exists", page), "here_0")
        if self._block is not None and not listed:
            top.learn(self._block, top.assign("block", "tl.where(here_0, ahead_0, 0).to(tl.int64)"))

    @staticmethod
    def _loops(output: Output) -> tuple[Loop, ...]:
        return output.buffer.loops

    def _store_all(self, outputs: list[Output], scope: Scope) -> None:
        for output in outputs:
            self._store(scope, output, scope[output.value], output.value.loops)

    def _scan(self, outputs: list[Output], scope: Scope) -> None:
        """Sum along the pages, a tile at a time."""
        (output,) = outputs
        value, loops = output.value, (PAGE_LOOP, *output.buffer.loops)
        total = scope.assign("total", full(self._stage.tiles.shape(output.buffer.loops), 0.0))
        inner = scope.open(PAGE_LOOP, self._stage.block_pages)
        self._writer.fill(inner, [value])
        here = spread(inner.mask(PAGE_LOOP), (PAGE_LOOP,), loops)
        part = inner.assign("part", f"tl.where({here}, {spread(inner[value], value.loops, loops)}, 0.0)")
        sums = inner.assign("scan_page", f"tl.cumsum({part}, 0) + {spread(total, output.buffer.loops, loops)}")
        self._store(inner, output, sums, loops)
        inner.lines.append(f"{total} = {total} + tl.sum({part}, 0)")
        scope.close(inner)

    def _store(self, scope: Scope, output: Output, value: str, own: tuple[Loop, ...]) -> None:
        """Write a tile to its buffer; what no page changes is written by one program of the row alone."""
        buffer = output.buffer
        loops = (PAGE_LOOP, *buffer.loops) if buffer.paged else buffer.loops
        lead, masks = "row_0", ["(tile_0 == 0)"] if self._stage.kind == "map" else []
        if buffer.paged:
            lead = spread(f"(row_0 * max_pages_0 + {scope.index(PAGE_LOOP)})", (PAGE_LOOP,), loops)
            masks = [spread(scope.mask(PAGE_LOOP), (PAGE_LOOP,), loops)]
        elif buffer.state is not None:
            masks.append("(complete_0 > 0)")
        pointer = f"out_{self._stage.outputs.index(output)} + {times(lead, prod(buffer.lengths))}"
        indices = tuple(self._pool.loop(loop) for loop in buffer.loops)
        place = Place(pointer, indices, buffer.lengths, loops, masks)
        scope.lines.append(self._memory.store(place, spread(value, own, loops), scope))


class _SummaryEmitter:
    """Emits summarize: one program per block and KV head."""

    def __init__(self, plan: Plan) -> None:
        self._pool, self._page_size = plan.lowering.pool, plan.graph.page_size
        self._stores = [store for layout in plan.layout.fields for store in stores(plan.lowering, layout)]
        roots = [expr for store in self._stores for expr in (store.value, *store.indices)]
        tiles = choose_tiles(roots, [_store_loops(store) for store in self._stores], 1, walks=False)
        self._memory = Pointers(plan.graph, tiles)
        self._writer = Writer(self._pool, tiles, self._memory)

    def kernel(self) -> Kernel:
        """Write the whole function."""
        top, size = self._writer.top, self._page_size
        top.lines += [
            "slot_0 = slot_of(slots_0)",
            f"if (slot_0 < 0) | (slot_0 % {size} != {size - 1}):",
            "    return",
            f"block_0 = slot_0 // {size}",
            "kv_head_0 = tl.program_id(1).to(tl.int64)",
        ]
        for loops, together in grouped(self._stores, _store_loops, self._memory.tiles).items():
            roots = [expr for store in together for expr in (store.value, *store.indices)]
            self._writer.nest(top, loops, roots, partial(self._store_all, together))
        outputs = [name for i in range(len(self._stores)) for name in (f"out_{i}", f"out_block_{i}", f"out_head_{i}")]
        text = function("summarize_0", ["slots_0", *self._memory.parameters(), *outputs], top.lines)
        return Kernel("summarize_0", text, tuple(self._memory.sources))

    def _store_all(self, together: list[Store], scope: Scope) -> None:
        for store in together:
            i, loops = self._stores.index(store), _store_loops(store)
            pointer = f"out_{i} + block_0 * out_block_{i} + kv_head_0 * out_head_{i}"
            value = store.conversion.format(spread(scope[store.value], store.value.loops, loops))
            place = Place(pointer, store.indices, store.lengths, loops, [])
            scope.lines.append(self._memory.store(place, value, scope))


def _store_loops(store: Store) -> tuple[Loop, ...]:
    """Give the loops of the tile that is stored."""
    return tuple(sorted({loop for index in store.indices for loop in index.loops}, key=lambda loop: loop.rank))


def grouped(
    things: Iterable[T], loops_of: Callable[[T], tuple[Loop, ...]], tiles: Tiles
) -> dict[tuple[Loop, ...], list[T]]:
    """Group what is to be written by the loops that are walked along for it."""
    groups: dict[tuple[Loop, ...], list[T]] = {}
    for thing in things:
        groups.setdefault(tuple(loop for loop in loops_of(thing) if tiles.is_cut(loop)), []).append(thing)
    return groups
