"""Plan -> Triton source text, one kernel per stage and one for summarize.

Every name is made here: a fixed word and a number. Nothing of a program's text, not even a name, is copied. Tiles
have fixed sizes, so a kernel does not change with the length of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from vortex_dsl.expression import PAGE_LOOP, Expr, Loop, Source, largest_index
from vortex_dsl.packing import Store, stores
from vortex_dsl.writer import JOIN, NEUTRAL, REDUCE, Writer, function, literal, spread

if TYPE_CHECKING:
    from vortex_dsl.plan import Plan, Stage

ROW_ARGUMENTS = (
    *("seq_lens_0", "block_table_0", "table_stride_0", "num_kv_heads_0", "max_pages_0"),
    *("layer_index_0", "layer_count_0", "scale_0"),
)


@dataclass(frozen=True)
class Kernel:
    """One emitted function: its name, its text, and the memory it takes after the common arguments, in order."""

    name: str
    text: str
    sources: tuple[Source, ...]


def emit_stage(plan: Plan, stage: Stage) -> Kernel:
    """Emit one stage of select: `ROW_ARGUMENTS`, then the sources, each with its strides, then the output."""
    return _StageWriter(plan, stage).kernel()


def emit_summarize(plan: Plan) -> Kernel:
    """Emit summarize: a list of blocks, the sources, then per stored piece a pointer and two strides."""
    return _SummaryWriter(plan).kernel()


class _StageWriter(Writer):
    """Writes one stage of select."""

    def __init__(self, plan: Plan, stage: Stage) -> None:
        super().__init__()
        self._graph = plan.graph
        self._stage = stage

    def kernel(self) -> Kernel:
        """Write the whole function."""
        stage = self._stage
        self.write([stage.value])
        body = {"map": self._map, "row": self._row, "reduce": self._reduce_pages, "scan": self._scan}[stage.kind]()
        name = f"{stage.kind}_{stage.number}"
        text = function(name, [*ROW_ARGUMENTS, *self.parameters(), "out_0"], [*self._head(), *self.before, *body])
        return Kernel(name, text, tuple(self.sources))

    def _head(self) -> list[str]:
        size = self._graph.page_size
        return [
            "row_0 = tl.program_id(0).to(tl.int64)",
            "sequence_0 = row_0 // num_kv_heads_0",
            "kv_head_0 = row_0 % num_kv_heads_0",
            "length_0 = tl.load(seq_lens_0 + sequence_0).to(tl.int32)",
            f"complete_0 = length_0 // {size}",
            f"count_0 = (length_0 + {size - 1}) // {size}",
        ]

    def _map(self) -> list[str]:
        block = self._stage.block_pages
        return [
            f"page_0 = tl.program_id(1) * {block} + tl.arange(0, {block})",
            "here_0 = page_0 < complete_0",
            *self.within,
            self._store(self._named_value(), "row_0 * max_pages_0 + page_0"),
        ]

    def _row(self) -> list[str]:
        return [self._store(self._named_value(), "row_0")]

    def _reduce_pages(self) -> list[str]:
        how, loops = self._stage.how, self._stage.output.loops
        shape = ", ".join(str(loop.padded) for loop in loops)
        start = f"tl.full(({shape}{',' if len(loops) == 1 else ''}), {literal(NEUTRAL[how])}, tl.float32)"
        tile = REDUCE[how].format(self._here(NEUTRAL[how]), 0)
        inside = [*self.within, f"total_0 = {JOIN[how].format('total_0', tile)}"]
        return [f"total_0 = {start}", *self._over_pages(inside), self._store("total_0", "row_0")]

    def _scan(self) -> list[str]:
        loops = self._stage.output.loops
        shape = ", ".join(str(loop.padded) for loop in loops)
        start = f"tl.full(({shape}{',' if len(loops) == 1 else ''}), 0.0, tl.float32)"
        total = spread("total_0", loops, (PAGE_LOOP, *loops))
        inside = [
            *self.within,
            f"part_0 = {self._here(0.0)}",
            f"value_0 = tl.cumsum(part_0, 0) + {total}",
            self._store("value_0", "row_0 * max_pages_0 + page_0"),
            "total_0 = total_0 + tl.sum(part_0, 0)",
        ]
        return [f"total_0 = {start}", *self._over_pages(inside)]

    def _over_pages(self, inside: list[str]) -> list[str]:
        block = self._stage.block_pages
        lines = [f"page_0 = start_0 + tl.arange(0, {block})", "here_0 = page_0 < complete_0", *inside]
        return [f"for start_0 in range(0, complete_0, {block}):", *(f"    {line}" for line in lines)]

    def _named_value(self) -> str:
        return self.names[self._stage.value]

    def _here(self, fill: float) -> str:
        """Give the value with `fill` on pages that are not complete."""
        value = self._stage.value
        return f"tl.where({spread('here_0', (PAGE_LOOP,), value.loops)}, {self._named_value()}, {literal(fill)})"

    def _store(self, value: str, place: str) -> str:
        buffer = self._stage.output
        loops = (PAGE_LOOP, *buffer.loops) if buffer.paged else buffer.loops
        own = (PAGE_LOOP,) if buffer.paged else ()
        place, elements = spread(f"({place})", own, loops), prod(buffer.lengths)
        terms = ["out_0", place if elements == 1 else f"{place} * {elements}"]
        masks = [spread("here_0", own, loops)] if buffer.paged else []
        for i, loop in enumerate(buffer.loops):
            index, stride = spread(self.index_of(loop), (loop,), loops), prod(buffer.lengths[i + 1 :])
            terms.append(index if stride == 1 else f"{index} * {stride}")
            if loop.padded != loop.length:
                masks.append(f"({index} < {loop.length})")
        guard = f", mask={' & '.join(masks)}" if masks else ""
        return f"tl.store({' + '.join(terms)}, {value}{guard})"

    def _reserved(self, expr: Expr) -> str:
        page = self.names[expr.args[0]]
        return f"({page} < {self._graph.sink}) | ({page} >= count_0 - {self._graph.window})"

    def _exists(self, page: Expr, loops: tuple[Loop, ...]) -> str:
        if page.op == "loop":
            return spread("here_0", (PAGE_LOOP,), loops)
        name = self.names[page]
        return spread(f"(({name} >= 0) & ({name} < complete_0))", page.loops, loops)

    def _base(self, expr: Expr, source: Source, number: int) -> list[str]:
        if source.kind == "q":
            return [f"sequence_0 * stride_{number}_0", f"kv_head_0 * {source.lengths[0]} * stride_{number}_1"]
        if source.kind in ("table", "lookup"):
            return []
        elements = prod(source.lengths)
        if len(expr.args) == len(source.lengths):
            return [f"row_0 * {elements}"]
        page = expr.args[0]
        if source.kind == "buffer":
            return [spread(f"(row_0 * max_pages_0 + {self.names[page]})", page.loops, expr.loops) + f" * {elements}"]
        block = spread(self._block(page), page.loops, expr.loops)
        return [f"{block} * stride_{number}_0", f"kv_head_0 * stride_{number}_1"]

    def _block(self, page: Expr) -> str:
        """Give the blocks of pages."""
        if page not in self._blocks:
            place = f"block_table_0 + sequence_0 * table_stride_0 + {self.names[page]}"
            code = f"tl.load({place}, mask={self._exists(page, page.loops)}, other=0).to(tl.int64)"
            self._blocks[page] = self.assign("block", code, paged=True)
        return self._blocks[page]


class _SummaryWriter(Writer):
    """Writes summarize: one program per block and KV head."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def kernel(self) -> Kernel:
        """Write the whole function."""
        parts = [store for summary in self._plan.summaries for store in stores(self._plan.lowering, summary)]
        lines, outputs = [], []
        for number, store in enumerate(parts):
            self.write([store.value, *store.indices])
            lines.append(self._store(store, number))
            outputs += [f"out_{number}", f"out_{number}_0", f"out_{number}_1"]
        head = [
            "block_0 = tl.load(blocks_0 + tl.program_id(0)).to(tl.int64)",
            "kv_head_0 = tl.program_id(1).to(tl.int64)",
        ]
        text = function("summarize_0", ["blocks_0", *self.parameters(), *outputs], [*head, *self.before, *lines])
        return Kernel("summarize_0", text, tuple(self.sources))

    def _base(self, expr: Expr, source: Source, number: int) -> list[str]:  # noqa: ARG002
        if source.kind in ("table", "lookup"):
            return []
        return [f"block_0 * stride_{number}_0", f"kv_head_0 * stride_{number}_1"]

    def _reserved(self, expr: Expr) -> str:
        raise AssertionError(f"a summary knows one page only, but holds {expr}")

    def _exists(self, page: Expr, loops: tuple[Loop, ...]) -> str:
        raise AssertionError(f"a summary knows one page only, but indexes {page} over {loops}")

    def _store(self, store: Store, number: int) -> str:
        loops = tuple(sorted({loop for index in store.indices for loop in index.loops}, key=lambda loop: loop.rank))
        terms = [f"out_{number} + block_0 * out_{number}_0 + kv_head_0 * out_{number}_1"]
        masks = []
        for i, (index, length) in enumerate(zip(store.indices, store.lengths, strict=True)):
            place, stride = self.spread(index, loops), prod(store.lengths[i + 1 :])
            terms.append(place if stride == 1 else f"{place} * {stride}")
            if largest_index(index) >= length:
                masks.append(f"({place} < {length})")
        guard = f", mask={' & '.join(masks)}" if masks else ""
        value = store.conversion.format(self.spread(store.value, loops))
        return f"tl.store({' + '.join(terms)}, {value}{guard})"
