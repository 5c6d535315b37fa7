"""One layer of latent attention by Triton kernels, captured in CUDA graphs as other layers are."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch

from kernels.latent import latent_decode, latent_tiling
from kernels.merging import at_once, scratch_bytes
from vortex_dsl.serving.layers.batches import DeviceBatch
from vortex_dsl.serving.layers.mla import VortexMlaImpl, VortexMlaMetadata
from vortex_dsl.serving.layers.rule import Rule
from vortex_dsl.serving.triton.latents import latent_graph
from vortex_dsl.serving.triton.layer import TritonLayer, say_step_bytes
from vortex_dsl.serving.triton.pages import KernelPages, LatentKernelPages

if TYPE_CHECKING:
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.serving.layers.batches import Batch
    from vortex_dsl.serving.pages.latent import LatentPages


class TritonMlaImpl(TritonLayer, VortexMlaImpl):
    """Fields with the write of latents, prefill by vLLM, decode of all heads over one list a sequence."""

    kernel = staticmethod(latent_decode)

    def rule_of(self, program: Program) -> Rule:
        """Make a program ready for latents (`ProgramLayer.rule_of`)."""
        return Rule(program, self.num_heads, self.head_size, partial(latent_graph, value_dim=self.kv_lora_rank))

    def process_weights_after_loading(self, act_dtype: torch.dtype) -> None:
        """Make room for what is kept of requests, before vLLM measures what is left for the cache."""
        super().process_weights_after_loading(act_dtype)
        self.remember(self._name, next(self.kv_b_proj.parameters()).device)

    def pages_over(self, kv_cache: torch.Tensor) -> LatentKernelPages:
        """Make views over a cache, [num_blocks, page_size, content], and say what a step takes beside it."""
        pages = LatentKernelPages(kv_cache, self.head_size, self.kv_lora_rank)
        say_step_bytes(self.step_bytes(pages))
        return pages

    def over(self, kv_cache: torch.Tensor) -> LatentKernelPages:
        """Give this layer's pages (`ProgramLayer.over`)."""
        pages = super().over(kv_cache)
        assert isinstance(pages, LatentKernelPages)
        return pages

    def sums_bytes(self, pages: KernelPages, rows: int, max_tokens: int) -> int:
        """Give the bytes of the partial sums (`TritonLayer.sums_bytes`)."""
        kind = self.vllm_config.model_config.dtype
        query = torch.empty(0, self.num_heads, self.head_size, dtype=kind, device=pages.k.device)
        part = latent_tiling(pages.k, query).part
        own = scratch_bytes(1, max_tokens, self.num_heads, self.kv_lora_rank, part)
        return own * at_once(rows, own)

    def do_kv_cache_update(
        self,
        kv_c_normed: torch.Tensor,
        k_pe: torch.Tensor,
        kv_cache: torch.Tensor,
        slot_mapping: torch.Tensor,
        kv_cache_dtype: str,
        k_scale: torch.Tensor,
    ) -> None:
        """Write this step's latents (`VortexMlaImpl.do_kv_cache_update`), and the fields of pages they complete."""
        del kv_cache_dtype, k_scale
        if not kv_cache.numel():
            return
        self._read_scales(self._layer)
        pages = self.over(kv_cache)
        how = self._compiled.summarizing(pages.cache(), pages.region)
        pages.write(k_pe.squeeze(1), kv_c_normed, slot_mapping.flatten(), how)

    def summarize(self, pages: LatentPages, batch: Batch | DeviceBatch) -> None:
        """Do nothing: fields were computed when their pages' last tokens were written."""

    def forward_mqa(
        self,
        q: torch.Tensor | tuple[torch.Tensor, torch.Tensor],
        kv_c_and_k_pe_cache: torch.Tensor,
        attn_metadata: VortexMlaMetadata,
        layer: Any,
    ) -> tuple[torch.Tensor, None]:
        """Decode one token of every sequence (`VortexMlaImpl.forward_mqa`); ends of prompts attend to everything."""
        query = torch.cat(q, -1) if isinstance(q, tuple) else q
        batch = attn_metadata.batch
        assert isinstance(batch, DeviceBatch)
        output = query.new_empty((*query.shape[:2], self.kv_lora_rank))
        some = slice(0, batch.num_decodes)
        self.decode_step(layer.layer_name, query[some], self.over(kv_c_and_k_pe_cache), batch, output[some])
        return output, None

    @cached_property
    def _layer(self) -> Any:
        """Find the layer that this is the implementation of, which vLLM does not tell when latents are written."""
        return self.vllm_config.compilation_config.static_forward_context[self._name]
