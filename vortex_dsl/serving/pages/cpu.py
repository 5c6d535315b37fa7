"""Pages on CPU: vLLM's own C++ paged attention, fed with one shorter block table per KV head.

Each (block, KV head) pair lies in one stretch of memory, so it can pose as a block of a model with a single head. In
which order the kernel stores the numbers of a page is its own affair and differs between variants: it is asked once, by
letting it store numbers that tell where they came from.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from vllm import _custom_ops as ops
from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

from kernels.host import cpu
from vortex_dsl.backends.tape.machine import Listed, PageMemory, machine_for
from vortex_dsl.serving.config import ServingError
from vortex_dsl.serving.pages import hugepages
from vortex_dsl.serving.pages.fields_cpu import CpuFields
from vortex_dsl.serving.pages.pages import LINE, Pages, Rows, Softmax

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vortex_dsl.analysis.layout import Layout
    from vortex_dsl.backends.batched import Batched
    from vortex_dsl.backends.tape.machine import Machine
    from vortex_dsl.serving.pages.fields import Fields

CODE = 128  # numbers up to it are exact in every dtype of a cache


def kernel_isa(page_size: int, head_dim: int, dtype: torch.dtype) -> str:
    """Name the variant of the C++ kernel that vLLM itself would take for these sizes."""
    isa = _get_attn_isa(dtype, page_size, head_dim)
    if isa == "amx":
        torch.cpu._init_amx()  # noqa: SLF001  (the kernel dies where nobody asked the system for tiles)
    return isa


@cache
def stored_order(isa: str, page_size: int, head_dim: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Give for keys and for values where the kernel stores each element of a page: int64 [page_size * head_dim].

    Element `token * head_dim + channel` of the result is the place of that number.
    """
    number = torch.arange(page_size * head_dim)
    found, base = torch.zeros((2, number.numel()), dtype=torch.int64), 1
    while base < number.numel():  # digit by digit
        code = (number // base % CODE).to(dtype).view(page_size, 1, head_dim)
        found += _stored(code, isa).long() * base
        base *= CODE
    keys_at, values_at = order = found.argsort(1)
    if not torch.equal(found.gather(1, order), number.expand(2, -1)):
        raise ServingError(_not_taken(page_size, head_dim, dtype, "it does not keep every number of a page"))
    return keys_at, values_at


def _stored(page: torch.Tensor, isa: str) -> torch.Tensor:
    """Let the kernel store a page, [page_size, 1, head_dim], as keys and as values: [2, page_size * head_dim]."""
    page_size, _, head_dim = page.shape
    room = torch.zeros((1, 1, 2 * page_size, head_dim), dtype=page.dtype)
    keys, values = room.chunk(2, dim=2)
    try:
        ops.cpu_attn_reshape_and_cache(page, page, keys, values, torch.arange(page_size), isa)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ServingError(_not_taken(page_size, head_dim, page.dtype, reason)) from error
    return room.view(2, -1)


def _not_taken(page_size: int, head_dim: int, dtype: torch.dtype, reason: str) -> str:
    return (
        f"vLLM's C++ attention serves no head_dim of {head_dim} in {dtype} with pages of {page_size} tokens here "
        f"({reason}); set 'kernels': 'torch'"
    )


def refuse_unserved(page_size: int, head_dim: int, dtype: torch.dtype) -> None:
    """Refuse, before there is a cache, what the kernel would refuse at the first token. Raises ServingError."""
    stored_order(kernel_isa(page_size, head_dim, dtype), page_size, head_dim, dtype)


class CpuPages(Pages):
    """The cache as vLLM's C++ kernel reads it, by block and by page."""

    best = staticmethod(cpu.best)
    alignment = LINE

    def __init__(self, kv_cache: torch.Tensor, head_dim: int) -> None:
        super().__init__(kv_cache, head_dim)
        hugepages.advise(kv_cache)
        self.isa = kernel_isa(self.page_size, head_dim, kv_cache.dtype)
        self.kernels = f"vLLM's C++ ({self.isa})"
        self._order = stored_order(self.isa, self.page_size, head_dim, kv_cache.dtype)
        self._by_block = self._kernel_view(self.num_kv_heads)
        self._by_page = self._kernel_view(1)

    def divided(self, whole: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give pages without gaps, and all fields behind them (`Pages.divided`)."""
        num_pages, flat, own = whole.shape[0], whole.view(-1), self.parts * self.split
        pages, fields = flat[: num_pages * own], flat[num_pages * own :]
        room = (whole.shape[1] - own) * whole.element_size()
        return pages.view(num_pages, own), fields.view(torch.uint8).view(num_pages, room)

    def place(self, layout: Layout) -> Fields:
        """Pack a program's fields closely (`Pages.place`)."""
        return CpuFields(self.fields, layout)

    def make_machine(self, batched: Batched) -> Machine | None:
        """Run the program's tape (`Pages.make_machine`)."""
        fields = self.fields_of(batched.layout)
        assert isinstance(fields, CpuFields)
        raw = {"page.k": self._raw_at(0), "page.v": self._raw_at(1)}
        return machine_for(batched, PageMemory(fields.memory, fields.stored, self._memory(), raw))

    def _memory(self) -> cpu.Views:
        """View all pages."""
        return cpu.memory_of(self.flat.view(torch.uint8))

    def _raw_at(self, which: int) -> cpu.Raw:
        """Say where keys (0) or values (1) lie, in the kernel's order."""
        size = self.flat.element_size()
        kind, step = str(self.flat.dtype).removeprefix("torch."), self.flat.shape[1] * size
        shape = (self.page_size, self.head_dim, self.head_dim * size)
        return cpu.Raw.ordered(cpu.Stored(kind, which * self.split * size, step, *shape, 0), self._order[which])

    def listed(self, attended: torch.Tensor, pages: torch.Tensor, lengths: torch.Tensor) -> Listed:
        """List the attended pages (`Pages.listed`)."""
        return Listed(*cpu.list_pages(attended, pages, lengths, self.page_size))

    def _kernel_view(self, num_heads: int) -> tuple[torch.Tensor, torch.Tensor]:
        """View K and V as [num_blocks, num_heads, page_size, head_dim], the shape the kernel checks."""
        whole = self.flat.shape[1]
        size = (self.num_pages // num_heads, num_heads, self.page_size, self.head_dim)
        stride = (num_heads * whole, whole, self.head_dim, 1)
        start = self.flat.storage_offset()
        return self.flat.as_strided(size, stride, start), self.flat.as_strided(size, stride, start + self.split)

    def write(self, key: torch.Tensor, value: torch.Tensor, slot_mapping: torch.Tensor) -> None:
        """Store new tokens (`Pages.write`)."""
        keys, values = self._by_block
        ops.cpu_attn_reshape_and_cache(key, value, keys, values, slot_mapping, self.isa)

    def clear_rest(self, blocks: Iterable[tuple[int, int]]) -> None:
        """Clear values beyond the last token (`Pages.clear_rest`): the kernel multiplies them by zero, and adds them.

        What an earlier request left there may be no number, and would spoil this one.
        """
        values = self.flat[:, self.split : 2 * self.split].unflatten(0, (-1, self.num_kv_heads))
        for block, num_tokens in blocks:
            values[block][:, self._order[1][num_tokens * self.head_dim :]] = 0

    def raw_keys(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather keys (`Pages.raw_keys`)."""
        return self._raw(pages, 0)

    def raw_values(self, pages: torch.Tensor) -> torch.Tensor:
        """Gather values (`Pages.raw_values`)."""
        return self._raw(pages, 1)

    def _raw(self, pages: torch.Tensor, which: int) -> torch.Tensor:
        """Gather keys (0) or values (1) in token order."""
        stored = self.flat[:, which * self.split : (which + 1) * self.split].index_select(0, pages.flatten())
        raw = stored.index_select(1, self._order[which])
        return raw.view(*pages.shape, self.page_size, self.head_dim)

    def attend_sequences(self, query: torch.Tensor, rows: Rows, softmax: Softmax, output: torch.Tensor) -> None:
        """Attend densely (`Pages.attend_sequences`)."""
        self._attend(query, self._by_block, rows, softmax, output)

    def attend_pages(self, query: torch.Tensor, rows: Rows, softmax: Softmax, output: torch.Tensor) -> None:
        """Attend to listed pages (`Pages.attend_pages`)."""
        self._attend(query, self._by_page, rows, replace(softmax, window=None), output)

    def _attend(
        self,
        query: torch.Tensor,
        cache: tuple[torch.Tensor, torch.Tensor],
        rows: Rows,
        softmax: Softmax,
        output: torch.Tensor,
    ) -> None:
        keys, values = cache
        window = -1 if softmax.window is None else softmax.window
        schedule = self._schedule(rows, query, keys.shape[1], window)
        ops.cpu_attention_with_kv_cache(
            query=query, key_cache=keys, value_cache=values, output=output, query_start_loc=rows.query_start_loc,
            seq_lens=rows.lengths, scale=softmax.scale, causal=True, alibi_slopes=None, sliding_window=window,
            block_table=rows.table, softcap=softmax.cap, scheduler_metadata=schedule, s_aux=None,
        )  # fmt: skip

    def _schedule(self, rows: Rows, query: torch.Tensor, num_kv_heads: int, window: int) -> torch.Tensor:
        """Give the kernel's division of work, made once for all layers of a step that have one shape and lengths."""
        shape = (query.shape[1], num_kv_heads, self.head_dim, query.dtype, self.isa, window)
        key = (*shape, rows.lengths.numpy().tobytes(), rows.query_start_loc.numpy().tobytes())
        if key not in rows.schedules:
            rows.schedules[key] = ops.cpu_attn_get_scheduler_metadata(
                num_reqs=rows.lengths.shape[0], num_heads=query.shape[1], num_kv_heads=num_kv_heads,
                head_dim=self.head_dim, seq_lens=rows.lengths, dtype=query.dtype, query_start_loc=rows.query_start_loc,
                causal=True, sliding_window_size=window, isa=self.isa, enable_kv_split=False,
            )  # fmt: skip
        return rows.schedules[key]
