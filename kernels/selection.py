# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""Exact choice of pages: top-k by radix select and the ascending block table of what is attended, in one launch.

A *row* is one sequence and one KV head, `row = sequence * num_kv_heads + kv_head`. Of a sequence of L tokens,
N = ceil(L / page_size) pages exist, M = floor(L / page_size) are complete, page i is *reserved* when i < sink or
i >= N - window, and the others are the *candidates*. Everything is decided from integers and from the order of the
scores, so the result does not depend on tile sizes, on the batch or on the machine. Where the budget takes every
candidate no score is read.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

BLOCK_PAGES = 8192  # whose keys stay in the registers of 16 warps
NUM_DIGITS = 256
NUM_TALLIES = 6  # of a row: sparse steps, covered ones of these, pages attended, pages in all, dense steps, marked ones


@dataclass(frozen=True)
class Pages:
    """What is known of each sequence's pages before anything is scored.

    seq_lens: [batch] integers, the length with the current token. `max_pages`, at least 1, bounds every sequence's
    pages in this step, `most_pages` in any: kernels are compiled by it, so that none is while sequences grow.
    """

    seq_lens: torch.Tensor
    num_kv_heads: int
    max_pages: int
    page_size: int
    sink: int
    window: int
    most_pages: int = 0

    @property
    def num_rows(self) -> int:
        """Sequences times KV heads."""
        return self.seq_lens.shape[0] * self.num_kv_heads

    @property
    def block_pages(self) -> int:
        """Pages that one tile covers: bounded, whatever the length."""
        return min(BLOCK_PAGES, triton.next_power_of_2(max(self._bound, 16)))

    @property
    def _bound(self) -> int:
        return max(self.max_pages, self.most_pages)

    @property
    def one_tile(self) -> bool:
        """Whether one tile covers all pages of any sequence."""
        return self._bound <= self.block_pages

    @property
    def num_warps(self) -> int:
        """Warps that share a tile."""
        return min(max(self.block_pages // 256, 4), 16)


@dataclass(frozen=True)
class Ranking:
    """Take the candidates of highest score, ties to the lower index.

    score: float32 [rows, max_pages]; NaN counts as -inf, -inf excludes nothing. num: a number, or float32 [rows];
    floored and clamped to the candidates, NaN is none. among: int8 [rows, max_pages], choose only among these
    (`refine`). threshold: a number, or float32 [rows]; choose only scores above it (`above`).
    """

    score: torch.Tensor
    num: torch.Tensor | float
    among: torch.Tensor | None = None
    threshold: torch.Tensor | float | None = None


@dataclass(frozen=True)
class Listing:
    """Where lists are written, and what is counted on the way.

    block_table: [batch, max_pages] integers, the block of each page. covered: the number of candidates up to which a
    budget is known to take all, so that none was scored. dense: int8 [batch] or None, 1 where every page is attended
    whatever is chosen. tally: int64 [rows, NUM_TALLIES] or None, added to.
    """

    block_table: torch.Tensor
    covered: int = -1
    dense: torch.Tensor | None = None
    tally: torch.Tensor | None = None


@dataclass(frozen=True)
class BlockLists:
    """What each row attends to: blocks int32 [rows, max_pages] in the order of their pages; tokens int32 [rows].

    A row's first ceil(tokens / page_size) blocks are used, and only the last of them may hold fewer tokens. `expected`:
    the blocks that a row's budget takes at most, None where that is not known; a row may have more.
    """

    blocks: torch.Tensor
    tokens: torch.Tensor
    expected: int | None = None


@triton.jit
def _number(given, row, IS_TENSOR: tl.constexpr):
    """Read a number that is one for all rows, or one of each row."""
    number = tl.load(given + row) if IS_TENSOR else given
    return number  # noqa: RET504  (Triton compiles no return of a conditional expression)


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
def _ranked(page, end, length, row, score_ptr, score_stride, among_ptr, among_stride, threshold,
            PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr, HAS_AMONG: tl.constexpr,
            HAS_THRESHOLD: tl.constexpr):  # fmt: skip
    """Give the keys of a tile of pages, and mark those that may be chosen. Nothing at or beyond `end` is read."""
    score = tl.load(score_ptr + row * score_stride + page, mask=page < end, other=0.0)
    eligible = _candidate(page, length, PAGE_SIZE, SINK, WINDOW) & (page < end)
    if HAS_AMONG:
        eligible = eligible & (tl.load(among_ptr + row * among_stride + page, mask=eligible, other=0) != 0)
    if HAS_THRESHOLD:
        eligible = eligible & (score > threshold)
    return _order_key(score), eligible


@triton.jit
def _digit(count, prefix, remaining, NUM_DIGITS: tl.constexpr):
    """Go on by one digit: `count` pages have each value of it, of those whose keys begin with `prefix`."""
    digits = tl.arange(0, NUM_DIGITS)
    total = tl.sum(count, 0)
    larger = total - tl.cumsum(count, 0)
    remaining = tl.minimum(remaining, total)
    here = (larger < remaining) & (remaining <= larger + count)
    prefix = prefix * NUM_DIGITS + tl.sum(tl.where(here, digits, 0), 0).to(tl.uint32)
    return prefix, remaining - tl.sum(tl.where(here, larger, 0), 0)


@triton.jit
def _last_taken(key, eligible, remaining, NUM_DIGITS: tl.constexpr):
    """Give the key of the last page taken, and how many pages with just that key are taken; 0 of them if none is.

    Radix select, eight bits at a time from the top, of keys in registers.
    """
    prefix = tl.zeros((), tl.uint32)
    for step in tl.static_range(4):
        leading = key >> (24 - 8 * step)
        active = eligible & (leading >> 8 == prefix)
        count = tl.histogram((leading & 0xFF).to(tl.int32), NUM_DIGITS, mask=active)
        prefix, remaining = _digit(count, prefix, remaining, NUM_DIGITS)
    return prefix, remaining


@triton.jit
def _last_taken_of_many(remaining, end, length, row, score_ptr, score_stride, among_ptr, among_stride, threshold,
                        PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr, HAS_AMONG: tl.constexpr,
                        HAS_THRESHOLD: tl.constexpr, BLOCK_PAGES: tl.constexpr,
                        NUM_DIGITS: tl.constexpr):  # fmt: skip
    """Do as `_last_taken` over more pages than a tile covers, reading the scores for each digit anew."""
    prefix = tl.zeros((), tl.uint32)
    for step in tl.static_range(4):
        count = tl.zeros((NUM_DIGITS,), tl.int32)
        for start in tl.range(0, end, BLOCK_PAGES, num_stages=1):
            page = start + tl.arange(0, BLOCK_PAGES)
            key, eligible = _ranked(page, end, length, row, score_ptr, score_stride, among_ptr, among_stride,
                                    threshold, PAGE_SIZE, SINK, WINDOW, HAS_AMONG, HAS_THRESHOLD)  # fmt: skip
            leading = key >> (24 - 8 * step)
            active = eligible & (leading >> 8 == prefix)
            count += tl.histogram((leading & 0xFF).to(tl.int32), NUM_DIGITS, mask=active)
        prefix, remaining = _digit(count, prefix, remaining, NUM_DIGITS)
    return prefix, remaining


@triton.jit
def _taken(key, eligible, prefix, remaining, num_ties):
    """Mark the pages of a tile that are taken; `num_ties` pages before them have the last key."""
    tie = (eligible & (key == prefix)).to(tl.int32)
    earlier = num_ties + tl.cumsum(tie, 0) - tie
    taken = eligible & ((key > prefix) | ((key == prefix) & (earlier < remaining))) & (remaining > 0)
    return taken, num_ties + tl.sum(tie, 0)


@triton.jit
def _written(taken, page, row, whole, length, num_pages, listed, max_pages, chosen_ptr, chosen_stride, table_ptr,
             table_stride, num_kv_heads, list_ptr, list_stride, PAGE_SIZE: tl.constexpr, SINK: tl.constexpr,
             WINDOW: tl.constexpr, LISTS: tl.constexpr):  # fmt: skip
    """Write a tile's flags, or what is attended to of it behind what is listed already; count what is listed."""
    candidate = _candidate(page, length, PAGE_SIZE, SINK, WINDOW)
    chosen = taken | (candidate & (page < num_pages) & whole)
    if LISTS:
        attended = (page < num_pages) & (chosen | (candidate == 0))
        listed = _append(attended, page, row, listed, table_ptr, table_stride, num_kv_heads, list_ptr, list_stride)
    else:
        tl.store(chosen_ptr + row * chosen_stride + page, chosen.to(tl.int8), mask=page < max_pages)
    return listed


@triton.jit
def _select(score_ptr, score_stride, num, seq_lens_ptr, num_kv_heads, among_ptr, among_stride, threshold,
            chosen_ptr, chosen_stride, table_ptr, table_stride, covered, dense_ptr, tally_ptr,
            list_ptr, list_stride, tokens_ptr, max_pages,
            PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr, NUM_TENSOR: tl.constexpr,
            HAS_AMONG: tl.constexpr, HAS_THRESHOLD: tl.constexpr, THRESHOLD_TENSOR: tl.constexpr,
            LISTS: tl.constexpr, HAS_DENSE: tl.constexpr, TALLY: tl.constexpr, ONE_TILE: tl.constexpr,
            BLOCK_PAGES: tl.constexpr, NUM_DIGITS: tl.constexpr):  # fmt: skip
    """Choose by score, then write flags, or the list of what is attended."""
    row = tl.program_id(0).to(tl.int64)
    length = tl.load(seq_lens_ptr + row // num_kv_heads).to(tl.int32)
    num_pages = tl.minimum((length + PAGE_SIZE - 1) // PAGE_SIZE, max_pages)
    candidates = tl.maximum(num_pages - WINDOW - SINK, 0)
    limit = 0.0
    if HAS_THRESHOLD:
        limit = _number(threshold, row, THRESHOLD_TENSOR)
    budget = _number(num, row, NUM_TENSOR)
    budget = tl.where(budget == budget, tl.floor(budget), 0.0)
    remaining = tl.clamp(budget, 0.0, candidates.to(tl.float32)).to(tl.int32)
    whole = remaining == candidates
    if HAS_AMONG or HAS_THRESHOLD:
        whole = candidates == 0
    if LISTS and HAS_DENSE:
        whole = whole | (tl.load(dense_ptr + row // num_kv_heads) != 0)
    end = tl.where(whole, 0, tl.minimum(length // PAGE_SIZE, max_pages))  # pages whose scores are read
    prefix = tl.zeros((), tl.uint32)
    num_ties = tl.zeros((), tl.int32)
    listed = tl.zeros((), tl.int32)
    if ONE_TILE:
        page = tl.arange(0, BLOCK_PAGES)
        key, eligible = _ranked(page, end, length, row, score_ptr, score_stride, among_ptr, among_stride, limit,
                                PAGE_SIZE, SINK, WINDOW, HAS_AMONG, HAS_THRESHOLD)  # fmt: skip
        if end > 0:
            prefix, remaining = _last_taken(key, eligible, remaining, NUM_DIGITS)
        taken, num_ties = _taken(key, eligible, prefix, remaining, num_ties)
        listed = _written(taken, page, row, whole, length, num_pages, listed, max_pages, chosen_ptr, chosen_stride,
                          table_ptr, table_stride, num_kv_heads, list_ptr, list_stride, PAGE_SIZE, SINK, WINDOW,
                          LISTS)  # fmt: skip
    else:
        if end > 0:
            prefix, remaining = _last_taken_of_many(
                remaining, end, length, row, score_ptr, score_stride, among_ptr, among_stride, limit,
                PAGE_SIZE, SINK, WINDOW, HAS_AMONG, HAS_THRESHOLD, BLOCK_PAGES, NUM_DIGITS)  # fmt: skip
        for start in tl.range(0, num_pages if LISTS else max_pages, BLOCK_PAGES, num_stages=1):
            page = start + tl.arange(0, BLOCK_PAGES)
            key, eligible = _ranked(page, end, length, row, score_ptr, score_stride, among_ptr, among_stride, limit,
                                    PAGE_SIZE, SINK, WINDOW, HAS_AMONG, HAS_THRESHOLD)  # fmt: skip
            taken, num_ties = _taken(key, eligible, prefix, remaining, num_ties)
            listed = _written(taken, page, row, whole, length, num_pages, listed, max_pages, chosen_ptr,
                              chosen_stride, table_ptr, table_stride, num_kv_heads, list_ptr, list_stride,
                              PAGE_SIZE, SINK, WINDOW, LISTS)  # fmt: skip
    if LISTS:
        tl.store(tokens_ptr + row, _tokens(listed, length, PAGE_SIZE))
        if TALLY:
            marked = tl.load(dense_ptr + row // num_kv_heads) if HAS_DENSE else 0
            _count(tally_ptr, row, length, marked, candidates <= covered, listed, num_pages)


@triton.jit
def _append(attended, page, row, listed, table_ptr, table_stride, num_kv_heads, list_ptr, list_stride):
    """Write the blocks of a tile's attended pages behind those already listed, and count them all."""
    one = attended.to(tl.int32)
    position = listed + tl.cumsum(one, 0) - one
    block = tl.load(table_ptr + (row // num_kv_heads) * table_stride + page, mask=attended, other=0)
    tl.store(list_ptr + row * list_stride + position, block.to(tl.int32), mask=attended)
    return listed + tl.sum(one, 0)


@triton.jit
def _tokens(listed, length, PAGE_SIZE: tl.constexpr):
    """Give the tokens in so many pages, the last of which is the sequence's last."""
    whole = (length + PAGE_SIZE - 1) // PAGE_SIZE * PAGE_SIZE
    return tl.where(listed > 0, listed * PAGE_SIZE - (whole - length), 0)


@triton.jit
def _count(tally_ptr, row, length, marked, covered, listed, num_pages):
    """Add a row's step to its own counters, which no other program touches."""
    place = tally_ptr + row * 6
    counted = (length > 0) & (marked == 0)
    tl.store(place, tl.load(place) + 1, mask=counted)
    tl.store(place + 1, tl.load(place + 1) + covered.to(tl.int64), mask=counted)
    tl.store(place + 2, tl.load(place + 2) + listed, mask=counted)
    tl.store(place + 3, tl.load(place + 3) + num_pages, mask=counted)
    tl.store(place + 5, tl.load(place + 5) + 1, mask=(length > 0) & (marked != 0))


def choose(ranking: Ranking, pages: Pages) -> torch.Tensor:
    """Return the chosen candidates as int8 [rows, max_pages]."""
    chosen = torch.empty(pages.num_rows, pages.max_pages, dtype=torch.int8, device=ranking.score.device)
    _launch_select(ranking, pages, chosen, None, None)
    return chosen


def list_best(ranking: Ranking, pages: Pages, listing: Listing) -> BlockLists:
    """Return the blocks of the reserved pages and of the chosen candidates, in one launch."""
    lists = empty_lists(pages)
    _launch_select(ranking, pages, None, listing, lists)
    return lists


def scalar(number: torch.Tensor | float | None) -> torch.Tensor | float | None:
    """Give a number as the float that a kernel takes; whole ones would be compiled in."""
    return float(number) if isinstance(number, int) else number


def empty_lists(pages: Pages) -> BlockLists:
    """Make room for the lists of a step."""
    device = pages.seq_lens.device
    blocks = torch.empty(pages.num_rows, max(pages.max_pages, 1), dtype=torch.int32, device=device)
    return BlockLists(blocks, torch.empty(pages.num_rows, dtype=torch.int32, device=device))


def _launch_select(
    ranking: Ranking, pages: Pages, chosen: torch.Tensor | None, listing: Listing | None, lists: BlockLists | None
) -> None:
    among, threshold = ranking.among, scalar(ranking.threshold)
    table = None if listing is None else listing.block_table
    dense, tally = (None, None) if listing is None else (listing.dense, listing.tally)
    _select[(pages.num_rows,)](
        ranking.score, ranking.score.stride(0), scalar(ranking.num), pages.seq_lens, pages.num_kv_heads,
        among, 0 if among is None else among.stride(0), threshold,
        chosen, 0 if chosen is None else chosen.stride(0), table, 0 if table is None else table.stride(0),
        -1 if listing is None else listing.covered, dense, tally,
        None if lists is None else lists.blocks, 0 if lists is None else lists.blocks.stride(0),
        None if lists is None else lists.tokens, pages.max_pages,
        PAGE_SIZE=pages.page_size, SINK=pages.sink, WINDOW=pages.window,
        NUM_TENSOR=isinstance(ranking.num, torch.Tensor), HAS_AMONG=among is not None,
        HAS_THRESHOLD=threshold is not None, THRESHOLD_TENSOR=isinstance(threshold, torch.Tensor),
        LISTS=lists is not None, HAS_DENSE=dense is not None, TALLY=tally is not None,
        ONE_TILE=pages.one_tile, BLOCK_PAGES=pages.block_pages, NUM_DIGITS=NUM_DIGITS,
        num_warps=pages.num_warps, num_stages=1,
    )  # fmt: skip


@triton.jit
def _list_pages(chosen_ptr, chosen_stride, seq_lens_ptr, num_kv_heads, table_ptr, table_stride, covered, dense_ptr,
                tally_ptr, list_ptr, list_stride, tokens_ptr, max_pages,
                PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr, HAS_CHOSEN: tl.constexpr,
                HAS_DENSE: tl.constexpr, TALLY: tl.constexpr, BLOCK_PAGES: tl.constexpr):  # fmt: skip
    """List the reserved pages and those that are flagged."""
    row = tl.program_id(0).to(tl.int64)
    length = tl.load(seq_lens_ptr + row // num_kv_heads).to(tl.int32)
    num_pages = tl.minimum((length + PAGE_SIZE - 1) // PAGE_SIZE, max_pages)
    whole = length < 0
    if HAS_DENSE:
        whole = tl.load(dense_ptr + row // num_kv_heads) != 0
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
    if TALLY:
        candidates = tl.maximum(num_pages - WINDOW - SINK, 0)
        marked = tl.load(dense_ptr + row // num_kv_heads) if HAS_DENSE else 0
        _count(tally_ptr, row, length, marked, candidates <= covered, listed, num_pages)


def list_pages(chosen: torch.Tensor | None, pages: Pages, listing: Listing) -> BlockLists:
    """Return the blocks of the reserved pages and of the flagged ones. chosen: int8 [rows, max_pages] or None."""
    lists, table, dense = empty_lists(pages), listing.block_table, listing.dense
    _list_pages[(pages.num_rows,)](
        chosen, 0 if chosen is None else chosen.stride(0), pages.seq_lens, pages.num_kv_heads,
        table, table.stride(0), listing.covered, dense, listing.tally,
        lists.blocks, lists.blocks.stride(0), lists.tokens, pages.max_pages,
        PAGE_SIZE=pages.page_size, SINK=pages.sink, WINDOW=pages.window, HAS_CHOSEN=chosen is not None,
        HAS_DENSE=dense is not None, TALLY=listing.tally is not None, BLOCK_PAGES=pages.block_pages,
        num_warps=pages.num_warps, num_stages=1,
    )  # fmt: skip
    return lists
