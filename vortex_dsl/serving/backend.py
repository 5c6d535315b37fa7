"""The attention backend CUSTOM: prefill dense, decode over the pages that a program chooses.

Follows vLLM's out-of-tree backend contract (`vllm/v1/attention/backend.py`, 0.32). Fields live in the room that each
page is given for them, so vLLM accounts for them, and they follow the page through prefix caching and preemption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from vllm.config import get_current_vllm_config, get_current_vllm_config_or_none
from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.v1.attention.backend import (
    AttentionBackend,
    AttentionCGSupport,
    AttentionImpl,
    AttentionMetadataBuilder,
    AttentionType,
)
from vllm.v1.kv_cache_interface import KVCacheLayout

from .batches import Batch, BatchReader, split
from .config import ServingError
from .decodes import Heads
from .kinds import kernels_of
from .layer import ProgramLayer, Room, not_served, with_fields
from .metrics import Counters
from .pages import Pages, Softmax, pages_over
from .pages_torch import TorchPages
from .steps import DeviceBatch, StepReader

if TYPE_CHECKING:
    from vllm.v1.attention.backend import CommonAttentionMetadata

PAGE_SIZES = (16, 32, 64, 128)


class VortexMetadataBuilder(BatchReader, AttentionMetadataBuilder[Batch | DeviceBatch]):
    """Turns vLLM's batch into rows of pages, once per step for all layers."""

    steps: StepReader | None = None  # where decode runs on Triton

    def __init__(self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)
        self._init_reorder_batch_threshold(1)
        self.page_size = kv_cache_spec.block_size
        total, num_ranks = vllm_config.model_config.get_total_num_kv_heads(), get_tensor_model_parallel_world_size()
        first = first_kv_head(total, get_tensor_model_parallel_rank(), num_ranks)
        self.heads = Heads(kv_cache_spec.num_kv_heads, first)
        if kernels_of(vllm_config) == "triton":
            self.steps = StepReader(self.page_size, vllm_config, layer_names, device)

    @classmethod
    def get_cudagraph_support(cls, vllm_config: Any, kv_cache_spec: Any) -> AttentionCGSupport:
        """Say that graphs may hold whole decode steps where they run on Triton, and none elsewhere."""
        del kv_cache_spec
        triton = kernels_of(vllm_config) == "triton"
        return AttentionCGSupport.UNIFORM_SINGLE_TOKEN_DECODE if triton else AttentionCGSupport.NEVER

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


def first_kv_head(total: int, rank: int, num_ranks: int) -> int:
    """Give the global number of a rank's first KV head: heads are split over the ranks, or repeated where too few."""
    return total * rank // num_ranks


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
        VortexBackend.rooms[head_size] = self.prepare(config)

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
        pages, batch = self.over(kv_cache), attn_metadata
        self.complete(pages, batch.completed)
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


class VortexBackend(AttentionBackend):
    """What vLLM asks of a backend: names, shapes, and room for the fields of each page."""

    forward_includes_kv_cache_update: bool = False
    supported_dtypes: ClassVar[list[torch.dtype]] = [torch.float32, torch.bfloat16, torch.float16]
    supported_kv_cache_dtypes: ClassVar[list[Any]] = ["auto", "float16", "bfloat16", "fp8", "fp8_e4m3"]
    rooms: ClassVar[dict[int, Room]] = {}  # by head_dim: layers set it, the cache reads it

    @staticmethod
    def get_name() -> str:
        """Name the enum member that selects this backend."""
        return "CUSTOM"

    @staticmethod
    def get_impl_cls() -> type[VortexImpl]:
        """Give the class of one layer: that of Triton's kernels where the configured model's layers run on them."""
        config = get_current_vllm_config_or_none()
        if config is None or kernels_of(config) != "triton":
            return VortexImpl
        from .backend_triton import TritonImpl

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
    def supported_kv_cache_layouts(cls) -> tuple[KVCacheLayout, ...]:
        """Head-major: every (block, KV head) pair is one stretch of memory."""
        return (KVCacheLayout.LBHNC,)

    @classmethod
    def customize_spec(cls, spec: Any) -> Any:
        """Enlarge each page so that the fields fit behind its keys and values."""
        if spec.state_content_bytes is None and spec.head_size_v != spec.head_size:
            raise ServingError(f"keys of {spec.head_size} and values of {spec.head_size_v} channels are not served yet")
        return with_fields(spec, cls.rooms[spec.head_size])
