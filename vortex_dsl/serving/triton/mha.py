"""Attention with keys and values by head, on CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernels.decode import sparse_decode
from kernels.merging import at_once, scratch_bytes
from kernels.tuning import tiling_of
from vortex_dsl.serving.config import ServingError
from vortex_dsl.serving.layers.mha import VortexImpl
from vortex_dsl.serving.metrics import Counters
from vortex_dsl.serving.triton.layer import TritonLayer, say_step_bytes
from vortex_dsl.serving.triton.pages import KernelPages, TritonPages, prefill_on

if TYPE_CHECKING:
    import torch

    from vortex_dsl.serving.layers.batches import DeviceBatch


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
        own = scratch_bytes(self.num_kv_heads, max_tokens, group, self.head_size, tiling.part)
        return own * at_once(rows // self.num_kv_heads, own)

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
