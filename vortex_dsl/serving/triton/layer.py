"""One layer by Triton kernels: what it launches is known from the host's bounds, so CUDA graphs can hold a step."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size

from kernels.selection import Listing
from kernels.selection import Pages as Bounds
from vortex_dsl.backends.compiled import Compiled, Step
from vortex_dsl.serving.config import ServingError
from vortex_dsl.serving.layers.batches import Shared
from vortex_dsl.serving.layers.decodes import Decodes, Heads, first_kv_head
from vortex_dsl.serving.layers.layer import ProgramLayer, layer_index
from vortex_dsl.serving.shapes import shape_of
from vortex_dsl.serving.triton.memory import DeviceMemory, extent
from vortex_dsl.serving.triton.memory import step_bytes as remembering_bytes
from vortex_dsl.serving.triton.pages import KernelPages, weighing
from vortex_dsl.serving.triton.steps import max_rows
from vortex_dsl.serving.triton.tallies import DeviceMeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernels.selection import BlockLists
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.serving.layers.batches import DeviceBatch


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
        total, rank = shape_of(vllm_config.model_config.hf_config).num_kv_heads, get_tensor_model_parallel_rank()
        self._first_head = first_kv_head(total, rank, get_tensor_model_parallel_world_size())
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

    @property
    def chooser(self) -> str:
        """Name what chooses pages here (`ProgramLayer.chooser`): what attends, too."""
        assert isinstance(self._pages, KernelPages)
        return self._pages.kernels

    @abstractmethod
    def sums_bytes(self, pages: KernelPages, rows: int, max_tokens: int) -> int:
        """Give the bytes of the partial sums of so many rows of at most so many tokens."""

    def step_bytes(self, pages: KernelPages) -> int:
        """Give the most bytes that a decode step of one layer takes for a while: scores, lists and partial sums."""
        rows, size = self._max_rows, pages.page_size
        most = -(-self.vllm_config.model_config.max_model_len // size)
        lists = 4 * rows * (most + 2)
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
            batch.choices.clear()  # of no use from here on, and a step would hold the lists of all layers
            batch.choices[leader] = self._choose(name, query, pages, batch)
        shared = self._shared(name, batch, leader)
        self.kernel(query, cache, shared.lists, weighing(self.softmax), output)
        if self._recorder is not None:
            for seen in self._seen(index, query, batch, shared.lists):
                self._recorder.append(seen)

    def _choose(self, name: str, query: torch.Tensor, pages: KernelPages, batch: DeviceBatch) -> Shared:
        """List what every row attends to, and count it."""
        assert batch.decodes is not None
        rows, graph = batch.decodes, self.rule.graph
        bounds = Bounds(rows.lengths, self.num_kv_heads, batch.max_pages, graph.page_size, graph.sink, graph.window)
        bounds = replace(bounds, most_pages=rows.table.shape[1])  # of the longest sequence that the engine takes
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
