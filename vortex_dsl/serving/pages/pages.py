"""The paged KV cache of one layer, seen as pages of one KV head each.

vLLM's logical cache is [num_blocks, num_kv_heads, page_size, content]; head-major, so that every (block, KV head)
pair is one stretch of memory, which we call a page and number `block * num_kv_heads + kv_head`. Inside a page lie
its keys, its values, and behind them the fields that `summarize` returned, as `layout` packs them. On a CPU
(`CpuPages`) the same room lies behind all pages instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from vortex_dsl.backends.tape.machine import Listed
from vortex_dsl.serving.config import ServingError
from vortex_dsl.serving.pages.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vortex_dsl.analysis.layout import Layout
    from vortex_dsl.backends.batched import Batched
    from vortex_dsl.backends.tape.machine import Machine
    from vortex_dsl.ops.frame import Best

LINE = 64  # bytes that vLLM's C++ kernels load at once; they die where these do not begin at a multiple of 64


def in_lines(num_bytes: int) -> int:
    """Give the bytes of the lines that so many bytes take."""
    return -(-num_bytes // LINE) * LINE


@dataclass(frozen=True)
class Rows:
    """Queries that attend to pages: one row per (sequence, KV head) or per sequence.

    `table`: [num_rows, max_pages] int32 page (or block) numbers; `lengths`: [num_rows] int32 tokens behind them;
    `query_start_loc`: [num_rows + 1] int32. `schedules` are a kernel's divisions of work by all that they depend on,
    so that the rows of several layers can share them; `kept` is what else a kernel derives from these very rows.
    """

    table: torch.Tensor
    lengths: torch.Tensor
    query_start_loc: torch.Tensor
    schedules: dict[tuple[object, ...], torch.Tensor] = field(default_factory=dict)
    kept: dict[tuple[object, ...], torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Softmax:
    """How a layer weighs tokens: scale · q·k, then `cap` · tanh(x / cap) where a cap is set.

    `window`: a query sees so many tokens, itself included; all where it is None.
    """

    scale: float
    cap: float = 0.0
    window: int | None = None


class Pages(ABC):
    """Views over one layer's cache; nothing is copied unless a gather is asked for by name.

    `fields`: uint8 [num_pages, bytes reserved per page]; `flat`: [num_pages, numbers of a page], in the cache's dtype.
    """

    parts = 2  # keys and values; latents are both in one
    alignment: ClassVar[int] = 16  # every page begins at a multiple of so many bytes: what is loaded from it at once
    kernels = "torch"  # what attends, by name
    best: Best | None = None  # how the best pages are found, where it is known better than torch does

    def __init__(self, kv_cache: torch.Tensor, head_dim: int) -> None:
        num_blocks, num_kv_heads, page_size, content = kv_cache.shape
        whole = page_size * content
        if kv_cache.stride() != (num_kv_heads * whole, whole, content, 1):
            raise ValueError(
                f"the KV cache has shape {tuple(kv_cache.shape)} and strides {kv_cache.stride()}; "
                "head-major pages without gaps are needed (VLLM_KV_CACHE_LAYOUT=LBHNC)"
            )
        self._refuse_misaligned(kv_cache, whole * kv_cache.element_size())
        self.page_size, self.head_dim, self.num_kv_heads = page_size, head_dim, num_kv_heads
        self.num_pages = num_blocks * num_kv_heads
        self.split = page_size * head_dim
        self._over = (kv_cache.data_ptr(), kv_cache.numel())
        self._fields: Fields | None = None
        self._machine: tuple[Batched, Machine | None] | None = None
        self.flat, self.fields = self.divided(kv_cache.as_strided((self.num_pages, whole), (whole, 1)))

    def _refuse_misaligned(self, kv_cache: torch.Tensor, page_bytes: int) -> None:
        """Refuse pages that kernels cannot load from: they would end the process, and not say why."""
        start = kv_cache.data_ptr() % self.alignment
        if start or page_bytes % self.alignment:
            raise ServingError(
                f"the KV cache has pages of {page_bytes} bytes and begins {start} bytes beyond a multiple of "
                f"{self.alignment}; {type(self).__name__} needs both to be multiples of {self.alignment}: "
                "leave the cache's size and place to vLLM, which pads pages as the backend tells it"
            )

    def divided(self, whole: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give `flat` and `fields` of a cache [num_pages, content]: fields inside of each page, behind its tokens."""
        return whole, whole[:, self.parts * self.split :].view(torch.uint8)

    def fields_of(self, layout: Layout) -> Fields:
        """Give the place of a program's fields, the same again until another program's are asked for."""
        if self._fields is None or self._fields.layout is not layout:
            self._fields = self.place(layout)
        return self._fields

    def place(self, layout: Layout) -> Fields:
        """Find a program's fields their place."""
        return Fields(self.fields, layout)

    def machine_of(self, batched: Batched) -> Machine | None:
        """Give what chooses among these pages without torch, None where torch has to."""
        if self._machine is None or self._machine[0] is not batched:
            self._machine = batched, self.make_machine(batched)
        return self._machine[1]

    def make_machine(self, _batched: Batched) -> Machine | None:
        """Make it, where fields lie in the host's memory."""
        return None

    def is_over(self, kv_cache: torch.Tensor) -> bool:
        """Tell whether these are views over that very cache."""
        return self._over == (kv_cache.data_ptr(), kv_cache.numel())

    def listed(self, attended: torch.Tensor, pages: torch.Tensor, lengths: torch.Tensor) -> Listed:
        """List the attended pages of every row for a kernel, in ascending order.

        attended: bool [num_rows, max_pages]; pages: int64 [num_rows, max_pages]; lengths: int64 [num_rows] tokens.
        """
        counts = attended.sum(1)
        row, page = attended.nonzero(as_tuple=True)
        place = torch.arange(row.numel(), device=row.device) - (counts.cumsum(0) - counts)[row]
        table = torch.zeros((attended.shape[0], int(counts.max())), dtype=torch.int32, device=pages.device)
        table[row, place] = pages[row, page].to(torch.int32)
        missing = -lengths % self.page_size  # the partial page is always attended, and always last
        return Listed(table, (counts * self.page_size - missing).to(torch.int32), row.numel())

    @abstractmethod
    def write(self, key: torch.Tensor, value: torch.Tensor, slot_mapping: torch.Tensor) -> None:
        """Store new tokens. key, value: [num_tokens, num_kv_heads, head_dim]; slot -1 is skipped."""

    def clear_rest(self, blocks: Iterable[tuple[int, int]]) -> None:
        """Clear what is left of earlier tokens in blocks that hold so many new ones, where a kernel reads it."""
        del blocks  # none does, unless a subclass says so

    @abstractmethod
    def raw_keys(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather whole pages of keys: [*pages.shape, page_size, head_dim]."""

    @abstractmethod
    def raw_values(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather whole pages of values: [*pages.shape, page_size, head_dim]."""

    @abstractmethod
    def attend_sequences(self, query: torch.Tensor, rows: Rows, softmax: Softmax, output: torch.Tensor) -> None:
        """Dense causal attention, one row per sequence, its table of blocks.

        query, output: [num_tokens, num_q_heads, head_dim], the last tokens of each sequence.
        """

    @abstractmethod
    def attend_pages(self, query: torch.Tensor, rows: Rows, softmax: Softmax, output: torch.Tensor) -> None:
        """Attend to the listed pages, whatever the window; a partial page comes last.

        query, output: [num_rows, group, head_dim].
        """
