# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""What a request keeps between its choices, from its slot and back: states, and the pages that it chose.

A row is one sequence and one KV head. What is kept of a page counts once the page was complete at a choice, so a slot
given to another request need not be cleared. Programs beyond a sequence's pages return; nothing is read on the host.
Rows and their tiles share the first axis of a grid: the others end at 65,535, which 1,024 sequences of 64 heads exceed.
"""

from dataclasses import dataclass
from math import prod

import torch
import triton
import triton.language as tl

from kernels.dependent import begin, dependent
from kernels.selection import Pages, _candidate
from kernels.slots import Places

BLOCK = 1024  # elements of one tile


@dataclass(frozen=True)
class Kept:
    """One state of all slots: float32 [num_slots, num_kv_heads, *axes], max_pages first of the axes if `paged`.

    init: what every element is before it is first written.
    """

    values: torch.Tensor
    paged: bool
    init: float

    @property
    def elements(self) -> int:
        """Elements of a row, or of a page of it."""
        return prod(self.values.shape[3 if self.paged else 2 :])


@triton.jit
def _written(tokens, elements, PAGE_SIZE: tl.constexpr, PAGED: tl.constexpr):
    """Count the elements that a choice at so many tokens writes: those of complete pages, or all if there is one."""
    complete = tokens // PAGE_SIZE
    return (complete if PAGED else tl.minimum(complete, 1)) * elements


@triton.jit(do_not_specialize=["num_tiles"])
def _recall(kept_ptr, kept_row, into_ptr, into_row, slots_ptr, held_ptr, scored_ptr, num_kv_heads, elements, init,
            num_tiles, PAGE_SIZE: tl.constexpr, PAGED: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Copy what a row that chooses now has kept, and what pages begin with that were not complete before."""
    begin()
    row, start = (tl.program_id(0) // num_tiles).to(tl.int64), tl.program_id(0) % num_tiles * BLOCK
    sequence = row // num_kv_heads
    scored = tl.load(scored_ptr + sequence)
    end = tl.minimum(_written(scored, elements, PAGE_SIZE, PAGED), into_row)
    if start >= end:
        return
    at = start + tl.arange(0, BLOCK)
    known = tl.minimum(_written(tl.load(held_ptr + sequence), elements, PAGE_SIZE, PAGED), end)
    place = kept_ptr + (tl.load(slots_ptr + sequence) * num_kv_heads + row % num_kv_heads) * kept_row
    tl.store(into_ptr + row * into_row + at, tl.load(place + at, mask=at < known, other=init), mask=at < end)


@triton.jit(do_not_specialize=["num_tiles"])
def _keep(from_ptr, from_row, kept_ptr, kept_row, slots_ptr, scored_ptr, num_kv_heads, num_slots, elements, num_tiles,
          PAGE_SIZE: tl.constexpr, PAGED: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Copy the new state of a row that chooses now."""
    begin()
    row, start = (tl.program_id(0) // num_tiles).to(tl.int64), tl.program_id(0) % num_tiles * BLOCK
    sequence = row // num_kv_heads
    slot = tl.load(slots_ptr + sequence)
    written = _written(tl.load(scored_ptr + sequence), elements, PAGE_SIZE, PAGED)
    end = tl.minimum(written, tl.minimum(kept_row, from_row))
    if (start >= end) | (slot >= num_slots):
        return
    at = start + tl.arange(0, BLOCK)
    value = tl.load(from_ptr + row * from_row + at, mask=at < end)
    tl.store(kept_ptr + (slot * num_kv_heads + row % num_kv_heads) * kept_row + at, value, mask=at < end)


@triton.jit(do_not_specialize=["num_tiles"])
def _settle(chosen_ptr, chosen_row, kept_ptr, kept_row, slots_ptr, held_ptr, scored_ptr, num_kv_heads, num_slots,
            max_pages, num_tiles, PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr,
            BLOCK: tl.constexpr):  # fmt: skip
    """Keep the candidates that a row chooses now, or give it those that it chose before."""
    begin()
    row, start = (tl.program_id(0) // num_tiles).to(tl.int64), tl.program_id(0) % num_tiles * BLOCK
    sequence = row // num_kv_heads
    slot = tl.load(slots_ptr + sequence)
    scored = tl.load(scored_ptr + sequence)
    page = start + tl.arange(0, BLOCK)
    if slot >= num_slots:
        return
    kept = kept_ptr + (slot * num_kv_heads + row % num_kv_heads) * kept_row
    chosen = chosen_ptr + row * chosen_row
    if scored > 0:
        candidate = _candidate(page, scored, PAGE_SIZE, SINK, WINDOW)
        flag = tl.load(chosen + page, mask=candidate & (page < max_pages), other=0)
        tl.store(kept + page, flag, mask=page < tl.minimum(scored // PAGE_SIZE, kept_row))
    else:
        held = tl.load(held_ptr + sequence)
        tl.store(chosen + page, tl.load(kept + page, mask=page < held // PAGE_SIZE, other=0), mask=page < max_pages)


def recall(kept: Kept, places: Places, pages: Pages) -> torch.Tensor:
    """Give the state of rows that choose now: float32 [rows, *axes], anything in other rows and incomplete pages."""
    values = kept.values
    lead = (pages.num_rows, pages.max_pages) if kept.paged else (pages.num_rows,)
    into = torch.empty(*lead, *values.shape[3 if kept.paged else 2 :], device=values.device)
    tiles = _num_tiles(kept, pages)
    _recall[(pages.num_rows * tiles,)](
        values, values.stride(1), into, into.stride(0), places.slots, places.held, places.scored, pages.num_kv_heads,
        kept.elements, float(kept.init), tiles, PAGE_SIZE=pages.page_size, PAGED=kept.paged, BLOCK=BLOCK,
        **dependent(values.device),
    )  # fmt: skip
    return into


def keep(kept: Kept, state: torch.Tensor, places: Places, pages: Pages) -> None:
    """Store the new state of rows that choose now. state: float32 [rows, *axes], contiguous."""
    values, tiles = kept.values, _num_tiles(kept, pages)
    _keep[(pages.num_rows * tiles,)](
        state, state.stride(0), values, values.stride(1), places.slots, places.scored, pages.num_kv_heads,
        values.shape[0], kept.elements, tiles, PAGE_SIZE=pages.page_size, PAGED=kept.paged, BLOCK=BLOCK,
        **dependent(values.device),
    )  # fmt: skip


def settle(chosen: torch.Tensor, kept: torch.Tensor, places: Places, pages: Pages) -> None:
    """Store what rows choose now, and put into the rows of others what they chose before.

    chosen: int8 [rows, max_pages]; kept: int8 [num_slots, num_kv_heads, max_pages of the longest sequence ever].
    """
    tiles = triton.cdiv(pages.max_pages, BLOCK)
    _settle[(pages.num_rows * tiles,)](
        chosen, chosen.stride(0), kept, kept.stride(1), places.slots, places.held, places.scored, pages.num_kv_heads,
        kept.shape[0], pages.max_pages, tiles, PAGE_SIZE=pages.page_size, SINK=pages.sink, WINDOW=pages.window,
        BLOCK=BLOCK, **dependent(chosen.device),
    )  # fmt: skip


def _num_tiles(kept: Kept, pages: Pages) -> int:
    """Give the tiles of a row: a state may have many per page."""
    return triton.cdiv(kept.elements * (pages.max_pages if kept.paged else 1), BLOCK)
