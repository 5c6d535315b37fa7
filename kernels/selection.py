# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""Exact choice of pages: top-k by radix select and the ascending block table of what is attended, in one launch.

A *row* is one sequence and one KV head, `row = sequence * num_kv_heads + kv_head`. Of a sequence of L tokens,
N = ceil(L / page_size) pages exist, M = floor(L / page_size) are complete, page i is *reserved* when i < sink or
i >= N - window, and the others are the *candidates*. Everything is decided from integers and from the order of the
scores, so the result does not depend on tile sizes, on the batch or on the machine. Where the budget takes every
candidate, and beyond a sequence's end, no score matters: there may be anything.
"""

from dataclasses import dataclass, replace

import torch
import triton
import triton.language as tl

from kernels.dependent import begin, dependent
from kernels.radix import KEY_BITS, NUM_DIGITS, counts, last_taken, next_digit, order_key, placed

BLOCK_PAGES, MOST_WARPS = 8192, 16  # so many keys stay in the registers of so many warps
FEW_ROWS = 128  # that leave each other a processor of their own
NUM_TALLIES = 6  # of a row: sparse steps, covered ones of these, pages attended, pages in all, dense steps, marked ones
_TALLIES = tl.constexpr(NUM_TALLIES)


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
        """Warps that share a tile: the more, the sooner it is done; the fewer, the less all rows take together."""
        pages_per_warp = 128 if self.num_rows <= FEW_ROWS else 256
        return min(max(self.block_pages // pages_per_warp, 4), MOST_WARPS)


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
    the blocks that a row's budget takes at most, None where that is not known; a row may have more. arrived: int32
    [rows], all 0 between launches, where programs that attend to a row count themselves; None where they must not.
    """

    blocks: torch.Tensor
    tokens: torch.Tensor
    expected: int | None = None
    arrived: torch.Tensor | None = None

    def of(self, some: slice) -> "BlockLists":
        """Give the lists of some rows."""
        arrived = None if self.arrived is None else self.arrived[some]
        return replace(self, blocks=self.blocks[some], tokens=self.tokens[some], arrived=arrived)


@dataclass(frozen=True)
class PageLists:
    """Which candidates are chosen: pages int32 [rows, room], complete ones, ascending; num int32 [rows], how many."""

    pages: torch.Tensor
    num: torch.Tensor


@triton.jit
def _number(given, row, IS_TENSOR: tl.constexpr):
    """Read a number that is one for all rows, or one of each row."""
    number = tl.load(given + row) if IS_TENSOR else given
    return number  # noqa: RET504  (Triton compiles no return of a conditional expression)


@triton.jit
def length_of(seq_lens_ptr, sequence, max_pages, PAGE_SIZE: tl.constexpr):
    """Read a sequence's length, as far as there is room for its pages: what the host foretold may be too little."""
    return tl.minimum(tl.load(seq_lens_ptr + sequence).to(tl.int32), max_pages * PAGE_SIZE)


@triton.jit
def _candidate(page, length, PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr):
    """Mark the pages that are neither reserved nor beyond the end."""
    num_pages = (length + PAGE_SIZE - 1) // PAGE_SIZE
    return (page >= SINK) & (page < num_pages - WINDOW)


@triton.jit
def _ranked(page, score, end, length, row, among_ptr, among_stride, threshold,
            PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr, HAS_AMONG: tl.constexpr,
            HAS_THRESHOLD: tl.constexpr):  # fmt: skip
    """Give the keys of a tile of pages, and mark those that may be chosen: none at or beyond `end`."""
    eligible = _candidate(page, length, PAGE_SIZE, SINK, WINDOW) & (page < end)
    if HAS_AMONG:
        eligible = eligible & (tl.load(among_ptr + row * among_stride + page, mask=eligible, other=0) != 0)
    if HAS_THRESHOLD:
        eligible = eligible & (score > threshold)
    return order_key(score), eligible


@triton.jit
def _last_taken_of_many(remaining, end, length, row, score_ptr, score_stride, among_ptr, among_stride, threshold,
                        PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr, HAS_AMONG: tl.constexpr,
                        HAS_THRESHOLD: tl.constexpr, BLOCK_PAGES: tl.constexpr):  # fmt: skip
    """Do as `last_taken` over more pages than a tile covers, reading the scores for each digit anew."""
    prefix, left, undecided = tl.zeros((), tl.uint32), tl.full((), KEY_BITS, tl.int32), remaining >= 0
    while undecided:
        count = tl.zeros((NUM_DIGITS,), tl.int32)
        for start in tl.range(0, end, BLOCK_PAGES, num_stages=1):
            page = start + tl.arange(0, BLOCK_PAGES)
            score = tl.load(score_ptr + row * score_stride + page, mask=page < end, other=0.0)
            key, eligible = _ranked(page, score, end, length, row, among_ptr, among_stride, threshold,
                                    PAGE_SIZE, SINK, WINDOW, HAS_AMONG, HAS_THRESHOLD)  # fmt: skip
            count += counts(key, eligible, prefix, left)
        prefix, remaining, left, undecided = next_digit(count, prefix, remaining, left)
    return prefix << left, remaining


@triton.jit
def _chosen(key, eligible, prefix, remaining, num_ties, listed, page, row, whole, length, max_pages, chosen_ptr,
            chosen_stride, block, list_ptr, list_stride, PAGE_SIZE: tl.constexpr, SINK: tl.constexpr,
            WINDOW: tl.constexpr, LISTS: tl.constexpr):  # fmt: skip
    """Write the blocks of a tile's attended pages behind what is listed already, or flags; count what is listed.

    Beside flags, the pages themselves are listed where `list_ptr` is given: those that are complete.
    """
    candidate, exists = _candidate(page, length, PAGE_SIZE, SINK, WINDOW), page * PAGE_SIZE < length
    taken = (eligible & (key > prefix) & (remaining > 0)) | (candidate & whole)
    if LISTS:
        taken = (taken | (candidate == 0)) & exists
    taken, place, num_ties, listed = placed(taken, eligible & (key == prefix), remaining, num_ties, listed)
    if LISTS:
        tl.store(list_ptr + row * list_stride + place, block, mask=taken)
    else:
        tl.store(chosen_ptr + row * chosen_stride + page, taken.to(tl.int8), mask=page < max_pages)
        if list_ptr is not None:
            tl.store(list_ptr + row * list_stride + place, page, mask=taken & (page < length // PAGE_SIZE))
    return num_ties, listed


@triton.jit
def _select(score_ptr, score_stride, num, seq_lens_ptr, num_kv_heads, among_ptr, among_stride, threshold,
            chosen_ptr, chosen_stride, table_ptr, table_stride, covered, dense_ptr, tally_ptr,
            list_ptr, list_stride, tokens_ptr, arrived_ptr, max_pages,
            PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr, NUM_TENSOR: tl.constexpr,
            HAS_AMONG: tl.constexpr, HAS_THRESHOLD: tl.constexpr, THRESHOLD_TENSOR: tl.constexpr,
            LISTS: tl.constexpr, HAS_DENSE: tl.constexpr, TALLY: tl.constexpr, ONE_TILE: tl.constexpr,
            BLOCK_PAGES: tl.constexpr):  # fmt: skip
    """Choose by score, then write flags, or the list of what is attended."""
    begin()
    row = tl.program_id(0).to(tl.int64)
    length = length_of(seq_lens_ptr, row // num_kv_heads, max_pages, PAGE_SIZE)
    num_pages = (length + PAGE_SIZE - 1) // PAGE_SIZE
    candidates = tl.maximum(num_pages - WINDOW - SINK, 0)
    if TALLY:
        counters = _counters(tally_ptr, row)
    limit = 0.0
    if HAS_THRESHOLD:
        limit = _number(threshold, row, THRESHOLD_TENSOR)
    budget = _number(num, row, NUM_TENSOR)
    budget = tl.where(budget == budget, tl.floor(budget), 0.0)
    remaining = tl.clamp(budget, 0.0, candidates.to(tl.float32)).to(tl.int32)
    whole = remaining == candidates
    if HAS_AMONG or HAS_THRESHOLD:
        whole = candidates == 0
    marked = tl.load(dense_ptr + row // num_kv_heads) if HAS_DENSE else 0
    whole = whole | (marked != 0)
    end = tl.where(whole, 0, length // PAGE_SIZE)  # pages whose scores are read
    prefix = tl.zeros((), tl.uint32)
    num_ties = tl.zeros((), tl.int32)
    listed = tl.zeros((), tl.int32)
    table_row = table_ptr + row // num_kv_heads * table_stride if LISTS else None
    if ONE_TILE:
        page = tl.arange(0, BLOCK_PAGES)
        # Whatever the length is: that is still awaited, and so is which blocks are taken.
        score = tl.load(score_ptr + row * score_stride + page, mask=page < max_pages, other=0.0)
        block = _blocks(table_row, page, max_pages)
        key, eligible = _ranked(page, score, end, length, row, among_ptr, among_stride, limit,
                                PAGE_SIZE, SINK, WINDOW, HAS_AMONG, HAS_THRESHOLD)  # fmt: skip
        if end > 0:
            prefix, remaining = last_taken(key, eligible, remaining)
        num_ties, listed = _chosen(key, eligible, prefix, remaining, num_ties, listed, page, row, whole, length,
                                   max_pages, chosen_ptr, chosen_stride, block, list_ptr, list_stride, PAGE_SIZE,
                                   SINK, WINDOW, LISTS)  # fmt: skip
    else:
        if end > 0:
            prefix, remaining = _last_taken_of_many(
                remaining, end, length, row, score_ptr, score_stride, among_ptr, among_stride, limit,
                PAGE_SIZE, SINK, WINDOW, HAS_AMONG, HAS_THRESHOLD, BLOCK_PAGES)  # fmt: skip
        for start in tl.range(0, num_pages if LISTS else max_pages, BLOCK_PAGES, num_stages=1):
            page = start + tl.arange(0, BLOCK_PAGES)
            block = _blocks(table_row, page, num_pages)
            score = tl.load(score_ptr + row * score_stride + page, mask=page < end, other=0.0)
            key, eligible = _ranked(page, score, end, length, row, among_ptr, among_stride, limit,
                                    PAGE_SIZE, SINK, WINDOW, HAS_AMONG, HAS_THRESHOLD)  # fmt: skip
            num_ties, listed = _chosen(key, eligible, prefix, remaining, num_ties, listed, page, row, whole, length,
                                       max_pages, chosen_ptr, chosen_stride, block, list_ptr, list_stride, PAGE_SIZE,
                                       SINK, WINDOW, LISTS)  # fmt: skip
    if LISTS:
        tl.store(tokens_ptr + row, _tokens(listed, length, PAGE_SIZE))
        tl.store(arrived_ptr + row, 0)
        if TALLY:
            _count(tally_ptr, row, counters, length, marked, candidates <= covered, listed, num_pages)
    elif list_ptr is not None:
        complete = tl.minimum(num_pages - WINDOW, length // PAGE_SIZE) - SINK  # candidates: all flagged but the last
        tl.store(tokens_ptr + row, tl.minimum(listed, tl.maximum(complete, 0)))


@triton.jit
def _blocks(table_row, page, end):
    """Read the blocks of some pages, none where there is no table."""
    block = page
    if table_row is not None:
        block = tl.load(table_row + page, mask=page < end, other=0).to(tl.int32)
    return block


@triton.jit
def _tokens(listed, length, PAGE_SIZE: tl.constexpr):
    """Give the tokens in so many pages, the last of which is the sequence's last."""
    whole = (length + PAGE_SIZE - 1) // PAGE_SIZE * PAGE_SIZE
    return tl.where(listed > 0, listed * PAGE_SIZE - (whole - length), 0)


@triton.jit
def _counters(tally_ptr, row):
    """Read a row's own counters, which no other program touches: early, for that is waited for."""
    number = tl.arange(0, 8)
    return tl.load(tally_ptr + row * _TALLIES + number, mask=number < _TALLIES, other=0)


@triton.jit
def _count(tally_ptr, row, counters, length, marked, covered, listed, num_pages):
    """Add a row's step to its counters."""
    number, is_sparse = tl.arange(0, 8), marked == 0
    most = tl.where(number == 2, listed, tl.where(number == 3, num_pages, (number == 0) | ((number == 1) & covered)))
    added = tl.where(is_sparse, most, (number == 5).to(tl.int32))
    tl.store(tally_ptr + row * _TALLIES + number, counters + added, mask=(number < _TALLIES) & (length > 0))


def choose(ranking: Ranking, pages: Pages, lists: PageLists | None = None) -> torch.Tensor:
    """Return the chosen candidates as int8 [rows, max_pages]; list them too where there is room for lists."""
    chosen = torch.empty(pages.num_rows, pages.max_pages, dtype=torch.int8, device=ranking.score.device)
    _launch_select(ranking, pages, chosen, None, None if lists is None else (lists.pages, lists.num))
    return chosen


def list_best(ranking: Ranking, pages: Pages, listing: Listing) -> BlockLists:
    """Return the blocks of the reserved pages and of the chosen candidates, in one launch."""
    lists = empty_lists(pages)
    _launch_select(ranking, pages, None, listing, (lists.blocks, lists.tokens), lists.arrived)
    return lists


def scalar(number: torch.Tensor | float | None) -> torch.Tensor | float | None:
    """Give a number as the float that a kernel takes; whole ones would be compiled in."""
    return float(number) if isinstance(number, int) else number


def empty_lists(pages: Pages) -> BlockLists:
    """Make room for the lists of a step."""
    device = pages.seq_lens.device
    blocks = torch.empty(pages.num_rows, max(pages.max_pages, 1), dtype=torch.int32, device=device)
    tokens, arrived = (torch.empty(pages.num_rows, dtype=torch.int32, device=device) for _ in range(2))
    return BlockLists(blocks, tokens, arrived=arrived)  # apart: kernels are compiled by how their pointers are aligned


def empty_page_lists(pages: Pages, room: int) -> PageLists:
    """Make room for so many pages of each row."""
    device = pages.seq_lens.device
    chosen = torch.empty(pages.num_rows, room, dtype=torch.int32, device=device)
    return PageLists(chosen, torch.empty(pages.num_rows, dtype=torch.int32, device=device))


def _launch_select(
    ranking: Ranking,
    pages: Pages,
    chosen: torch.Tensor | None,
    listing: Listing | None,
    lists: tuple[torch.Tensor, torch.Tensor] | None,
    arrived: torch.Tensor | None = None,
) -> None:
    """Write flags, lists or both. lists: what is listed of each row, blocks if by a `listing`, and how much.

    arrived: counters of blocks' lists, which are set to 0.
    """
    among, threshold = ranking.among, scalar(ranking.threshold)
    table = None if listing is None else listing.block_table
    dense, tally = (None, None) if listing is None else (listing.dense, listing.tally)
    listed, count = (None, None) if lists is None else lists
    _select[(pages.num_rows,)](
        ranking.score, ranking.score.stride(0), scalar(ranking.num), pages.seq_lens, pages.num_kv_heads,
        among, 0 if among is None else among.stride(0), threshold,
        chosen, 0 if chosen is None else chosen.stride(0), table, 0 if table is None else table.stride(0),
        -1 if listing is None else listing.covered, dense, tally,
        listed, 0 if listed is None else listed.stride(0), count, arrived, pages.max_pages,
        PAGE_SIZE=pages.page_size, SINK=pages.sink, WINDOW=pages.window,
        NUM_TENSOR=isinstance(ranking.num, torch.Tensor), HAS_AMONG=among is not None,
        HAS_THRESHOLD=threshold is not None, THRESHOLD_TENSOR=isinstance(threshold, torch.Tensor),
        LISTS=listing is not None, HAS_DENSE=dense is not None, TALLY=tally is not None,
        ONE_TILE=pages.one_tile, BLOCK_PAGES=pages.block_pages,
        num_warps=pages.num_warps, num_stages=1, **dependent(ranking.score.device),
    )  # fmt: skip
