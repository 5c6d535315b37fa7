# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""Lists of what is flagged: the blocks of pages that are attended to, or the pages that a refinement looks at."""

import torch
import triton
import triton.language as tl

from kernels.dependent import begin, dependent
from kernels.selection import (
    BlockLists,
    Listing,
    PageLists,
    Pages,
    _candidate,
    _count,
    _counters,
    _tokens,
    empty_lists,
    length_of,
)


@triton.jit
def _append(attended, page, row, listed, table_ptr, table_stride, num_kv_heads, list_ptr, list_stride):
    """Write a tile's attended pages, or the blocks of them, behind what is listed already, and count all that is."""
    one = attended.to(tl.int32)
    position = listed + tl.cumsum(one, 0) - one
    block = page
    if table_ptr is not None:
        block = tl.load(table_ptr + (row // num_kv_heads) * table_stride + page, mask=attended, other=0)
    tl.store(list_ptr + row * list_stride + position, block.to(tl.int32), mask=attended)
    return listed + tl.sum(one, 0)


@triton.jit
def _list_pages(chosen_ptr, chosen_stride, seq_lens_ptr, num_kv_heads, table_ptr, table_stride, covered, dense_ptr,
                tally_ptr, list_ptr, list_stride, tokens_ptr, arrived_ptr, max_pages,
                PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr, HAS_CHOSEN: tl.constexpr,
                HAS_DENSE: tl.constexpr, TALLY: tl.constexpr, BLOCK_PAGES: tl.constexpr):  # fmt: skip
    """List the reserved pages and those that are flagged."""
    begin()
    row = tl.program_id(0).to(tl.int64)
    length = length_of(seq_lens_ptr, row // num_kv_heads, max_pages, PAGE_SIZE)
    num_pages = (length + PAGE_SIZE - 1) // PAGE_SIZE
    whole = length < 0
    if HAS_DENSE:
        whole = tl.load(dense_ptr + row // num_kv_heads) != 0
    if TALLY:
        counters = _counters(tally_ptr, row)
    listed = tl.zeros((), tl.int32)
    for start in tl.range(0, num_pages, BLOCK_PAGES, num_stages=1):
        page = start + tl.arange(0, BLOCK_PAGES)
        candidate = _candidate(page, length, PAGE_SIZE, SINK, WINDOW)
        wanted = whole | (candidate == 0)
        if HAS_CHOSEN:
            flag = tl.load(chosen_ptr + row * chosen_stride + page, mask=candidate & (page < num_pages), other=0)
            wanted = wanted | (flag != 0)
        attended = wanted & (page < num_pages)
        listed = _append(attended, page, row, listed, table_ptr, table_stride, num_kv_heads, list_ptr, list_stride)
    tl.store(tokens_ptr + row, _tokens(listed, length, PAGE_SIZE))
    tl.store(arrived_ptr + row, 0)
    if TALLY:
        candidates = tl.maximum(num_pages - WINDOW - SINK, 0)
        marked = tl.load(dense_ptr + row // num_kv_heads) if HAS_DENSE else 0
        _count(tally_ptr, row, counters, length, marked, candidates <= covered, listed, num_pages)


def list_pages(chosen: torch.Tensor | None, pages: Pages, listing: Listing) -> BlockLists:
    """Return the blocks of the reserved pages and of the flagged ones. chosen: int8 [rows, max_pages] or None."""
    lists, table, dense = empty_lists(pages), listing.block_table, listing.dense
    _list_pages[(pages.num_rows,)](
        chosen, 0 if chosen is None else chosen.stride(0), pages.seq_lens, pages.num_kv_heads,
        table, table.stride(0), listing.covered, dense, listing.tally,
        lists.blocks, lists.blocks.stride(0), lists.tokens, lists.arrived, pages.max_pages,
        PAGE_SIZE=pages.page_size, SINK=pages.sink, WINDOW=pages.window, HAS_CHOSEN=chosen is not None,
        HAS_DENSE=dense is not None, TALLY=listing.tally is not None, BLOCK_PAGES=pages.block_pages,
        num_warps=pages.num_warps, num_stages=1, **dependent(pages.seq_lens.device),
    )  # fmt: skip
    return lists


@triton.jit
def _list_chosen(chosen_ptr, chosen_stride, seq_lens_ptr, num_kv_heads, list_ptr, list_stride, num_ptr, max_pages,
                 PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr,
                 BLOCK_PAGES: tl.constexpr):  # fmt: skip
    """List the complete candidates that are flagged."""
    begin()
    row = tl.program_id(0).to(tl.int64)
    length = length_of(seq_lens_ptr, row // num_kv_heads, max_pages, PAGE_SIZE)
    listed = tl.zeros((), tl.int32)
    for start in tl.range(0, length // PAGE_SIZE, BLOCK_PAGES, num_stages=1):
        page = start + tl.arange(0, BLOCK_PAGES)
        eligible = _candidate(page, length, PAGE_SIZE, SINK, WINDOW) & (page < length // PAGE_SIZE)
        flag = tl.load(chosen_ptr + row * chosen_stride + page, mask=eligible, other=0)
        listed = _append(flag != 0, page, row, listed, None, 0, num_kv_heads, list_ptr, list_stride)
    tl.store(num_ptr + row, listed)


def list_chosen(chosen: torch.Tensor, pages: Pages, lists: PageLists) -> None:
    """List the flagged candidates, for which there must be room. chosen: int8 [rows, max_pages]."""
    _list_chosen[(pages.num_rows,)](
        chosen, chosen.stride(0), pages.seq_lens, pages.num_kv_heads, lists.pages, lists.pages.stride(0), lists.num,
        pages.max_pages, PAGE_SIZE=pages.page_size, SINK=pages.sink, WINDOW=pages.window,
        BLOCK_PAGES=pages.block_pages, num_warps=pages.num_warps, num_stages=1, **dependent(pages.seq_lens.device),
    )  # fmt: skip
