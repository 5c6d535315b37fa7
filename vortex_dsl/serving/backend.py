"""The attention backend CUSTOM: prefill dense, decode over the pages that a program chooses.

Follows vLLM's out-of-tree backend contract (`vllm/v1/attention/backend.py`, 0.32). Fields live in the room that each
page is given for them, so vLLM accounts for them, and they follow the page through prefix caching and preemption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from vllm.config import get_current_vllm_config_or_none
from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size
from vllm.v1.attention.backend import (
    AttentionBackend,
    AttentionCGSupport,
    AttentionMetadataBuilder,
)
from vllm.v1.kv_cache_interface import KVCacheLayout

from vortex_dsl.serving.config import ServingError, kernels_of
from vortex_dsl.serving.layers.batches import Batch, BatchReader, DeviceBatch, split
from vortex_dsl.serving.layers.decodes import Heads, first_kv_head
from vortex_dsl.serving.layers.layer import ROOMS, Room, refuse_wrapping, with_fields
from vortex_dsl.serving.layers.mha import VortexImpl
from vortex_dsl.serving.shapes import shape_of
from vortex_dsl.serving.triton.steps import StepReader

if TYPE_CHECKING:
    from vllm.v1.attention.backend import CommonAttentionMetadata

PAGE_SIZES = (16, 32, 64, 128)


class StepBuilder(BatchReader):
    """What our builders of metadata have in common: who reads a step for the device, and what graphs may hold."""

    steps: StepReader | None = None  # where decode runs on Triton

    @classmethod
    def get_cudagraph_support(cls, vllm_config: Any, kv_cache_spec: Any) -> AttentionCGSupport:
        """Say that graphs may hold whole decode steps where they run on Triton, and none elsewhere."""
        del kv_cache_spec
        triton = kernels_of(vllm_config) == "triton"
        return AttentionCGSupport.UNIFORM_SINGLE_TOKEN_DECODE if triton else AttentionCGSupport.NEVER


class ProgramBackend:
    """What our backends have in common: name, types, memory, and that vLLM makes no other backend of them."""

    supported_dtypes: ClassVar[list[torch.dtype]] = [torch.float32, torch.bfloat16, torch.float16]
    supported_kv_cache_dtypes: ClassVar[list[Any]] = ["auto", "float16", "bfloat16", "fp8", "fp8_e4m3"]

    def __init_subclass__(cls) -> None:
        """Refuse a class that vLLM makes of a backend of ours (`refuse_wrapping`)."""
        super().__init_subclass__()
        if any(issubclass(base, ProgramBackend) for base in cls.__bases__ if base is not ProgramBackend):
            refuse_wrapping(cls)

    @staticmethod
    def get_name() -> str:
        """Name the enum member that selects this backend."""
        return "CUSTOM"

    @classmethod
    def supported_kv_cache_layouts(cls) -> tuple[KVCacheLayout, ...]:
        """Head-major: every (block, KV head) pair is one stretch of memory; latents have one head."""
        return (KVCacheLayout.LBHNC,)


class VortexMetadataBuilder(StepBuilder, AttentionMetadataBuilder[Batch | DeviceBatch]):
    """Turns vLLM's batch into rows of pages, once per step for all layers."""

    def __init__(self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)
        self._init_reorder_batch_threshold(1)
        self.page_size = kv_cache_spec.block_size
        total = shape_of(vllm_config.model_config.hf_config).num_kv_heads
        first = first_kv_head(total, get_tensor_model_parallel_rank(), get_tensor_model_parallel_world_size())
        self.heads = Heads(kv_cache_spec.num_kv_heads, first)
        if kernels_of(vllm_config) == "triton":
            self.steps = StepReader(self.page_size, vllm_config, layer_names, device)

    def build(
        self, common_prefix_len: int, common_attn_metadata: CommonAttentionMetadata, fast_build: bool = False
    ) -> Batch | DeviceBatch:
        """Build the step's metadata."""
        del common_prefix_len, fast_build
        batch = common_attn_metadata
        if batch.causal is not True or batch.mm_req_doc_ranges:
            raise ServingError("attention_backend='CUSTOM' serves causal attention only; this model asks for another")
        if self.steps is not None:
            return self.steps.read(batch)
        return self.read(batch, split(batch))


class VortexBackend(ProgramBackend, AttentionBackend):
    """Attention with keys and values by head: its classes, and room for the fields of each page."""

    forward_includes_kv_cache_update: bool = False
    rooms: ClassVar[dict[int, Room]] = ROOMS

    @staticmethod
    def get_impl_cls() -> type[VortexImpl]:
        """Give the class of one layer: that of Triton's kernels where the configured model's layers run on them."""
        config = get_current_vllm_config_or_none()
        if config is None or kernels_of(config) != "triton":
            return VortexImpl
        from vortex_dsl.serving.triton.mha import TritonImpl

        return TritonImpl

    @staticmethod
    def get_builder_cls() -> type[VortexMetadataBuilder]:
        """Give the class that builds the metadata."""
        return VortexMetadataBuilder

    @classmethod
    def get_supported_kernel_block_sizes(cls, kv_cache_spec: Any = None) -> list[Any]:
        """Give the page sizes; a page is the engine's block, never a part of it."""
        return list(PAGE_SIZES) if kv_cache_spec is None else [cls.rooms[kv_cache_spec.head_size].page_size]

    @classmethod
    def customize_spec(cls, spec: Any) -> Any:
        """Enlarge each page so that the fields fit behind its keys and values."""
        if spec.state_content_bytes is None and spec.head_size_v != spec.head_size:
            raise ServingError(f"keys of {spec.head_size} and values of {spec.head_size_v} channels are not served yet")
        return with_fields(spec, cls.rooms[spec.head_size])
