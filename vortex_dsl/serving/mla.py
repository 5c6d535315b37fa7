"""The attention backend CUSTOM for models with multi-head latent attention: decode over the latents of chosen pages.

Prefill is vLLM's own, dense. A decode's queries come absorbed, so that one KV head holds all that they attend to: the
latent of a token is its key, and the latent's value part its value. Fields live inside the page, behind the latents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from vllm.config import get_current_vllm_config, get_current_vllm_config_or_none
from vllm.model_executor.layers.attention.mla_attention import (
    MLACommonBackend,
    MLACommonDecodeMetadata,
    MLACommonImpl,
    MLACommonMetadata,
    MLACommonMetadataBuilder,
)
from vllm.v1.attention.backend import AttentionCGSupport, AttentionType
from vllm.v1.kv_cache_interface import KVCacheLayout

from .backend import PAGE_SIZES
from .batches import Batch, BatchReader
from .decodes import Heads
from .kinds import kernels_of
from .layer import ProgramLayer, Room, not_served, with_fields
from .metrics import Counters
from .pages import Softmax
from .pages_latent import LatentPages, latents_over
from .steps import DeviceBatch, StepReader

if TYPE_CHECKING:
    from vllm.v1.attention.backend import CommonAttentionMetadata


@dataclass
class VortexMlaMetadata(MLACommonMetadata[MLACommonDecodeMetadata]):
    """What vLLM's own code needs of a step, and what ours does."""

    batch: Batch | DeviceBatch | None = None


class VortexMlaMetadataBuilder(BatchReader, MLACommonMetadataBuilder[VortexMlaMetadata]):
    """Reads vLLM's batch as vLLM does for its own prefill, and as rows of pages for our decode."""

    steps: StepReader | None = None  # where decode runs on Triton

    def __init__(self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device, VortexMlaMetadata)
        self.layer_names, self.heads = layer_names, Heads(1)
        if kernels_of(vllm_config) == "triton":
            # A captured step may hold one-token pieces of prompts too: they are marked, and attend to everything.
            self.steps = StepReader(kv_cache_spec.block_size, vllm_config, layer_names, device)
        else:
            # All that vLLM's builder asks it for is whether a one-token piece of a prompt is a prefill. To us it is:
            # answers must not depend on cache luck.
            self.use_pcp = True

    @classmethod
    def get_cudagraph_support(cls, vllm_config: Any, kv_cache_spec: Any) -> AttentionCGSupport:
        """Say that graphs may hold whole decode steps where they run on Triton, and none elsewhere."""
        del kv_cache_spec
        triton = kernels_of(vllm_config) == "triton"
        return AttentionCGSupport.UNIFORM_SINGLE_TOKEN_DECODE if triton else AttentionCGSupport.NEVER

    def build(
        self, common_prefix_len: int, common_attn_metadata: CommonAttentionMetadata, fast_build: bool = False
    ) -> VortexMlaMetadata:
        """Build the step's metadata."""
        meta = super().build(common_prefix_len, common_attn_metadata, fast_build)
        if self.steps is not None:
            meta.batch = self.steps.read(common_attn_metadata)
        else:
            split = (meta.num_decodes, meta.num_prefills, meta.num_decode_tokens)
            meta.batch = self.read(common_attn_metadata, split)
        return meta


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
        VortexMlaBackend.rooms[head_size] = self.prepare(config)

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


class VortexMlaBackend(MLACommonBackend):
    """What vLLM asks of a backend: names, shapes, and room for fields inside the page."""

    supported_dtypes: ClassVar[list[torch.dtype]] = [torch.float32, torch.bfloat16, torch.float16]
    supported_kv_cache_dtypes: ClassVar[list[Any]] = ["auto", "float16", "bfloat16", "fp8", "fp8_e4m3"]
    rooms: ClassVar[dict[int, Room]] = {}  # by width of the latent: layers set it, the cache reads it

    @staticmethod
    def get_name() -> str:
        """Name the enum member that selects this backend."""
        return "CUSTOM"

    @staticmethod
    def get_impl_cls() -> type[VortexMlaImpl]:
        """Give the class of one layer: that of Triton's kernels where the configured model's layers run on them."""
        config = get_current_vllm_config_or_none()
        if config is None or kernels_of(config) != "triton":
            return VortexMlaImpl
        from .mla_triton import TritonMlaImpl

        return TritonMlaImpl

    @staticmethod
    def get_builder_cls() -> type[VortexMlaMetadataBuilder]:
        """Give the class that builds the metadata."""
        return VortexMlaMetadataBuilder

    @staticmethod
    def get_supported_kernel_block_sizes(kv_cache_spec: Any = None) -> list[Any]:
        """Give the page sizes; a page is the engine's block, never a part of it."""
        return list(PAGE_SIZES) if kv_cache_spec is None else [kv_cache_spec.block_size]

    @classmethod
    def supported_kv_cache_layouts(cls) -> tuple[KVCacheLayout, ...]:
        """Each block of a layer is one stretch of memory."""
        return (KVCacheLayout.LBHNC,)

    @classmethod
    def customize_spec(cls, spec: Any) -> Any:
        """Enlarge each page so that the fields fit behind its latents."""
        return with_fields(super().customize_spec(spec), cls.rooms[spec.head_size])
