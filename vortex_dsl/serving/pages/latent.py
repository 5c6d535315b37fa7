"""Pages of latents: the cache of multi-head latent attention, which holds one vector per token for all heads.

A page holds its tokens' latents one after the other, and behind them the fields. A program sees the whole latent as
`k`; `v` is its value part, the channels without rotary embedding, and zero in the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from vllm import _custom_ops as ops

from kernels.host import cpu
from vortex_dsl.backends.tape.machine import PageMemory, machine_for, stored_at
from vortex_dsl.serving.config import ServingError
from vortex_dsl.serving.pages.pages import LINE, Pages, Rows, Softmax

if TYPE_CHECKING:
    from vortex_dsl.backends.batched import Batched
    from vortex_dsl.backends.tape.machine import Machine

KERNEL_TOKENS = 16  # vLLM's C++ kernel reads blocks of this many tokens,
KERNEL_SHAPE = (576, 512)  # latents of this width with a value part of this one,
KERNEL_NUMBERS = 1 << 31  # in a cache of so many numbers at most: it counts them in 32 bits


class LatentPages(Pages):
    """Latents and fields in plain torch, for any device.

    `latents`: [num_pages, page_size, latent_dim], as vLLM's own code for such caches takes it.
    """

    parts = 1

    def __init__(self, kv_cache: torch.Tensor, latent_dim: int, value_dim: int) -> None:
        """View a layer's cache, [num_blocks, page_size, content]."""
        super().__init__(kv_cache[:, None], latent_dim)
        self.value_dim = value_dim
        self.latents = self.flat[:, : self.split].unflatten(1, (self.page_size, latent_dim))

    def write(self, key: torch.Tensor, value: torch.Tensor, slot_mapping: torch.Tensor) -> None:
        """Store new tokens. key: [num_tokens, latent_dim - value_dim] rotated; value: [num_tokens, value_dim]."""
        kept = slot_mapping >= 0
        slots = slot_mapping[kept].long()
        latent = torch.cat([value[: kept.shape[0]], key[: kept.shape[0]]], -1)[kept]
        self.latents[slots // self.page_size, slots % self.page_size] = latent.to(self.latents.dtype)

    def raw_keys(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather whole latents (`Pages.raw_keys`)."""
        return self.latents[pages]

    def raw_values(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather value parts, zero in the other channels (`Pages.raw_values`)."""
        values = self.raw_keys(pages)
        values[..., self.value_dim :] = 0
        return values

    def make_machine(self, batched: Batched) -> Machine | None:
        """Run the program's tape over fields inside of pages (`Pages.make_machine`)."""
        if not self.flat.is_cpu:
            return None
        size = self.flat.element_size()
        page_bytes, start = self.flat.shape[1] * size, self.split * size
        stored = {field.name: stored_at(field, start, page_bytes) for field in batched.layout.fields}
        memory = cpu.memory_of(self.flat.view(torch.uint8))
        raw = {"page.k": self._raw_at(self.head_dim), "page.v": self._raw_at(self.value_dim)}
        return machine_for(batched, PageMemory(memory, stored, memory, raw))

    def _raw_at(self, num_channels: int) -> cpu.Raw:
        """Say where latents lie, of which so many channels count and the others are 0."""
        size, channels = self.flat.element_size(), np.arange(self.head_dim)
        kind, step = str(self.flat.dtype).removeprefix("torch."), self.flat.shape[1] * size
        stored = cpu.Stored(kind, 0, step, self.page_size, self.head_dim, self.head_dim * size, 0)
        channels[num_channels:] = -1
        return cpu.Raw(stored, np.arange(self.page_size) * self.head_dim, channels)

    def attend_sequences(self, query: torch.Tensor, rows: Rows, softmax: Softmax, output: torch.Tensor) -> None:
        """Attend to whole sequences that decode one token each: with one KV head, pages are blocks."""
        self.attend_pages(query, rows, softmax, output)

    def attend_pages(self, query: torch.Tensor, rows: Rows, softmax: Softmax, output: torch.Tensor) -> None:
        """Attend to listed pages. query: [num_rows, group, latent_dim]; output: [num_rows, group, value_dim]."""
        most = -(-int(rows.lengths.max()) // self.page_size)
        latents = self.latents[rows.table[:, :most].long()].flatten(1, 2).float()
        beyond = torch.arange(latents.shape[1], device=query.device) >= rows.lengths[:, None]
        latents = latents.masked_fill_(beyond[..., None], 0.0)  # what lies there may not even be a number
        scores = torch.einsum("rgd,rtd->rgt", query.float(), latents) * softmax.scale
        weights = scores.masked_fill(beyond[:, None], -torch.inf).softmax(-1)
        output.copy_(torch.einsum("rgt,rtd->rgd", weights, latents[..., : self.value_dim]))


class CpuLatentPages(LatentPages):
    """Latents as vLLM's C++ decode kernel reads them, whatever the page's size.

    The kernel takes blocks of 16 tokens at any one distance. A page is a few of them, and the distance is the largest
    that leads to the start of every one.
    """

    alignment = LINE
    kernels = "vLLM's C++ (latents)"

    def __init__(self, kv_cache: torch.Tensor, latent_dim: int, value_dim: int) -> None:
        if kv_cache.numel() > KERNEL_NUMBERS:
            raise ServingError(
                f"a layer's KV cache holds {kv_cache.numel()} numbers, and vLLM's C++ kernel for latents reaches no "
                f"more than {KERNEL_NUMBERS}; give vLLM a smaller kv_cache_memory_bytes, or set 'kernels': 'torch'"
            )
        super().__init__(kv_cache, latent_dim, value_dim)
        whole, part = self.flat.shape[1], KERNEL_TOKENS * latent_dim
        self._distance = math.gcd(whole, part)
        self._page_blocks = whole // self._distance
        starts = torch.arange(0, self.split, part, device=kv_cache.device) // self._distance
        self._starts = starts.to(torch.int32)
        num_blocks = (self.num_pages - 1) * self._page_blocks + int(starts[-1]) + 1
        self._blocks = self.flat.as_strided((num_blocks, KERNEL_TOKENS, latent_dim), (self._distance, latent_dim, 1))

    def attend_pages(self, query: torch.Tensor, rows: Rows, softmax: Softmax, output: torch.Tensor) -> None:
        """Attend to listed pages (`LatentPages.attend_pages`)."""
        key = ("blocks", self._distance)
        if key not in rows.kept:
            rows.kept[key] = self._table(rows.table)
        ops.mla_decode_kvcache_cpu(output, _in_lines(query), self._blocks, softmax.scale, rows.kept[key], rows.lengths)

    def _table(self, pages: torch.Tensor) -> torch.Tensor:
        """Give the kernel's blocks of pages: int32 [num_rows, max_pages] -> [num_rows, max_pages * parts]."""
        return (pages[..., None] * self._page_blocks + self._starts).flatten(1)


def _in_lines(query: torch.Tensor) -> torch.Tensor:
    """Give queries as the kernel reads them: without gaps, from the start of a line. They mostly are so already."""
    whole = query.is_contiguous() and query.data_ptr() % LINE == 0
    return query if whole else query.clone(memory_format=torch.contiguous_format)
