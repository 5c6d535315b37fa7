"""The paged KV cache of one layer on CPU, seen as pages of one KV head each.

vLLM's logical cache is [num_blocks, num_kv_heads, page_size, content]; head-major, so that every (block, KV head)
pair is one stretch of memory, which we call a page and number `block * num_kv_heads + kv_head`. Inside a page lie

    K  [head_dim, page_size]   (the order that vLLM's C++ kernel reads)
    V  [page_size, head_dim]
    fields                     (what `summarize` returned, as `layout` packs it)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from vllm import _custom_ops as ops


def kernel_isa(page_size: int) -> str:
    """Name the variant of vLLM's C++ kernel that takes this page size with K as [head_dim, page_size]."""
    return "vec" if page_size % 32 == 0 else "vec16"


@dataclass(frozen=True)
class Rows:
    """Queries that attend to pages: one row per (sequence, KV head) or per sequence.

    `table`: [num_rows, max_pages] int32 page numbers; `lengths`: [num_rows] int32 tokens behind them;
    `query_start_loc`: [num_rows + 1] int32.
    """

    table: torch.Tensor
    lengths: torch.Tensor
    query_start_loc: torch.Tensor


class Pages:
    """Views over one layer's cache. Nothing is copied; a gather is asked for by name."""

    def __init__(self, kv_cache: torch.Tensor, head_dim: int) -> None:
        num_blocks, num_kv_heads, page_size, content = kv_cache.shape
        whole = page_size * content
        if kv_cache.stride() != (num_kv_heads * whole, whole, content, 1):
            raise ValueError(
                f"the KV cache has shape {tuple(kv_cache.shape)} and strides {kv_cache.stride()}; "
                "head-major pages without gaps are needed (VLLM_KV_CACHE_LAYOUT=LBHNC)"
            )
        self.page_size, self.head_dim, self.num_kv_heads = page_size, head_dim, num_kv_heads
        self.isa = kernel_isa(page_size)
        flat = kv_cache.as_strided((num_blocks * num_kv_heads, whole), (whole, 1))
        split = page_size * head_dim
        self.keys = flat[:, :split].unflatten(1, (head_dim, page_size))
        self.values = flat[:, split : 2 * split].unflatten(1, (page_size, head_dim))
        self.fields = flat[:, 2 * split :].view(torch.uint8)
        self._by_block = self._kernel_view(flat, num_blocks, num_kv_heads)
        self._by_page = self._kernel_view(flat, num_blocks * num_kv_heads, 1)

    def _kernel_view(self, flat: torch.Tensor, num_blocks: int, num_heads: int) -> tuple[torch.Tensor, torch.Tensor]:
        """View K and V as [num_blocks, num_heads, page_size, head_dim], the shape the C++ kernel checks."""
        whole = flat.shape[1]
        size = (num_blocks, num_heads, self.page_size, self.head_dim)
        stride = (num_heads * whole, whole, self.head_dim, 1)
        split = self.page_size * self.head_dim
        start = flat.storage_offset()
        return flat.as_strided(size, stride, start), flat.as_strided(size, stride, start + split)

    def write(self, key: torch.Tensor, value: torch.Tensor, slot_mapping: torch.Tensor) -> None:
        """Store new tokens. key, value: [num_tokens, num_kv_heads, head_dim]; slot -1 is skipped."""
        keys, values = self._by_block
        ops.cpu_attn_reshape_and_cache(key, value, keys, values, slot_mapping, self.isa)

    def raw_keys(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather whole pages of keys: [*pages.shape, page_size, head_dim]."""
        return self.keys[pages].transpose(-1, -2)

    def raw_values(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather whole pages of values: [*pages.shape, page_size, head_dim]."""
        return self.values[pages]

    def attend_sequences(self, query: torch.Tensor, rows: Rows, scale: float, output: torch.Tensor) -> None:
        """Dense causal attention, one row per sequence. query, output: [num_tokens, num_q_heads, head_dim]."""
        self._attend(query, self._by_block, rows, scale, output)

    def attend_pages(self, query: torch.Tensor, rows: Rows, scale: float, output: torch.Tensor) -> None:
        """Attention over the listed pages. query, output: [num_rows, group, head_dim]; a partial page comes last."""
        self._attend(query, self._by_page, rows, scale, output)

    def _attend(
        self, query: torch.Tensor, cache: tuple[torch.Tensor, torch.Tensor], rows: Rows, scale: float, output: torch.Tensor
    ) -> None:
        keys, values = cache
        schedule = ops.cpu_attn_get_scheduler_metadata(
            num_reqs=rows.lengths.shape[0], num_heads=query.shape[1], num_kv_heads=keys.shape[1],
            head_dim=self.head_dim, seq_lens=rows.lengths, dtype=query.dtype, query_start_loc=rows.query_start_loc,
            causal=True, sliding_window_size=-1, isa=self.isa, enable_kv_split=False,
        )  # fmt: skip
        ops.cpu_attention_with_kv_cache(
            query=query, key_cache=keys, value_cache=values, output=output, query_start_loc=rows.query_start_loc,
            seq_lens=rows.lengths, scale=scale, causal=True, alibi_slopes=None, sliding_window=-1,
            block_table=rows.table, softcap=0, scheduler_metadata=schedule, s_aux=None,
        )  # fmt: skip
