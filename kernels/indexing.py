# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""Scores, exact choice and block lists in one launch.

Programs of a row score its pages, a tile each, into memory; the one that finishes last chooses by them and writes the
list. A row that needs no scores is listed by its first program, and its others end at once.
"""

from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl

from kernels.arrivals import counters, is_last
from kernels.selection import NUM_DIGITS, BlockLists, Listing, Pages, Ranking, _select, empty_lists, scalar

BLOCK_PAGES = 1024  # that are chosen from at a time: more would take registers from the programs that only score
UNSCORED = tl.constexpr(2**30)  # more candidates than any row has


@dataclass(frozen=True)
class Scoring:
    """How a row's pages are scored: by a jitted function over a grid of rows and tiles of `tile_pages` pages.

    It takes `before`, then a number of candidates up to which it does nothing, then `after`, and writes what the
    ranking goes by: the scores of its tile; its first program also whatever a row has one of.
    """

    function: Any
    tile_pages: int
    before: tuple[Any, ...]
    after: tuple[Any, ...]


@triton.jit
def _index(SCORE: tl.constexpr, before, after, score_ptr, score_stride, num, seq_lens_ptr, num_kv_heads, threshold,
           table_ptr, table_stride, covered, dense_ptr, tally_ptr, list_ptr, list_stride, tokens_ptr, max_pages,
           counters_ptr, TILE_PAGES: tl.constexpr,
           PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr, NUM_TENSOR: tl.constexpr,
           HAS_THRESHOLD: tl.constexpr, THRESHOLD_TENSOR: tl.constexpr, HAS_DENSE: tl.constexpr, TALLY: tl.constexpr,
           ONE_TILE: tl.constexpr, BLOCK_PAGES: tl.constexpr, NUM_DIGITS: tl.constexpr):  # fmt: skip
    """Score a tile; whoever is last of a row lists what it attends to."""
    row = tl.program_id(0).to(tl.int64)
    length = tl.load(seq_lens_ptr + row // num_kv_heads).to(tl.int32)
    unscored = covered
    if HAS_DENSE:
        unscored = tl.where(tl.load(dense_ptr + row // num_kv_heads) != 0, UNSCORED, covered)
    num_tiles = tl.minimum((length // PAGE_SIZE + TILE_PAGES - 1) // TILE_PAGES, tl.num_programs(1))
    num_tiles = tl.where((length + PAGE_SIZE - 1) // PAGE_SIZE - SINK - WINDOW <= unscored, 0, num_tiles)
    if tl.program_id(1) >= tl.maximum(num_tiles, 1):
        return
    SCORE(*before, unscored, *after)
    if is_last(counters_ptr + row, num_tiles):
        _select(score_ptr, score_stride, num, seq_lens_ptr, num_kv_heads, None, 0, threshold, None, 0,
                table_ptr, table_stride, covered, dense_ptr, tally_ptr, list_ptr, list_stride, tokens_ptr, max_pages,
                PAGE_SIZE, SINK, WINDOW, NUM_TENSOR, False, HAS_THRESHOLD, THRESHOLD_TENSOR,
                True, HAS_DENSE, TALLY, ONE_TILE, BLOCK_PAGES, NUM_DIGITS)  # fmt: skip


def list_scored(scoring: Scoring, ranking: Ranking, pages: Pages, listing: Listing) -> BlockLists:
    """Score, and return what `kernels.selection.list_best` then would: the same pages, in one launch.

    Scores stand in `ranking.score` afterwards. `ranking.among` is not served here.
    """
    if ranking.among is not None:
        message = "a choice among the chosen is not made while scoring; it needs a launch of its own"
        raise ValueError(message)
    lists, threshold, block = empty_lists(pages), scalar(ranking.threshold), min(pages.block_pages, BLOCK_PAGES)
    _index[(pages.num_rows, max(triton.cdiv(pages.max_pages, scoring.tile_pages), 1))](
        scoring.function, scoring.before, scoring.after,
        ranking.score, ranking.score.stride(0), scalar(ranking.num), pages.seq_lens, pages.num_kv_heads, threshold,
        listing.block_table, listing.block_table.stride(0), listing.covered, listing.dense, listing.tally,
        lists.blocks, lists.blocks.stride(0), lists.tokens, pages.max_pages,
        counters(pages.num_rows, pages.seq_lens.device), TILE_PAGES=scoring.tile_pages,
        PAGE_SIZE=pages.page_size, SINK=pages.sink, WINDOW=pages.window,
        NUM_TENSOR=not isinstance(ranking.num, int | float), HAS_THRESHOLD=threshold is not None,
        THRESHOLD_TENSOR=not isinstance(threshold, float | None), HAS_DENSE=listing.dense is not None,
        TALLY=listing.tally is not None, ONE_TILE=pages.max_pages <= block,
        BLOCK_PAGES=block, NUM_DIGITS=NUM_DIGITS, num_stages=1,
    )  # fmt: skip
    return lists
