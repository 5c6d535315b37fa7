"""A plan's kernels, compiled once and launched over memory."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from vortex_dsl.analysis.budget import Budget
from vortex_dsl.codegen.address import num_strides
from vortex_dsl.codegen.emit import Kernel, emit_stage, emit_summarize, source_text
from vortex_dsl.codegen.emitted import load_kernels
from vortex_dsl.codegen.packing import Store, stores
from vortex_dsl.codegen.plan import NEVER, Launch, Plan, Selecting, make_plan
from vortex_dsl.codegen.rounds import Buffer
from vortex_dsl.ops import OPS
from vortex_dsl.ops.op import Elementwise
from vortex_dsl.storage import CODED, float_dtype, scale_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernels.decode import PagedCache
    from kernels.selection import BlockLists, Listing, PageLists, Pages, Ranking
    from kernels.writing import Summarizing
    from vortex_dsl.analysis.layout import FieldLayout
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.ops.expression import Source

Buffers = dict[int | Selecting, torch.Tensor]  # buffers by number, and what was chosen to compute some of them
Given = dict[tuple[str, Any], torch.Tensor]


# More stages miscompile loops of unknown length with two sums (Triton 3.6). A product that is fused into a sum with
# what another thread holds is rounded there and not here: the two hold different sums, and it is a matter of luck which
# of them stays where both write it to the same shared memory, and with it the last bit of a score.
_LAUNCH = {"num_stages": 1, "enable_fp_fusion": False}


@dataclass(frozen=True)
class Step:
    """One decode step of one layer on paged memory.

    q: [batch, num_q_heads, head_dim]; region: uint8 [num_blocks, num_kv_heads, bytes_per_page], the fields;
    states: float32 [rows, *axes] in the order of `Graph.states`, those of a request's first choice where None;
    first_head: the number of the first KV head among those of all workers; rows of at most `covered` candidates are
    not scored, and what is computed for them may be anything.
    """

    q: torch.Tensor
    cache: PagedCache
    region: torch.Tensor
    pages: Pages
    layer: int
    num_layers: int
    scale: float
    states: tuple[torch.Tensor, ...] | None = None
    first_head: int = 0
    covered: int = NEVER


class Compiled:
    """A graph compiled once: summarize, then select, by their kernels."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.plan: Plan = make_plan(graph)
        self._stores: list[Store] = [x for part in self.plan.layout.fields for x in stores(self.plan.lowering, part)]
        self._summarize = emit_summarize(self.plan) if self._stores else None
        self._stages = [(stage, emit_stage(self.plan, stage)) for stage in self.plan.stages]
        self._constants: dict[tuple[object, ...], torch.Tensor] = {}
        self._most: dict[tuple[int, int, int], int] = {}  # pages attended to, by `_expected`

    @cached_property
    def text(self) -> str:
        """Give the emitted source, one function per kernel."""
        return source_text(self.plan, self._summarize, self._stages)

    @cached_property
    def _kernels(self) -> dict[str, Any]:
        return load_kernels(self.text)

    def summarize(self, cache: PagedCache, blocks: torch.Tensor, region: torch.Tensor) -> None:
        """Compute the fields of complete pages in place. blocks: integers [num]; region: as in Step."""
        size = self.graph.page_size
        self.summarize_written(cache, blocks.long() * size + (size - 1), region)

    def summarize_written(self, cache: PagedCache, slots: torch.Tensor, region: torch.Tensor) -> None:
        """Compute in place the fields of the pages whose last token stands in one of these slots; -1 is skipped.

        slots: integers [num_tokens], a block's number times the page size, and the place in the page.
        """
        how = self.summarizing(cache, region)
        if how is not None and slots.numel():
            how.function[slots.numel(), cache.k.shape[1]](slots, *how.after, **_LAUNCH)

    def summarizing(self, cache: PagedCache, region: torch.Tensor) -> Summarizing | None:
        """Say how `summarize_written` does it, for who writes keys in the same launch; None if there are no fields."""
        from kernels.writing import Summarizing

        if self._summarize is None:
            return None
        given = {("k", 0): cache.k, ("v", 0): cache.v}
        arguments = [x for source in self._summarize.sources for x in self._arguments(source, given, region.device)]
        for store in self._stores:
            view = _view(self.plan.layout.fields[store.field], store.kind, region)
            arguments += [view, *view.stride()[:2]]
        return Summarizing(self._kernels[self._summarize.name], tuple(arguments))

    def choose(self, step: Step) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Give the chosen candidates, int8 [rows, max_pages], and the new states.

        Pages that are no candidates may be marked too.
        """
        memory = self.compute(step)
        return self.chosen(self.plan.choice, memory, step.pages), tuple(memory[x.number] for x in self.plan.states)

    def listed(self, step: Step, listing: Listing) -> BlockLists:
        """List the blocks that each row attends to; rows whose budget takes every page are not scored."""
        from kernels.listing import list_pages
        from kernels.selection import list_best

        step, listing = replace(step, covered=self.plan.covered), replace(listing, covered=self.plan.covered)
        most = step.pages.max_pages - step.pages.sink - step.pages.window  # candidates of the longest sequence
        memory = self.compute(step) if most > step.covered else self._room(step)
        picked = self.picked(self.plan.choice, memory, step.pages)
        if isinstance(picked, torch.Tensor):
            lists = list_pages(picked, step.pages, listing)
        else:
            lists = list_best(picked, step.pages, listing)
        return replace(lists, expected=self._expected(step))

    def _expected(self, step: Step) -> int:
        """Give the blocks that a row attends to at most, unless it is marked to attend to all."""
        pages, reserved = step.pages, step.pages.sink + step.pages.window
        key = (pages.max_pages, step.layer, step.num_layers)
        if key not in self._most:
            budget = Budget(max(pages.max_pages, reserved), reserved, step.layer, step.num_layers)
            self._most[key] = reserved + budget.chosen(self.graph.selection)
        return self._most[key]

    def chosen(self, choice: Selecting, memory: Buffers, pages: Pages) -> torch.Tensor:
        """Make a selection from buffers by number: int8 [rows, max_pages], contiguous."""
        from kernels.selection import choose

        if choice in memory:
            return memory[choice]
        picked = self.picked(choice, memory, pages)
        return picked if isinstance(picked, torch.Tensor) else choose(picked, pages)

    def picked(self, choice: Selecting, memory: Buffers, pages: Pages) -> torch.Tensor | Ranking:
        """Give a selection as its operation says it: by rank, or flagged."""
        parts = [self.chosen(part, memory, pages) for part in choice.parts]
        scores = [] if choice.score is None else [memory[choice.score.number]]
        numbers = [memory[x.number] if isinstance(x, Buffer) else x for x in choice.numbers]
        rule = OPS[choice.op].triton
        assert not isinstance(rule, Elementwise | None), f"'{choice.op}' says what it does in Triton"
        picked: torch.Tensor | Ranking = rule(pages, parts, *scores, *numbers)
        return picked

    def _room(self, step: Step) -> Buffers:
        """Make the buffers of a step that needs no scores; nothing is written to them."""
        return {x.buffer.number: _target(x.buffer, step, ()) for stage, _ in self._stages for x in stage.outputs}

    def compute(self, step: Step) -> Buffers:
        """Run every stage: the buffers by number. Pages that are not complete hold anything, states what they held."""
        states = self._states(step)
        given = self._given(step, states)
        memory: Buffers = {}
        lists: dict[Selecting, PageLists] = {}
        for stage, kernel in self._stages:
            memory |= {x.buffer.number: _target(x.buffer, step, states) for x in stage.outputs}
            written = [memory[output.buffer.number] for output in stage.outputs]
            if stage.among is not None and stage.among not in lists:
                room = stage.room(step.pages.max_pages)
                memory[stage.among], lists[stage.among] = self._refined(stage.among, memory, step.pages, room)
            self._launch(stage, kernel, step, given, written, lists[stage.among] if stage.among else None)
            given |= {("buffer", x.buffer.number): out for x, out in zip(stage.outputs, written, strict=True)}
        return memory

    def _refined(self, among: Selecting, memory: Buffers, pages: Pages, room: int) -> tuple[torch.Tensor, PageLists]:
        """Make the selection that a refinement looks at, int8 [rows, max_pages], and list its pages."""
        from kernels.listing import list_chosen
        from kernels.selection import choose, empty_page_lists

        picked, lists = self.picked(among, memory, pages), empty_page_lists(pages, room)
        if not isinstance(picked, torch.Tensor):
            return choose(picked, pages, lists), lists
        list_chosen(picked, pages, lists)
        return picked, lists

    def _given(self, step: Step, states: tuple[torch.Tensor, ...]) -> Given:
        """Give what stages read that no stage wrote."""
        given = {("q", 0): step.q, ("page.k", 0): step.cache.k, ("page.v", 0): step.cache.v}
        given |= {("state", state.index): x for state, x in zip(self.graph.states, states, strict=True)}
        for field in self.plan.layout.fields:
            coded = ("codes", "scales") if scale_bytes(field.kind) else ("codes",)
            kinds = ("field",) if field.kind not in CODED else coded
            given |= {(kind, field.field.index): _view(field, kind, step.region) for kind in kinds}
        return given

    def _launch(
        self, stage: Launch, kernel: Kernel, step: Step, given: Given, written: list[torch.Tensor],
        among: PageLists | None,
    ) -> None:  # fmt: skip
        """Run one stage, for the pages of a list where there is one."""
        from kernels.dependent import dependent

        pages = step.pages
        sources = [x for source in kernel.sources for x in self._arguments(source, given, step.q.device)]
        grid = stage.grid(pages.num_rows, pages.max_pages)
        options = _LAUNCH | dependent(step.q.device)
        which = () if among is None else (among.pages, among.pages.shape[1], among.num)
        self._kernels[kernel.name][grid](*_place(step), step.covered, *which, *sources, *written, **options)

    def _states(self, step: Step) -> tuple[torch.Tensor, ...]:
        rows, most = step.pages.num_rows, step.pages.max_pages
        before = step.states or tuple(state.fresh(rows, most, step.q.device) for state in self.graph.states)
        return tuple(state.contiguous() for state in before)

    def _arguments(self, source: Source, given: Given, device: torch.device) -> list[Any]:
        """Give the arguments of one source: its memory, and its strides where it has any."""
        if source.kind in ("table", "lookup"):
            dtype = torch.float32 if source.kind == "table" else torch.int32
            return [self._constant((source, device), lambda: torch.tensor(source.key, dtype=dtype, device=device))]
        tensor = given[source.kind, source.key]
        return [tensor, *tensor.stride()[: num_strides(source)]]

    def _constant(self, key: tuple[object, ...], make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Give what never changes, at the same address at every step."""
        if key not in self._constants:
            self._constants[key] = make()
        return self._constants[key]


def _place(step: Step) -> tuple[Any, ...]:
    """Give the arguments of every stage (`emit.ROW_ARGUMENTS`), how many candidates are not scored aside."""
    pages, cache = step.pages, step.cache
    lead = (cache.seq_lens, cache.block_table, cache.block_table.stride(0), pages.num_kv_heads, pages.max_pages)
    return (*lead, float(step.layer), float(step.num_layers), float(step.scale), step.first_head)


def _target(buffer: Buffer, step: Step, states: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Make the memory of a buffer; a state keeps what is not written."""
    if buffer.state is not None:
        return states[buffer.state].clone()
    lead = (step.pages.num_rows, step.pages.max_pages) if buffer.paged else (step.pages.num_rows,)
    return torch.empty(*lead, *buffer.lengths, dtype=torch.float32, device=step.q.device)


def _view(field: FieldLayout, kind: str, region: torch.Tensor) -> torch.Tensor:
    """View a piece of a field in all pages: [num_blocks, num_kv_heads, elements]."""
    codes = region[..., field.offset : field.offset + field.num_vectors * field.vector_bytes]
    if kind == "scales":
        return region[..., field.offset + field.scales_offset : field.offset + field.num_bytes].view(torch.float32)
    if field.kind not in CODED:
        return codes.view(float_dtype(field.kind))
    return codes.view(torch.int8) if field.kind == "int8" else codes


_COMPILED: weakref.WeakKeyDictionary[Graph, Compiled] = weakref.WeakKeyDictionary()


def compiled(graph: Graph) -> Compiled:
    """Compile a graph, once as long as it lives."""
    if graph not in _COMPILED:
        _COMPILED[graph] = Compiled(graph)
    return _COMPILED[graph]
