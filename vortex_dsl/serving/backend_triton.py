"""One layer by Triton kernels: what it launches is known from the host's bounds, so CUDA graphs can hold a step."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size

from kernels.decode import scratch_bytes, sparse_decode
from kernels.selection import Listing
from kernels.selection import Pages as Bounds
from kernels.tuning import tiling_of
from vortex_dsl.triton_backend import Compiled, Step

from .backend import VortexImpl, first_kv_head
from .config import ServingError
from .decodes import Decodes, Heads
from .layer import ProgramLayer, layer_index
from .memory_triton import DeviceMemory, extent
from .memory_triton import step_bytes as remembering_bytes
from .metrics import Counters
from .pages_triton import KernelPages, TritonPages, prefill_on, weighing
from .steps import Shared, max_rows
from .tallies import DeviceMeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernels.selection import BlockLists
    from vortex_dsl.program import Program

    from .steps import DeviceBatch


@cache
def say_step_bytes(num_bytes: int) -> None:
    """Say what a step takes beside the cache, once where all layers take the same."""
    logging.getLogger("vllm").info("Vortex: a decode step of one layer takes at most %d bytes for a while", num_bytes)


class TritonLayer(ProgramLayer):
    """Decode over lists of chosen blocks, whatever a cache holds. Mixed into our implementations, before theirs."""

    quantised: tuple[str, ...] = ("fp8", "fp8_e4m3")
    kernel: Callable[..., torch.Tensor]  # attends to lists of blocks or to everything: `kernels.decode.sparse_decode`
    _remembered: DeviceMemory | None = None  # where this layer chooses by what it keeps of requests

    def prepare(self, vllm_config: Any) -> Any:
        """Serve the configured program (`ProgramLayer.prepare`)."""
        room = super().prepare(vllm_config)
        self.tallies = DeviceMeter(self.num_kv_heads, windowed=self.softmax.window is not None)
        self.meter = self.tallies  # type: ignore[assignment]  # what others call is there
        self._max_rows = max_rows(vllm_config) * self.num_kv_heads
        total, num_ranks = vllm_config.model_config.get_total_num_kv_heads(), get_tensor_model_parallel_world_size()
        self._first_head = first_kv_head(total, get_tensor_model_parallel_rank(), num_ranks)
        return room

    def use(self, program: Program) -> None:
        """Serve this program from now on (`ProgramLayer.use`)."""
        pages = self._pages
        if pages is not None and self.vllm_config.compilation_config.cudagraph_mode.has_full_cudagraphs():
            raise ServingError(
                "captured graphs hold the program that is served; to put another in its place, start vLLM with "
                "enforce_eager=True or compilation_config={'cudagraph_mode': 'PIECEWISE'}"
            )
        super().use(program)
        self._compiled, self._remembered = Compiled(self.rule.graph), None
        if isinstance(pages, KernelPages) and self.softmax.window is None:
            self.tallies.settle()
            self._compiled.summarize(pages.cache(), pages.complete.nonzero().flatten(), pages.region)

    def over(self, kv_cache: torch.Tensor) -> KernelPages:
        """Give this layer's pages (`ProgramLayer.over`)."""
        pages = super().over(kv_cache)
        assert isinstance(pages, KernelPages)
        return pages

    @abstractmethod
    def sums_bytes(self, pages: KernelPages, rows: int, max_tokens: int) -> int:
        """Give the bytes of the partial sums of so many rows of at most so many tokens."""

    def step_bytes(self, pages: KernelPages) -> int:
        """Give the most bytes that a decode step of one layer takes for a while: scores, lists and partial sums."""
        rows, size = self._max_rows, pages.page_size
        most = -(-self.vllm_config.model_config.max_model_len // size)
        lists = 4 * rows * (most + 1)
        if self.rule.remembers:
            lists += remembering_bytes(self.rule.graph, rows, most)
        return self._compiled.plan.num_bytes(rows, most) + lists + self.sums_bytes(pages, rows, most * size)

    def remember(self, name: str, device: torch.device) -> int:
        """Make room for what this layer keeps of requests, once. -> the bytes that it takes, 0 if it chooses nothing"""
        index, rule = layer_index(name), self.rule
        if not rule.remembers or self.softmax.window is not None or rule.leader(index) != index:
            return 0
        if self._remembered is None:
            most = extent(self.vllm_config, rule.page_size)
            self._remembered = DeviceMemory(rule.graph, self.num_kv_heads, most, device)
        return self._remembered.num_bytes

    def decode_step(
        self, name: str, query: torch.Tensor, pages: KernelPages, batch: DeviceBatch, output: torch.Tensor
    ) -> None:
        """Decode one token of every sequence. query, output: [num_sequences, num_q_heads, head_dim]."""
        assert batch.decodes is not None
        index, cache = layer_index(name), pages.cache(batch.decodes)
        leader = None if self.softmax.window is not None else self.rule.leader(index)
        if leader is None:
            tally = self.tallies.room(name, self._max_rows, query.device)
            self.kernel(query, cache, None, weighing(self.softmax), output, tally)
            return
        if leader == index:
            batch.choices[leader] = self._choose(name, query, pages, batch)
        shared = self._shared(name, batch, leader)
        self.kernel(query, cache, shared.lists, weighing(self.softmax), output)
        if self._recorder is not None:
            self._recorder += self._seen(index, query, batch, shared.lists)

    def _choose(self, name: str, query: torch.Tensor, pages: KernelPages, batch: DeviceBatch) -> Shared:
        """List what every row attends to, and count it."""
        assert batch.decodes is not None
        rows, graph = batch.decodes, self.rule.graph
        bounds = Bounds(rows.lengths, self.num_kv_heads, batch.max_pages, graph.page_size, graph.sink, graph.window)
        tally = self.tallies.room(name, self._max_rows, query.device)
        step = Step(
            query, pages.cache(rows), pages.region, bounds, layer_index(name), self.num_layers, self.softmax.scale,
            first_head=self._first_head,
        )  # fmt: skip
        listing = Listing(rows.table, dense=batch.dense, tally=tally)
        if not self.rule.remembers:
            return Shared(self._compiled.listed(step, listing), tally)
        assert self._remembered is not None, "the step's requests were recognised, so there is room for them"
        assert batch.places is not None
        return Shared(self._remembered.listed(self._compiled, step, listing, batch.places), tally)

    def _shared(self, name: str, batch: DeviceBatch, leader: int) -> Shared:
        """Give what the first layer of this one's group chose."""
        if leader not in batch.choices:
            raise ServingError(
                f"{name} uses the choice of layer {leader}, which this worker does not run or keeps in other blocks; "
                "set share_layers=1, or serve without pipeline parallelism"
            )
        shared = batch.choices[leader]
        self.tallies.follow(name, shared.tally)
        return shared

    @property
    def recorder(self) -> list[dict[str, Any]] | None:
        """Give what was recorded of decode steps, None where nothing is to be recorded."""
        return self._recorder

    @recorder.setter
    def recorder(self, recorder: list[dict[str, Any]] | None) -> None:
        if recorder is not None and not self.vllm_config.model_config.enforce_eager:
            raise ServingError("captured graphs record nothing; start vLLM with enforce_eager=True to record steps")
        self._recorder = recorder

    def _seen(self, index: int, query: torch.Tensor, batch: DeviceBatch, lists: BlockLists) -> list[dict[str, Any]]:
        """Record a step as the other kernels do, without the ends of prompts. Waits for the device."""
        assert batch.decodes is not None
        rows, kept = batch.decodes, (batch.dense == 0) & (batch.decodes.lengths > 0)
        if not kept.any():
            return []
        some = replace(rows, table=rows.table[kept], lengths=rows.lengths[kept])
        decodes = Decodes(some, self.rule.page_size, Heads(self.num_kv_heads, self._first_head))
        query, every = query[kept], kept.repeat_interleave(self.num_kv_heads)
        places = torch.arange(lists.blocks.shape[1], device=query.device) * self.rule.page_size
        chosen = lists.blocks[every].where(places < lists.tokens[every, None], -1)
        blocks = (decodes.pages // self.num_kv_heads)[:, :, None] == chosen[:, None]
        attended = blocks.any(-1) & (torch.arange(decodes.max_pages, device=query.device)
                                     * self.rule.page_size < decodes.lengths[:, None])  # fmt: skip
        by_kv_head = query.reshape(-1, self.num_heads // self.num_kv_heads, self.head_size)
        return [self._recording(index, by_kv_head, decodes, attended)]

    def _read_scales(self, layer: Any) -> None:
        """Refuse a float8 cache whose numbers stand for others: programs would summarise them as they are."""
        if self.kv_cache_dtype.startswith("fp8") and (layer._k_scale_float, layer._v_scale_float) != (1.0, 1.0):  # noqa: SLF001
            raise ServingError(
                f"a float8 KV cache with scales {layer._k_scale_float} and {layer._v_scale_float} "  # noqa: SLF001
                "is not served yet; use one without scales, or kv_cache_dtype='auto'"
            )


class TritonImpl(TritonLayer, VortexImpl):
    """Fields with the write of keys and values, prefill by FlashAttention."""

    kernel = staticmethod(sparse_decode)

    def pages_over(self, kv_cache: torch.Tensor) -> TritonPages:
        """Make views over a cache, choose what prefill runs on, and say what a step takes beside the cache."""
        pages = TritonPages(kv_cache, self.head_size)
        self._prefill = prefill_on(kv_cache.device.type, self.head_size, pages.page_size, pages.k.dtype)
        say_step_bytes(self.step_bytes(pages))
        return pages

    def over(self, kv_cache: torch.Tensor) -> TritonPages:
        """Give this layer's pages (`ProgramLayer.over`)."""
        pages = super().over(kv_cache)
        assert isinstance(pages, TritonPages)
        return pages

    def sums_bytes(self, pages: KernelPages, rows: int, max_tokens: int) -> int:
        """Give the bytes of the partial sums (`TritonLayer.sums_bytes`)."""
        group = self.num_heads // self.num_kv_heads
        tiling = tiling_of(pages.k, pages.k[:, :, 0], group)
        return scratch_bytes(rows, max_tokens, group, self.head_size, tiling.part)

    def do_kv_cache_update(
        self, layer: Any, key: torch.Tensor, value: torch.Tensor, kv_cache: torch.Tensor, slot_mapping: torch.Tensor
    ) -> None:
        """Write this step's keys and values, and the fields of every page whose last token is among them."""
        self._read_scales(layer)
        pages = self.over(kv_cache)
        how = None if self.softmax.window is not None else self._compiled.summarizing(pages.cache(), pages.region)
        pages.write(key, value, slot_mapping, how)

    def forward(
        self,
        layer: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: DeviceBatch | None,  # type: ignore[override]  # as our own builder makes it
        output: torch.Tensor,
        output_scale: torch.Tensor | None = None,
        output_block_scale: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend (`VortexImpl.forward`)."""
        del key, value
        if output_scale is not None or output_block_scale is not None:
            raise ServingError("attention_backend='CUSTOM' writes no quantised output; turn that fusion off")
        if attn_metadata is None:
            self.remember(layer.layer_name, query.device)  # while vLLM measures what is left for the cache
            return output
        pages, batch, name = self.over(kv_cache), attn_metadata, layer.layer_name
        if batch.prefills is not None:
            where = slice(batch.prefills.first, batch.prefills.first + batch.prefills.num_tokens)
            self._prefill(query[where], pages, batch.prefills, self.softmax, output[where])
            self.meter.add(name, Counters(prefill_tokens=batch.prefills.num_tokens))
        if batch.decodes is not None:
            some = slice(0, batch.num_decodes)
            self.decode_step(name, query[some], pages, batch, output[some])
        return output
