"""The attention backend CUSTOM: prefill dense, decode over the pages that a program chooses.

Follows vLLM's out-of-tree backend contract (`vllm/v1/attention/backend.py`, 0.32). Fields live inside the page,
so vLLM accounts for them and moves them with prefix caching and preemption.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from vllm.config import get_current_vllm_config
from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size
from vllm.model_executor.models.utils import extract_layer_index
from vllm.v1.attention.backend import AttentionBackend, AttentionImpl, AttentionMetadataBuilder, AttentionType
from vllm.v1.attention.backends.utils import split_decodes_and_prefills
from vllm.v1.kv_cache_interface import KVCacheLayout

from .config import ServingError, serving_config
from .decodes import Decodes, Heads, pages_of
from .memory import Requests
from .metrics import Counters, Meter
from .pages import Pages, Rows, pages_over
from .rule import Layer, Rule, page_table

if TYPE_CHECKING:
    from vllm.v1.attention.backend import CommonAttentionMetadata

    from vortex_dsl.program import Program

PAGE_SIZES = (16, 32, 64, 128)


@dataclass(frozen=True)
class VortexMetadata:
    """One step's batch, decodes first. `completed`: page numbers whose last token is written in this step."""

    num_decodes: int
    decodes: Decodes | None
    prefills: Rows | None
    completed: torch.Tensor


class VortexMetadataBuilder(AttentionMetadataBuilder[VortexMetadata]):
    """Turns vLLM's batch into rows of pages, once per step for all layers."""

    def __init__(self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)
        self._init_reorder_batch_threshold(1)
        self.page_size = kv_cache_spec.block_size
        total, num_ranks = vllm_config.model_config.get_total_num_kv_heads(), get_tensor_model_parallel_world_size()
        first = first_kv_head(total, get_tensor_model_parallel_rank(), num_ranks)
        self.heads = Heads(kv_cache_spec.num_kv_heads, first)
        self._requests: Requests | None = None

    def build(
        self, common_prefix_len: int, common_attn_metadata: CommonAttentionMetadata, fast_build: bool = False
    ) -> VortexMetadata:
        """Build the step's metadata. A one-token prefill chunk is a prefill: answers must not depend on cache luck."""
        del common_prefix_len, fast_build
        batch = common_attn_metadata
        if batch.causal is not True or batch.mm_req_doc_ranges:
            raise ServingError("attention_backend='CUSTOM' serves causal attention only; this model asks for another")
        split = split_decodes_and_prefills(batch, treat_short_extends_as_decodes=False)
        num_decodes, num_prefills, num_decode_tokens, _ = split
        starts, lengths, table = batch.query_start_loc, batch.seq_lens, batch.block_table_tensor
        prefills = None
        if num_prefills:
            prefills = Rows(table[num_decodes:], lengths[num_decodes:], starts[num_decodes:] - num_decode_tokens)
        decodes = None
        if num_decodes:
            rows = Rows(table[:num_decodes], lengths[:num_decodes], starts[: num_decodes + 1])
            decodes = Decodes(rows, self.page_size, self.heads)
        self._follow(decodes, prefills)
        slots = batch.slot_mapping[: batch.num_actual_tokens]
        last = slots[slots % self.page_size == self.page_size - 1]  # -1 (padding) has this remainder too
        completed = pages_of(last[last >= 0] // self.page_size, self.heads.count).flatten()
        return VortexMetadata(num_decodes, decodes, prefills, completed)

    def _follow(self, decodes: Decodes | None, prefills: Rows | None) -> None:
        """Recognise the requests, if a layer of this group remembers anything of them."""
        context = self.vllm_config.compilation_config.static_forward_context
        layers = [context[name] for name in self.layer_names]
        if not any(layer.impl.rule.remembers for layer in layers):
            self._requests = None
            return
        if self._requests is None:
            num_blocks, max_requests = layers[0].kv_cache.shape[0], self.vllm_config.scheduler_config.max_num_seqs
            self._requests = Requests(num_blocks, max_requests, self.page_size, self.device)
        if prefills is not None:
            self._requests.forget(prefills.table, prefills.lengths)
        if decodes is not None:
            decodes.followed = self._requests.follow(decodes.rows.table, decodes.rows.lengths.long())


def first_kv_head(total: int, rank: int, num_ranks: int) -> int:
    """Give the global number of a rank's first KV head: heads are split over the ranks, or repeated where too few."""
    return total * rank // num_ranks


class VortexImpl(AttentionImpl):
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
        self.vllm_config = get_current_vllm_config()
        model = self.vllm_config.model_config
        asked = {
            "ALiBi": alibi_slopes is not None, "a sliding window": sliding_window is not None,
            "soft-capped logits": bool(logits_soft_cap), "attention sinks": sinks is not None,
            "shared KV layers": kv_sharing_target_layer_name is not None,
            "encoder attention": attn_type != AttentionType.DECODER,
            "speculative decoding": self.vllm_config.speculative_config is not None,  # its steps would run as prefill
            f"kv_cache_dtype={kv_cache_dtype!r} with a model in {model.dtype}":
                kv_cache_dtype not in ("auto", str(model.dtype).removeprefix("torch.")),
        }  # fmt: skip
        refused = [name for name, is_asked in asked.items() if is_asked]
        if refused:
            raise ServingError(f"attention_backend='CUSTOM' does not serve {', '.join(refused)} yet")
        self.num_heads, self.num_kv_heads, self.head_size, self.scale = num_heads, num_kv_heads, head_size, scale
        self.num_layers = model.get_total_num_hidden_layers()
        config = serving_config(self.vllm_config)
        self.meter = Meter()
        self.recorder: list[dict[str, Any]] | None = None
        self._pages: Pages | None = None
        self._complete = torch.zeros(0, dtype=torch.bool)
        self.field_bytes: int | None = None  # not settled before the first program
        self.use(config.load())
        self.field_bytes = max(self.rule.field_bytes, config.field_bytes)
        VortexBackend.field_bytes[head_size] = self.field_bytes

    def use(self, program: Program) -> None:
        """Serve this program from now on and recompute the fields of every complete page."""
        rule = Rule(program, self.num_heads // self.num_kv_heads, self.head_size)
        block_size = self.vllm_config.cache_config.block_size
        if rule.page_size != block_size:
            raise ServingError(
                f"{program.name} has page_size {rule.page_size} but the engine's blocks have {block_size} tokens; "
                f"start vLLM with block_size={rule.page_size}"
            )
        if self.field_bytes is not None and rule.field_bytes > self.field_bytes:
            raise ServingError(
                f"{program.name} needs {rule.field_bytes} bytes of fields per page; the engine reserved "
                f"{self.field_bytes}: start one with 'field_bytes' of at least {rule.field_bytes}"
            )
        self.rule = rule
        self._memory = rule.memory(self.num_kv_heads)
        if self._pages is not None:
            rule.summarize(self._pages, self._complete.nonzero().flatten())

    def do_kv_cache_update(
        self, layer: Any, key: torch.Tensor, value: torch.Tensor, kv_cache: torch.Tensor, slot_mapping: torch.Tensor
    ) -> None:
        """Write this step's keys and values. key, value: [num_tokens, num_kv_heads, head_dim]."""
        del layer
        self._view(kv_cache).write(key, value, slot_mapping)

    def forward(
        self,
        layer: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: VortexMetadata | None,
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
        pages, meta = self._view(kv_cache), attn_metadata
        if meta.completed.numel():
            self.rule.summarize(pages, meta.completed)
            self._complete[meta.completed] = True
        num_decodes = meta.num_decodes
        if meta.prefills is not None:
            num_tokens = int(meta.prefills.query_start_loc[-1])
            end = num_decodes + num_tokens
            pages.attend_sequences(query[num_decodes:end], meta.prefills, self.scale, output[num_decodes:end])
            self.meter.add(layer.layer_name, Counters(prefill_tokens=num_tokens))
        if meta.decodes is not None:
            self.meter.add(
                layer.layer_name, self._decode(layer, query[:num_decodes], meta.decodes, output[:num_decodes])
            )
        return output

    def _decode(self, layer: Any, query: torch.Tensor, decodes: Decodes, output: torch.Tensor) -> Counters:
        """Decode one token of every sequence. query, output: [num_sequences, num_q_heads, head_dim]."""
        pages = self._pages
        assert pages is not None
        index = layer_index(layer.layer_name)
        if self.rule.leader(index) is None:
            pages.attend_sequences(query, decodes.rows, self.scale, output)
            return Counters(dense_tokens=query.shape[0])
        by_kv_head = query.reshape(-1, self.num_heads // self.num_kv_heads, self.head_size)
        where = Layer(index, self.num_layers, self.scale)
        attended = self.rule.attended(by_kv_head, pages, decodes, where, self._memory)
        if attended is None:
            pages.attend_sequences(query, decodes.rows, self.scale, output)
        else:
            table, lengths = page_table(attended, decodes.pages, decodes.lengths, pages.page_size)
            starts = torch.arange(table.shape[0] + 1, dtype=torch.int32, device=table.device)
            pages.attend_pages(by_kv_head, Rows(table, lengths, starts), self.scale, output.view_as(by_kv_head))
        if self.recorder is not None:
            self.recorder.append(self._recording(index, by_kv_head, decodes, attended))
        return counted(attended, decodes)

    def _recording(
        self, index: int, query: torch.Tensor, decodes: Decodes, attended: torch.Tensor | None
    ) -> dict[str, Any]:
        """Copy what a rule saw and chose.

        q: [rows, group, dim], k and v: [rows, tokens, dim], all float32; lengths: [rows]; attended: [rows, page].
        """
        pages = self._pages
        assert pages is not None
        if attended is None:
            attended = torch.arange(decodes.max_pages) * pages.page_size < decodes.lengths[:, None]
        return {
            "layer": index, "num_layers": self.num_layers, "scale": self.scale, "q": query.float().clone(),
            "k": pages.raw_keys(decodes.pages).flatten(1, 2).float(),
            "v": pages.raw_values(decodes.pages).flatten(1, 2).float(),
            "lengths": decodes.lengths.clone(), "kv_head": decodes.kv_head.clone(), "attended": attended,
        }  # fmt: skip

    def _view(self, kv_cache: torch.Tensor) -> Pages:
        if self._pages is None or not self._pages.is_over(kv_cache):
            self._pages = pages_over(kv_cache, self.head_size)
            if self._pages.page_size != self.rule.page_size:
                raise ServingError(
                    f"vLLM gave this layer blocks of {self._pages.page_size} tokens, the program's page has "
                    f"{self.rule.page_size}: models whose layers have caches of different sizes are not served yet"
                )
            self._complete = torch.zeros(self._pages.num_pages, dtype=torch.bool, device=kv_cache.device)
        return self._pages


@cache
def layer_index(name: str) -> int:
    """Give the number in a layer's name, which is looked for in a string only once."""
    return extract_layer_index(name)


def counted(attended: torch.Tensor | None, decodes: Decodes) -> Counters:
    """Count a sparse decode step. attended: as `Rule.attended` gives it."""
    num_sequences, total = decodes.num_sequences, decodes.total_pages
    if attended is None:
        return Counters(num_sequences, num_sequences, pages_attended=total, pages_dense=total)
    return Counters(num_sequences, pages_attended=int(attended.sum()), pages_dense=total)


class VortexBackend(AttentionBackend):
    """What vLLM asks of a backend: names, shapes, and room for fields inside the page."""

    forward_includes_kv_cache_update: bool = False
    supported_dtypes: ClassVar[list[torch.dtype]] = [torch.float32, torch.bfloat16, torch.float16]
    field_bytes: ClassVar[dict[int, int]] = {}  # by head_dim, per page and KV head: layers set it, the cache reads it

    @staticmethod
    def get_name() -> str:
        """Name the enum member that selects this backend."""
        return "CUSTOM"

    @staticmethod
    def get_impl_cls() -> type[VortexImpl]:
        """Give the class of one layer."""
        return VortexImpl

    @staticmethod
    def get_builder_cls() -> type[VortexMetadataBuilder]:
        """Give the class that builds the metadata."""
        return VortexMetadataBuilder

    @staticmethod
    def get_supported_kernel_block_sizes(kv_cache_spec: Any = None) -> list[Any]:
        """Give the page sizes; a page is the engine's block, never a part of it."""
        return list(PAGE_SIZES) if kv_cache_spec is None else [kv_cache_spec.block_size]

    @classmethod
    def supported_kv_cache_layouts(cls) -> tuple[KVCacheLayout, ...]:
        """Head-major: every (block, KV head) pair is one stretch of memory."""
        return (KVCacheLayout.LBHNC,)

    @classmethod
    def customize_spec(cls, spec: Any) -> Any:
        """Enlarge each page so that the fields fit behind its keys and values."""
        if spec.state_content_bytes is not None:
            return spec
        if spec.head_size_v != spec.head_size:
            raise ServingError(f"keys of {spec.head_size} and values of {spec.head_size_v} channels are not served yet")
        plain = spec.state_content_size_bytes
        unit = spec.block_size * spec.dtype.itemsize
        extra = -(-cls.field_bytes.get(spec.head_size, 0) // unit) * unit // spec.block_size
        return replace(spec, state_content_bytes=plain + extra) if extra else spec
