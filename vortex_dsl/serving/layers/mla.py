"""Latent attention, in an engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from vllm.config import get_current_vllm_config
from vllm.model_executor.layers.attention.mla_attention import MLACommonDecodeMetadata, MLACommonImpl, MLACommonMetadata
from vllm.v1.attention.backend import AttentionType

from vortex_dsl.serving.config import kernels_of
from vortex_dsl.serving.layers.batches import Batch, DeviceBatch
from vortex_dsl.serving.layers.layer import LATENT_ROOMS, ProgramLayer, not_served
from vortex_dsl.serving.metrics import Counters
from vortex_dsl.serving.pages.latent import LatentPages
from vortex_dsl.serving.pages.over import latents_over
from vortex_dsl.serving.pages.pages import Softmax


@dataclass
class VortexMlaMetadata(MLACommonMetadata[MLACommonDecodeMetadata]):
    """What vLLM's own code needs of a step, and what ours does."""

    batch: Batch | DeviceBatch | None = None


class VortexMlaImpl(ProgramLayer, MLACommonImpl[VortexMlaMetadata]):
    """One layer: keeps the fields up to date, leaves prefill to vLLM, and runs decode by its rule."""

    can_return_lse_for_decode: bool = False

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        scale: float,
        num_kv_heads: int,
        alibi_slopes: list[float] | None,
        sliding_window: int | None,
        kv_cache_dtype: str,
        logits_soft_cap: float | None,
        attn_type: str,
        kv_sharing_target_layer_name: str | None,
        **mla_args: Any,
    ) -> None:
        config = get_current_vllm_config()
        parallel = config.parallel_config
        asked = {
            "ALiBi": alibi_slopes is not None, "a sliding window": sliding_window is not None,
            "soft-capped logits": bool(logits_soft_cap), "encoder attention": attn_type != AttentionType.DECODER,
            "shared KV layers": kv_sharing_target_layer_name is not None,
            "a model that chooses tokens itself": mla_args.get("indexer") is not None,
            "latents split over workers": parallel.decode_context_parallel_size > 1,
            "prefill split over workers": parallel.prefill_context_parallel_size > 1,
            # a worker sees some heads' queries only, so each would choose pages of its own
            "latent attention with tensor_parallel_size above 1": parallel.tensor_parallel_size > 1,
        }  # fmt: skip
        not_served(asked, config, "auto" if kv_cache_dtype in self.quantised else kv_cache_dtype)
        super().__init__(
            num_heads, head_size, scale, num_kv_heads, None, None, kv_cache_dtype, None, attn_type, None, **mla_args
        )
        self.supports_quant_query_input = False
        # This fusion would write latents past `do_kv_cache_update`, as if no fields were in the page.
        config.compilation_config.pass_config.fuse_rope_kvcache_cat_mla = False
        self.softmax = Softmax(self.scale)
        LATENT_ROOMS[head_size] = self.prepare(config)

    def pages_over(self, kv_cache: torch.Tensor) -> LatentPages:
        """Make views over a cache, [num_blocks, page_size, content]."""
        if kernels_of(self.vllm_config) == "torch":
            return LatentPages(kv_cache, self.head_size, self.kv_lora_rank)
        return latents_over(kv_cache, self.head_size, self.kv_lora_rank)

    def over(self, kv_cache: torch.Tensor) -> LatentPages:
        """Give this layer's pages (`ProgramLayer.over`)."""
        pages = super().over(kv_cache)
        assert isinstance(pages, LatentPages)
        return pages

    def do_kv_cache_update(
        self,
        kv_c_normed: torch.Tensor,
        k_pe: torch.Tensor,
        kv_cache: torch.Tensor,
        slot_mapping: torch.Tensor,
        kv_cache_dtype: str,
        k_scale: torch.Tensor,
    ) -> None:
        """Write this step's latents. kv_c_normed: [num_tokens, kv_lora_rank]; k_pe: [num_tokens, 1, rotated]."""
        if not kv_cache.numel():
            return
        pages, slots = self.over(kv_cache), slot_mapping.flatten()
        if kv_cache.is_cpu:
            pages.write(k_pe.squeeze(1), kv_c_normed, slots)
        else:
            super().do_kv_cache_update(kv_c_normed, k_pe, pages.latents, slots, kv_cache_dtype, k_scale)

    def summarize(self, pages: LatentPages, batch: Batch | DeviceBatch) -> None:
        """Compute the fields of the pages whose last token this step wrote."""
        assert isinstance(batch, Batch)
        self.complete(pages, batch.completed)

    def forward_mha(
        self,
        q: torch.Tensor,
        kv_c_normed: torch.Tensor,
        k_pe: torch.Tensor,
        kv_c_and_k_pe_cache: torch.Tensor,
        attn_metadata: MLACommonMetadata,
        k_scale: torch.Tensor,
        output: torch.Tensor,
        output_scale: torch.Tensor | None = None,
    ) -> None:
        """Prefill as vLLM does. It runs before the decodes of a step."""
        pages = self.over(kv_c_and_k_pe_cache)
        assert isinstance(attn_metadata, VortexMlaMetadata)
        assert attn_metadata.batch is not None
        self.summarize(pages, attn_metadata.batch)
        latents, meta = context_of(pages, attn_metadata)
        super().forward_mha(q, kv_c_normed, k_pe, latents, meta, k_scale, output, output_scale)
        self.meter.add(self._name, Counters(prefill_tokens=q.shape[0]))

    def forward_mqa(
        self,
        q: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
        kv_c_and_k_pe_cache: torch.Tensor,
        attn_metadata: VortexMlaMetadata,
        layer: Any,
    ) -> tuple[torch.Tensor, None]:
        """Decode one token of every sequence. q: [num_sequences, num_q_heads, latent], or its two parts."""
        del layer
        query = torch.cat(q, -1) if isinstance(q, tuple) else q
        pages, batch = self.over(kv_c_and_k_pe_cache), attn_metadata.batch
        assert isinstance(batch, Batch)
        assert batch.decodes is not None
        if batch.prefills is None:
            self.summarize(pages, batch)
        output = query.new_empty((*query.shape[:2], self.kv_lora_rank))
        self.decode(self._name, query, batch.decodes, output)
        return output, None

    @cached_property
    def _name(self) -> str:
        """Find the layer's name, which vLLM does not tell in prefill."""
        layers = self.vllm_config.compilation_config.static_forward_context.items()
        return next(name for name, layer in layers if getattr(layer, "impl", None) is self)


def context_of(pages: LatentPages, meta: VortexMlaMetadata) -> tuple[torch.Tensor, VortexMlaMetadata]:
    """Give what prefill reads of earlier tokens, and where: vLLM's gather on CPU takes no cache with fields in it.

    There, the pages that hold the context are copied, and the metadata lists the copies.
    """
    prefill, latents = meta.prefill, pages.latents
    if prefill is None or prefill.chunked_context is None or not latents.is_cpu or latents.is_contiguous():
        return latents, meta
    most = -(-max(prefill.chunked_context.context_lens_list) // pages.page_size)
    table = prefill.block_table[:, :most].clamp(min=0).long()
    copies = torch.arange(table.numel(), dtype=torch.int32).view_as(table)
    return latents[table.flatten()], replace(meta, prefill=replace(prefill, block_table=copies))
