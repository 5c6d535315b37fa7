"""Attention with keys and values by head, in an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from vllm.config import get_current_vllm_config
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.v1.attention.backend import AttentionImpl, AttentionType

from vortex_dsl.serving.config import ServingError, kernels_of
from vortex_dsl.serving.layers.layer import ROOMS, ProgramLayer, not_served
from vortex_dsl.serving.metrics import Counters
from vortex_dsl.serving.pages.over import pages_over
from vortex_dsl.serving.pages.pages import Pages, Softmax
from vortex_dsl.serving.pages.plain import TorchPages

if TYPE_CHECKING:
    from vortex_dsl.serving.layers.batches import Batch


class VortexImpl(ProgramLayer, AttentionImpl):
    """One layer: keeps the fields up to date, runs prefill dense, and decode by its rule."""

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        scale: float,
        num_kv_heads: int,
        alibi_slopes: list[float] | None = None,
        sliding_window: int | None = None,
        kv_cache_dtype: str = "auto",
        logits_soft_cap: float | None = None,
        attn_type: str = AttentionType.DECODER,
        kv_sharing_target_layer_name: str | None = None,
        sinks: torch.Tensor | None = None,
    ) -> None:
        config = get_current_vllm_config()
        asked = {
            "ALiBi": alibi_slopes is not None, "attention sinks": sinks is not None,
            "shared KV layers": kv_sharing_target_layer_name is not None,
            "encoder attention": attn_type != AttentionType.DECODER,
        }  # fmt: skip
        not_served(asked, config, "auto" if kv_cache_dtype in self.quantised else kv_cache_dtype)
        self.kv_cache_dtype = kv_cache_dtype
        self.num_heads, self.num_kv_heads, self.head_size = num_heads, num_kv_heads, head_size
        self.softmax = Softmax(float(scale), float(logits_soft_cap or 0), sliding_window)
        ROOMS[head_size] = room = self.prepare(config)
        if kernels_of(config) == "cpp":
            from vortex_dsl.serving.pages.cpu import refuse_unserved

            dtype = config.model_config.dtype
            assert isinstance(dtype, torch.dtype), "vLLM has settled the model's type before it makes layers"
            refuse_unserved(room.page_size, head_size, dtype)

    def pages_over(self, kv_cache: torch.Tensor) -> Pages:
        """Make views over a cache, [num_blocks, num_kv_heads, page_size, content]."""
        if kernels_of(self.vllm_config) == "torch":
            return TorchPages(kv_cache, self.head_size)
        if kv_cache.device.type == "cpu":
            self._refuse_strangers()
        return pages_over(kv_cache, self.head_size)

    def _refuse_strangers(self) -> None:
        """Refuse whoever else uses the cache's memory block by block: here, fields lie behind all blocks."""
        if self.vllm_config.kv_transfer_config is not None:
            raise ServingError("KV connectors are not served on a CPU: they would leave the fields behind")
        layers = self.vllm_config.compilation_config.static_forward_context.items()
        others = [
            name for name, layer in layers
            if isinstance(layer, AttentionLayerBase) and not isinstance(getattr(layer, "impl", None), ProgramLayer)
        ]  # fmt: skip
        if others:
            raise ServingError(f"layers of other kinds beside ours are not served on a CPU yet: {', '.join(others)}")

    def do_kv_cache_update(
        self, layer: Any, key: torch.Tensor, value: torch.Tensor, kv_cache: torch.Tensor, slot_mapping: torch.Tensor
    ) -> None:
        """Write this step's keys and values. key, value: [num_tokens, num_kv_heads, head_dim]."""
        del layer
        self.over(kv_cache).write(key, value, slot_mapping)

    def close_pages(self, kv_cache: torch.Tensor, batch: Batch) -> Pages:
        """Bring the pages up to date with what the step has written: fields of full ones, the rest of begun ones."""
        pages = self.over(kv_cache)
        self.complete(pages, batch.completed)
        pages.clear_rest(batch.begun)
        return pages

    def forward(
        self,
        layer: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: Batch | None,
        output: torch.Tensor,
        output_scale: torch.Tensor | None = None,
        output_block_scale: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend. query, output: [num_tokens, num_q_heads, head_dim]; decodes come first."""
        del key, value
        if output_scale is not None or output_block_scale is not None:
            raise ServingError("attention_backend='CUSTOM' writes no quantised output; turn that fusion off")
        if attn_metadata is None:
            return output
        batch, pages = attn_metadata, self.close_pages(kv_cache, attn_metadata)
        num_decodes = batch.num_decodes
        if batch.prefills is not None:
            num_tokens = int(batch.prefills.query_start_loc[-1])
            end = num_decodes + num_tokens
            pages.attend_sequences(query[num_decodes:end], batch.prefills, self.softmax, output[num_decodes:end])
            self.meter.add(layer.layer_name, Counters(prefill_tokens=num_tokens))
        if batch.decodes is not None:
            if num_decodes < query.shape[0]:
                self.decode(layer.layer_name, query[:num_decodes], batch.decodes, output[:num_decodes])
            else:  # each cut would take as long as writing the step's keys
                self.decode(layer.layer_name, query, batch.decodes, output)
        return output
