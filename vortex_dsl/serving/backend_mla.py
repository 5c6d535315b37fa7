"""The attention backend CUSTOM for models with multi-head latent attention: decode over the latents of chosen pages.

Prefill is vLLM's own, dense. A decode's queries come absorbed, so that one KV head holds all that they attend to: the
latent of a token is its key, and the latent's value part its value. Fields live inside the page, behind the latents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from vllm.config import get_current_vllm_config_or_none
from vllm.model_executor.layers.attention.mla_attention import (
    MLACommonBackend,
    MLACommonMetadataBuilder,
)

from vortex_dsl.serving.backend import PAGE_SIZES, ProgramBackend, StepBuilder
from vortex_dsl.serving.config import kernels_of
from vortex_dsl.serving.layers.decodes import Heads
from vortex_dsl.serving.layers.layer import LATENT_ROOMS, Room, with_fields
from vortex_dsl.serving.layers.mla import VortexMlaImpl, VortexMlaMetadata
from vortex_dsl.serving.triton.steps import StepReader

if TYPE_CHECKING:
    from vllm.v1.attention.backend import CommonAttentionMetadata


class VortexMlaMetadataBuilder(StepBuilder, MLACommonMetadataBuilder[VortexMlaMetadata]):
    """Reads vLLM's batch as vLLM does for its own prefill, and as rows of pages for our decode."""

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


class VortexMlaBackend(ProgramBackend, MLACommonBackend):
    """Latent attention: its classes, and room for fields inside the page."""

    rooms: ClassVar[dict[int, Room]] = LATENT_ROOMS

    @staticmethod
    def get_impl_cls() -> type[VortexMlaImpl]:
        """Give the class of one layer: that of Triton's kernels where the configured model's layers run on them."""
        config = get_current_vllm_config_or_none()
        if config is None or kernels_of(config) != "triton":
            return VortexMlaImpl
        from vortex_dsl.serving.triton.mla import TritonMlaImpl

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
    def customize_spec(cls, spec: Any) -> Any:
        """Enlarge each page so that the fields fit behind its latents."""
        return with_fields(super().customize_spec(spec), cls.rooms[spec.head_size])
