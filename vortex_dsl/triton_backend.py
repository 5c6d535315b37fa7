"""`attend` by emitted and hand-written Triton kernels: on CUDA, or on a CPU by Triton's interpreter."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from vortex_dsl.emit import Kernel, emit_stage, emit_summarize
from vortex_dsl.emitted import load_kernels
from vortex_dsl.lower import TYPED_KINDS
from vortex_dsl.packing import Store, stores
from vortex_dsl.plan import Plan, make_plan
from vortex_dsl.storage import float_dtype

if TYPE_CHECKING:
    from kernels.decode import PagedCache
    from kernels.selection import Pages
    from vortex_dsl.expression import Source
    from vortex_dsl.graph import Graph
    from vortex_dsl.layout import FieldLayout
    from vortex_dsl.plan import Buffer, Choice, Stage

_LAUNCH = {"num_stages": 1}


@dataclass(frozen=True)
class Step:
    """One decode step of one layer on paged memory.

    q: [batch, num_q_heads, head_dim]; region: uint8 [num_blocks, num_kv_heads, bytes_per_page], the fields.
    """

    q: torch.Tensor
    cache: PagedCache
    region: torch.Tensor
    pages: Pages
    layer: int
    num_layers: int
    scale: float


class Compiled:
    """A graph compiled once: summarize, then select, by their kernels. Raises CannotCompile."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.plan: Plan = make_plan(graph)
        self._stores: list[Store] = [x for part in self.plan.summaries for x in stores(self.plan.lowering, part)]
        self._summarize = emit_summarize(self.plan) if self._stores else None
        self._emitted = [(stage, emit_stage(self.plan, stage)) for stage in self.plan.stages]
        self._tables: dict[tuple[Source, torch.device], torch.Tensor] = {}

    @cached_property
    def text(self) -> str:
        """Give the emitted source, one function per kernel."""
        summarize = [self._summarize] if self._summarize else []
        return "\n\n".join(kernel.text for kernel in (*summarize, *(kernel for _, kernel in self._emitted)))

    @cached_property
    def _kernels(self) -> dict[str, Any]:
        return load_kernels(self.text)

    def summarize(self, cache: PagedCache, blocks: torch.Tensor, region: torch.Tensor) -> None:
        """Compute the fields of complete pages in place. blocks: integers [num]; region: as in Step."""
        if self._summarize is None or blocks.numel() == 0:
            return
        given = {"k": cache.k, "v": cache.v}
        arguments: list[Any] = []
        for source in self._summarize.sources:
            tensor = given.get(source.kind)
            arguments += self._table(source, region.device) if tensor is None else [tensor, *tensor.stride()]
        for store in self._stores:
            view = _view(self.plan.layout.fields[store.field], store.kind, region)
            arguments += [view, *view.stride()[:2]]
        grid = (blocks.numel(), cache.k.shape[1])
        self._kernels[self._summarize.name][grid](blocks, *arguments, **_LAUNCH)

    def choose(self, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
        """Give each row's attended pages in ascending order, int32 [rows, max_pages], and their number [rows]."""
        from kernels.selection import list_pages

        if self.plan.choice.op == "every_page":
            return list_pages(None, step.pages, every=True)
        return list_pages(chosen(self.plan.choice, self.compute(step), step.pages), step.pages)

    def compute(self, step: Step) -> dict[int, torch.Tensor]:
        """Run every stage: the buffers by number. Pages that are not complete hold anything."""
        memory: dict[int, torch.Tensor] = {}
        for stage, kernel in self._emitted:
            memory[stage.output.number] = self._run(stage, kernel, step, memory)
        return memory

    def _run(self, stage: Stage, kernel: Kernel, step: Step, memory: dict[int, torch.Tensor]) -> torch.Tensor:
        """Launch one stage and give what it wrote."""
        pages, cache = step.pages, step.cache
        out = _empty(stage.output, pages, step.q.device)
        common = [cache.seq_lens, cache.block_table, cache.block_table.stride(0), pages.num_kv_heads, pages.max_pages]
        common += [float(step.layer), float(step.num_layers), float(step.scale)]
        sources = [argument for source in kernel.sources for argument in self._source(source, step, memory)]
        grid = stage.grid(pages.num_rows, pages.max_pages)
        self._kernels[kernel.name][grid](*common, *sources, out, **_LAUNCH)
        return out

    def _source(self, source: Source, step: Step, memory: dict[int, torch.Tensor]) -> list[Any]:
        """Give the arguments of one source: its memory, and its strides where it has any."""
        if source.kind in ("table", "lookup"):
            return self._table(source, step.q.device)
        if source.kind == "buffer":
            assert isinstance(source.key, int)
            return [memory[source.key]]
        if source.kind in ("q", "page.k", "page.v"):
            tensor = {"q": step.q, "page.k": step.cache.k, "page.v": step.cache.v}[source.kind]
            return [tensor, *tensor.stride()]
        assert isinstance(source.key, int)
        view = _view(self.plan.layout.fields[source.key], source.kind, step.region)
        return [view, *view.stride()[:2]]

    def _table(self, source: Source, device: torch.device) -> list[Any]:
        if (source, device) not in self._tables:
            dtype = torch.float32 if source.kind == "table" else torch.int32
            self._tables[source, device] = torch.tensor(source.key, dtype=dtype, device=device)
        return [self._tables[source, device]]


def _view(field: FieldLayout, kind: str, region: torch.Tensor) -> torch.Tensor:
    """View a piece of a field in all pages: [num_blocks, num_kv_heads, elements]."""
    codes = region[..., field.offset : field.offset + field.num_vectors * field.vector_bytes]
    if kind == "scales":
        return region[..., field.offset + field.scales_offset : field.offset + field.num_bytes].view(torch.float32)
    if field.kind in TYPED_KINDS:
        return codes.view(float_dtype(field.kind))
    return codes.view(torch.int8) if field.kind == "int8" else codes


def _empty(buffer: Buffer, pages: Pages, device: torch.device) -> torch.Tensor:
    lead = (pages.num_rows, pages.max_pages) if buffer.paged else (pages.num_rows,)
    return torch.empty(*lead, *buffer.lengths, dtype=torch.float32, device=device)


def chosen(choice: Choice, memory: dict[int, torch.Tensor], pages: Pages) -> torch.Tensor:
    """Give the chosen candidates, int8 [rows, max_pages]; pages that are no candidates may hold anything."""
    from kernels.nucleus import nucleus
    from kernels.selection import choose

    parts = [chosen(part, memory, pages) for part in choice.parts]
    if choice.score is None:
        if choice.op == "union":
            return parts[0] | parts[1]
        shape, device = (pages.num_rows, pages.max_pages), pages.seq_lens.device
        return torch.full(shape, int(choice.op == "every_page"), dtype=torch.int8, device=device)
    score = memory[choice.score.number]
    numbers = [memory[buffer.number] for buffer in choice.numbers]
    if choice.op == "topp":
        return choose(score, nucleus(score, numbers[0], numbers[1], pages), pages)
    if choice.op == "above":
        return choose(score, numbers[1], pages, threshold=numbers[0])
    return choose(score, numbers[0], pages, among=parts[0] if parts else None)


_COMPILED: weakref.WeakKeyDictionary[Graph, Compiled] = weakref.WeakKeyDictionary()


def compiled(graph: Graph) -> Compiled:
    """Compile a graph, once as long as it lives."""
    if graph not in _COMPILED:
        _COMPILED[graph] = Compiled(graph)
    return _COMPILED[graph]


def attend(
    graph: Graph,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: torch.Tensor,
    scale: float,
    layer: int,
    num_layers: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend to the pages that a graph chooses; shapes, result and errors as `vortex_dsl.attend` says.

    Raises RuntimeError on a CPU without Triton's interpreter, CannotCompile for what is not compiled yet.
    """
    from kernels.decode import sparse_decode

    _require_device(q.device)
    program = compiled(graph)
    step = prepare(program, q, k, v, lengths, scale, layer, num_layers)
    listed, count = program.choose(step)
    out = sparse_decode(q, step.cache, listed, count, scale)
    attended = _as_mask(listed, count).unflatten(0, (k.shape[0], k.shape[1]))
    return out, attended[..., : -(-k.shape[2] // graph.page_size)]


def prepare(
    program: Compiled,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: torch.Tensor,
    scale: float,
    layer: int,
    num_layers: int,
) -> Step:
    """Lay keys and values out in pages and summarize the complete ones; arguments as of `attend`."""
    from kernels.decode import PagedCache
    from kernels.selection import Pages

    graph = program.graph
    batch, num_kv_heads, tokens, _ = k.shape
    max_pages = max(-(-tokens // graph.page_size), 1)
    table = torch.arange(batch * max_pages, dtype=torch.int32, device=q.device).reshape(batch, max_pages)
    seq_lens = lengths.to(device=q.device, dtype=torch.int32)
    cache = PagedCache(_paged(k, graph.page_size, max_pages), _paged(v, graph.page_size, max_pages), table, seq_lens)
    pages = Pages(seq_lens, num_kv_heads, max_pages, graph.page_size, graph.sink, graph.window)
    shape = (batch * max_pages, num_kv_heads, program.plan.layout.bytes_per_page)
    region = torch.zeros(shape, dtype=torch.uint8, device=q.device)
    complete = torch.arange(max_pages, device=q.device) < (seq_lens // graph.page_size)[:, None]
    program.summarize(cache, table[complete], region)
    return Step(q, cache, region, pages, layer, num_layers, scale)


def _require_device(device: torch.device) -> None:
    import triton
    import triton.language as tl

    compiles = isinstance(tl.sum, triton.JITFunction)  # decided when triton was imported, not by the environment now
    if device.type == "cpu" and compiles:
        message = (
            "backend 'triton' needs a CUDA device, or TRITON_INTERPRET=1 in the environment before triton is "
            "first imported; use backend 'torch' on a CPU"
        )
        raise RuntimeError(message)


def _paged(x: torch.Tensor, page_size: int, max_pages: int) -> torch.Tensor:
    """Cut [batch, num_kv_heads, tokens, dim] into blocks [batch * max_pages, num_kv_heads, page_size, dim]."""
    x = torch.nn.functional.pad(x, (0, 0, 0, max_pages * page_size - x.shape[2]))
    return x.unflatten(2, (max_pages, page_size)).transpose(1, 2).flatten(0, 1)


def _as_mask(listed: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Turn page lists into bool [rows, max_pages]."""
    used = torch.arange(listed.shape[1], device=listed.device) < count[:, None]
    mask = torch.zeros(listed.shape, dtype=torch.int32, device=listed.device)
    return mask.scatter_add(1, listed.where(used, 0).long(), used.int()) > 0
