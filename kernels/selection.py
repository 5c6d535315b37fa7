# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""Exact choice of pages: top-k by radix select, the nucleus of a mass, and the ascending page list.

A *row* is one sequence and one KV head, `row = sequence * num_kv_heads + kv_head`. Of a sequence of L tokens,
N = ceil(L / page_size) pages exist, M = floor(L / page_size) are complete, page i is *reserved* when i < sink or
i >= N - window, and the others are the *candidates*. Everything is decided from integers and from the order of the
scores, so the result does not depend on tile sizes, on the batch or on the machine.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

BLOCK_PAGES = 1024
NUM_DIGITS = 256


@dataclass(frozen=True)
class Pages:
    """What is known of each sequence's pages before anything is scored.

    seq_lens: [batch] integers, the length with the current token.
    """

    seq_lens: torch.Tensor
    num_kv_heads: int
    max_pages: int
    page_size: int
    sink: int
    window: int

    @property
    def num_rows(self) -> int:
        """Sequences times KV heads."""
        return self.seq_lens.shape[0] * self.num_kv_heads

    @property
    def block_pages(self) -> int:
        """Pages that one tile covers: bounded, whatever the length."""
        return min(BLOCK_PAGES, triton.next_power_of_2(max(self.max_pages, 16)))


@triton.jit
def _order_key(score):
    """Unsigned integers in the order of the scores: NaN as -inf, -0 as 0."""
    score = tl.where(score == score, score, float("-inf"))
    score = tl.where(score == 0.0, 0.0, score)
    bits = score.to(tl.uint32, bitcast=True)
    return tl.where(bits >> 31 == 1, bits ^ 0xFFFFFFFF, bits ^ 0x80000000)


@triton.jit
def _candidate(page, length, PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr):
    """Mark the pages that are neither reserved nor beyond the end."""
    num_pages = (length + PAGE_SIZE - 1) // PAGE_SIZE
    return (page >= SINK) & (page < num_pages - WINDOW)


@triton.jit
def _eligible(score, page, length, row, among_ptr, among_stride, threshold_ptr,
              PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr,
              HAS_AMONG: tl.constexpr, HAS_THRESHOLD: tl.constexpr):  # fmt: skip
    """Mark the candidates that this selection may choose."""
    eligible = _candidate(page, length, PAGE_SIZE, SINK, WINDOW)
    if HAS_AMONG:
        among = tl.load(among_ptr + row.to(tl.int64) * among_stride + page, mask=eligible, other=0)
        eligible = eligible & (among != 0)
    if HAS_THRESHOLD:
        eligible = eligible & (score > tl.load(threshold_ptr + row))
    return eligible


@triton.jit
def _choose(score_ptr, score_stride, num_ptr, seq_lens_ptr, num_kv_heads, among_ptr, among_stride, threshold_ptr,
            chosen_ptr, chosen_stride, max_pages,
            PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr,
            HAS_AMONG: tl.constexpr, HAS_THRESHOLD: tl.constexpr,
            BLOCK_PAGES: tl.constexpr, NUM_DIGITS: tl.constexpr):  # fmt: skip
    row = tl.program_id(0)
    length = tl.load(seq_lens_ptr + row // num_kv_heads).to(tl.int32)
    scores = score_ptr + row.to(tl.int64) * score_stride
    candidates = tl.maximum((length + PAGE_SIZE - 1) // PAGE_SIZE - WINDOW - SINK, 0)
    budget = tl.load(num_ptr + row)
    budget = tl.where(budget == budget, tl.floor(budget), 0.0)
    remaining = tl.clamp(budget, 0.0, candidates.to(tl.float32)).to(tl.int32)
    end = tl.minimum(max_pages, length // PAGE_SIZE)
    digits = tl.arange(0, NUM_DIGITS)
    prefix = tl.zeros((), tl.uint32)
    # Radix select, eight bits at a time from the top: `prefix` becomes the key of the last page taken, and
    # `remaining` the number of pages with just that key that are still to be taken.
    for step in tl.static_range(4):
        count = tl.zeros((NUM_DIGITS,), tl.int32)
        for start in range(0, end, BLOCK_PAGES):
            page = start + tl.arange(0, BLOCK_PAGES)
            score = tl.load(scores + page, mask=page < end, other=0.0)
            eligible = _eligible(score, page, length, row, among_ptr, among_stride, threshold_ptr,
                                 PAGE_SIZE, SINK, WINDOW, HAS_AMONG, HAS_THRESHOLD)  # fmt: skip
            leading = _order_key(score) >> (24 - 8 * step)
            active = eligible & (page < end) & (leading >> 8 == prefix)
            count += tl.histogram((leading & 0xFF).to(tl.int32), NUM_DIGITS, mask=active)
        larger = tl.sum(count, 0) - tl.cumsum(count, 0)
        remaining = tl.minimum(remaining, tl.sum(count, 0))
        here = (larger < remaining) & (remaining <= larger + count)
        prefix = prefix * 256 + tl.sum(tl.where(here, digits, 0), 0).to(tl.uint32)
        remaining -= tl.sum(tl.where(here, larger, 0), 0)
    num_ties = tl.zeros((), tl.int32)
    for start in range(0, max_pages, BLOCK_PAGES):
        page = start + tl.arange(0, BLOCK_PAGES)
        score = tl.load(scores + page, mask=page < end, other=0.0)
        eligible = _eligible(score, page, length, row, among_ptr, among_stride, threshold_ptr,
                             PAGE_SIZE, SINK, WINDOW, HAS_AMONG, HAS_THRESHOLD)  # fmt: skip
        key = _order_key(score)
        tie = (eligible & (page < end) & (key == prefix)).to(tl.int32)
        earlier = num_ties + tl.cumsum(tie, 0) - tie
        chosen = eligible & (page < end) & ((key > prefix) | ((key == prefix) & (earlier < remaining)))
        chosen = chosen & (remaining > 0)
        tl.store(chosen_ptr + row.to(tl.int64) * chosen_stride + page, chosen.to(tl.int8), mask=page < max_pages)
        num_ties += tl.sum(tie, 0)


def choose(
    score: torch.Tensor,
    num: torch.Tensor,
    pages: Pages,
    *,
    among: torch.Tensor | None = None,
    threshold: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the candidates of highest score, ties to the lower index, as int8 [rows, max_pages].

    score: float32 [rows, max_pages]; NaN counts as -inf, -inf excludes nothing. num: float32 [rows], floored and
    clamped to the candidates, NaN is none. among: int8 [rows, max_pages], choose only among these (`refine`).
    threshold: float32 [rows], choose only scores above it (`above`).
    """
    chosen = torch.empty(score.shape, dtype=torch.int8, device=score.device)
    _choose[(pages.num_rows,)](
        score, score.stride(0), num, pages.seq_lens, pages.num_kv_heads,
        among, 0 if among is None else among.stride(0), threshold, chosen, chosen.stride(0), pages.max_pages,
        PAGE_SIZE=pages.page_size, SINK=pages.sink, WINDOW=pages.window,
        HAS_AMONG=among is not None, HAS_THRESHOLD=threshold is not None,
        BLOCK_PAGES=pages.block_pages, NUM_DIGITS=NUM_DIGITS, num_stages=1,
    )  # fmt: skip
    return chosen


@triton.jit
def _list_pages(chosen_ptr, chosen_stride, seq_lens_ptr, num_kv_heads, list_ptr, list_stride, count_ptr, max_pages,
                PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr,
                HAS_CHOSEN: tl.constexpr, EVERY: tl.constexpr, BLOCK_PAGES: tl.constexpr):  # fmt: skip
    row = tl.program_id(0)
    length = tl.load(seq_lens_ptr + row // num_kv_heads).to(tl.int32)
    end = tl.minimum((length + PAGE_SIZE - 1) // PAGE_SIZE, max_pages)
    count = tl.zeros((), tl.int32)
    for start in range(0, end, BLOCK_PAGES):
        page = start + tl.arange(0, BLOCK_PAGES)
        attended = page < end
        if not EVERY:
            candidate = _candidate(page, length, PAGE_SIZE, SINK, WINDOW)
            attended = attended & (candidate == 0)
            if HAS_CHOSEN:
                flags = chosen_ptr + row.to(tl.int64) * chosen_stride + page
                chosen = tl.load(flags, mask=candidate & (page < end), other=0)
                attended = attended | (chosen != 0)
        one = attended.to(tl.int32)
        position = count + tl.cumsum(one, 0) - one
        tl.store(list_ptr + row.to(tl.int64) * list_stride + position, page, mask=attended)
        count += tl.sum(one, 0)
    tl.store(count_ptr + row, count)


def list_pages(chosen: torch.Tensor | None, pages: Pages, *, every: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attended pages of each row in ascending order, and how many they are.

    chosen: int8 [rows, max_pages] or None; the reserved pages are always added; with `every`, all pages are listed.
    -> int32 [rows, max_pages], of which the first `count` entries are written; int32 [rows].
    """
    device = pages.seq_lens.device
    listed = torch.empty(pages.num_rows, pages.max_pages, dtype=torch.int32, device=device)
    count = torch.empty(pages.num_rows, dtype=torch.int32, device=device)
    _list_pages[(pages.num_rows,)](
        chosen, 0 if chosen is None else chosen.stride(0), pages.seq_lens, pages.num_kv_heads,
        listed, listed.stride(0), count, pages.max_pages,
        PAGE_SIZE=pages.page_size, SINK=pages.sink, WINDOW=pages.window,
        HAS_CHOSEN=chosen is not None, EVERY=every, BLOCK_PAGES=pages.block_pages, num_stages=1,
    )  # fmt: skip
    return listed, count
