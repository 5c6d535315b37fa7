"""Pages on CUDA, or on a CPU by Triton's interpreter: our own kernels, in place, with no wait for the device."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from kernels.decode import PagedCache
from kernels.decode import Softmax as Weighing
from kernels.writing import write_tokens
from vortex_dsl.serving.pages.latent import LatentPages
from vortex_dsl.serving.pages.pages import Pages
from vortex_dsl.serving.pages.plain import TorchPages

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernels.writing import Summarizing
    from vortex_dsl.serving.layers.batches import Prefills
    from vortex_dsl.serving.pages.pages import Rows, Softmax


FLOAT8 = torch.float8_e4m3fn


class KernelPages(Pages):
    """Pages that our kernels read and write in place.

    `k`, `v`: [num_blocks, num_kv_heads, page_size, channels]. `complete`: uint8 [num_blocks], 1 for blocks whose last
    token was ever written. `region`: the fields, uint8 [num_blocks, num_kv_heads, bytes reserved per page]. `scales`:
    what a stored key and value of 1 stand for.
    """

    k: torch.Tensor
    v: torch.Tensor

    def locate(self, k: torch.Tensor, v: torch.Tensor, scales: tuple[float, float] = (1.0, 1.0)) -> None:
        """Say where keys and values lie."""
        self.k, self.v, self._scales = k, v, scales
        self.kernels = "Triton's interpreter" if k.is_cpu else "Triton"
        self.region = self.fields.unflatten(0, k.shape[:2])
        self.complete = torch.zeros(k.shape[0], dtype=torch.uint8, device=k.device)
        self._no_table = torch.zeros(0, 0, dtype=torch.int32, device=k.device)

    def cache(self, rows: Rows | None = None) -> PagedCache:
        """Give what kernels read: with the tables of some sequences, or of none."""
        table = self._no_table if rows is None else rows.table
        lengths = self._no_table[0:0, 0:0].flatten() if rows is None else rows.lengths
        return PagedCache(self.k, self.v, table, lengths, *self._scales)

    def as_numbers(self, table: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Give the keys and values of the blocks in a table as numbers, in its order, and the table of what is given.

        table: integers [num_sequences, num_pages]; what is beyond a sequence's end may be anything.
        """
        blocks = table.flatten().long().clamp(0, self.k.shape[0] - 1)
        k, v = (
            x.view(torch.uint8)[blocks].view(FLOAT8).to(dtype) * scale
            for x, scale in zip((self.k, self.v), self._scales, strict=True)
        )
        order = torch.arange(table.numel(), dtype=torch.int32, device=table.device)
        return k, v, order.view(table.shape)


class TritonPages(KernelPages, TorchPages):
    """Keys and values as [page_size, head_dim] each, in the model's type or in float8."""

    def __init__(self, kv_cache: torch.Tensor, head_dim: int, scales: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__(kv_cache, head_dim)
        if kv_cache.dtype == torch.uint8:
            self.keys, self.values = self.keys.view(FLOAT8), self.values.view(FLOAT8)
        blocks = (self.num_pages // self.num_kv_heads, self.num_kv_heads)
        self.locate(self.keys.unflatten(0, blocks), self.values.unflatten(0, blocks), scales)

    def write(
        self,
        key: torch.Tensor,
        value: torch.Tensor,
        slot_mapping: torch.Tensor,
        summarizing: Summarizing | None = None,
    ) -> None:
        """Store new tokens (`Pages.write`), and compute the fields of the pages that they complete."""
        write_tokens(key, value, slot_mapping, self.cache(), self.complete, summarizing)

    def raw_keys(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather keys (`Pages.raw_keys`), as numbers where they are stored in float8."""
        return numbers_of(self.keys, pages, self._scales[0])

    def raw_values(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather values (`Pages.raw_values`), as numbers where they are stored in float8."""
        return numbers_of(self.values, pages, self._scales[1])


def numbers_of(stored: torch.Tensor, pages: torch.Tensor, scale: float) -> torch.Tensor:
    """Gather pages, as numbers where they are stored in float8."""
    if stored.dtype != FLOAT8:
        return stored[pages]
    return stored.view(torch.uint8)[pages].view(FLOAT8).float() * scale


def weighing(softmax: Softmax) -> Weighing:
    """Say it as the kernels take it."""
    return Weighing(softmax.scale, softmax.cap, softmax.window or 0)


class TorchPrefill:
    """Dense attention of prompts in plain torch: right everywhere, and slow."""

    def __call__(
        self, query: torch.Tensor, pages: KernelPages, prefills: Prefills, softmax: Softmax, output: torch.Tensor
    ) -> None:
        """Attend causally. query, output: [num_tokens, num_q_heads, head_dim] of the prompts alone."""
        pages.attend_sequences(query, prefills.rows, softmax, output)


@dataclass(frozen=True)
class FlashPrefill:
    """Dense attention of prompts by the FlashAttention that comes with vLLM, over our pages in place.

    What is stored in float8 is turned into numbers first, the prompts' pages alone: FlashAttention would want queries
    in float8 too. So much memory is taken for a while.
    """

    attend: Callable[..., Any]
    version: int

    def __call__(
        self, query: torch.Tensor, pages: KernelPages, prefills: Prefills, softmax: Softmax, output: torch.Tensor
    ) -> None:
        """Attend causally (`TorchPrefill.__call__`)."""
        rows = prefills.rows
        k, v, table = pages.k, pages.v, rows.table
        if k.dtype == FLOAT8:
            k, v, table = pages.as_numbers(table[:, : -(-prefills.max_length // pages.page_size)], query.dtype)
        self.attend(
            q=query, k=k.transpose(1, 2), v=v.transpose(1, 2), out=output,
            cu_seqlens_q=rows.query_start_loc, max_seqlen_q=prefills.max_query, seqused_k=rows.lengths,
            max_seqlen_k=prefills.max_length, softmax_scale=softmax.scale, causal=True, block_table=table,
            window_size=None if softmax.window is None else [softmax.window - 1, 0], softcap=softmax.cap,
            fa_version=self.version,
        )  # fmt: skip


@cache
def prefill_on(device_type: str, head_dim: int, page_size: int, dtype: torch.dtype) -> TorchPrefill | FlashPrefill:
    """Choose, once for all layers alike, what prefill runs on, and log why it is not FlashAttention where it is not."""
    why = _why_not_flash(device_type, dtype)
    if not why:
        from vllm.v1.attention.backends import fa_utils

        version = fa_utils.get_flash_attn_version(head_size=head_dim, kv_cache_block_size=page_size)
        if version is not None:
            logging.getLogger("vllm").info("Vortex: prefill runs on FlashAttention %d", version)
            return FlashPrefill(fa_utils.flash_attn_varlen_func, version)
        why = f"vLLM's FlashAttention takes no head_dim of {head_dim} here"
    logging.getLogger("vllm").warning("Vortex: prefill runs in plain torch, which is slow: %s", why)
    return TorchPrefill()


def _why_not_flash(device_type: str, dtype: torch.dtype) -> str:
    if device_type != "cuda":
        return f"the device is a {device_type}"
    if dtype not in (torch.float16, torch.bfloat16, FLOAT8):
        return f"FlashAttention takes no queries in float16 or bfloat16 over keys in {dtype}"
    try:
        from vllm.v1.attention.backends.fa_utils import is_flash_attn_varlen_func_available
    except ImportError as error:
        return f"vLLM's FlashAttention does not load ({error})"
    return "" if is_flash_attn_varlen_func_available() else "this vLLM has no FlashAttention"


class LatentKernelPages(KernelPages, LatentPages):
    """Latents, in the model's type or in float8, as our kernels read them: `v` is the first channels of `k`."""

    def __init__(self, kv_cache: torch.Tensor, latent_dim: int, value_dim: int) -> None:
        super().__init__(kv_cache, latent_dim, value_dim)
        if kv_cache.itemsize == 1:
            self.latents = self.latents.view(FLOAT8)
        whole = self.latents[:, None]
        self.locate(whole, whole[..., :value_dim])
        self._parts = PagedCache(whole[..., value_dim:], self.v, self._no_table, self._no_table)

    def write(
        self,
        key: torch.Tensor,
        value: torch.Tensor,
        slot_mapping: torch.Tensor,
        summarizing: Summarizing | None = None,
    ) -> None:
        """Store new tokens (`LatentPages.write`), and compute the fields of the pages that they complete."""
        write_tokens(key[:, None], value[:, None], slot_mapping, self._parts, self.complete, summarizing)

    def raw_keys(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather whole latents (`Pages.raw_keys`), as numbers where they are stored in float8."""
        return numbers_of(self.latents, pages, 1.0)
