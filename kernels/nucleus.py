# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""How many pages of falling score it takes until their mass reaches p (Twilight, arXiv:2502.02770).

The softmax of the scores over all complete pages is a mass, the reserved pages count as already taken, and the
candidates follow by falling score. No sort is needed: the key of the last page taken is found bit by bit, since the
mass of the pages at or above a key falls as the key rises. Masses, and the weights that they are shares of, are added
up as whole numbers of 2**-40, so that where they stop does not depend on the order of summation, which is another for
another number of warps; graphics cards have few units for float64.
"""

import torch
import triton
import triton.language as tl

from kernels.dependent import begin, dependent
from kernels.radix import order_key
from kernels.selection import Pages, _candidate, _number, length_of, scalar

WHOLE_MASS = tl.constexpr(float(2**40))  # what a mass of 1 is counted as; 2**16 of them fit into an int64


@triton.jit
def _mass(scores, page, end, top, total):
    """Share of the softmax that each page holds; 0 beyond the end, and everywhere when all scores are -inf."""
    score = tl.load(scores + page, mask=page < end, other=float("-inf"))
    score = tl.where(score == score, score, float("-inf"))
    mass = tl.where(score == top, 1.0, tl.exp(score - tl.where(top == float("-inf"), 0.0, top)))
    return score, tl.div_rn(tl.where(score == float("-inf"), 0.0, mass), total)


@triton.jit
def _counted(mass, among):
    """Add up the masses of some pages."""
    return tl.sum(tl.where(among, mass * WHOLE_MASS, 0.0).to(tl.int64), 0)


@triton.jit
def _last_reached(taken, wanted, scores, end, length, top, total, PAGE_SIZE: tl.constexpr, SINK: tl.constexpr,
                  WINDOW: tl.constexpr, ONE_TILE: tl.constexpr, BLOCK_PAGES: tl.constexpr):  # fmt: skip
    """Give the highest key at or above which the candidates' mass reaches what is wanted; 0 if none does."""
    key = tl.zeros((), tl.uint32)
    if ONE_TILE:
        page = tl.arange(0, BLOCK_PAGES)
        score, mass = _mass(scores, page, end, top, total)
        own = order_key(score)
        parts = tl.where(_candidate(page, length, PAGE_SIZE, SINK, WINDOW), mass * WHOLE_MASS, 0.0).to(tl.int64)
        for bit in tl.static_range(32):
            trial = key | (1 << (31 - bit))
            reached = taken + tl.sum(tl.where(own >= trial, parts, 0), 0)
            key = tl.where(reached >= wanted, trial, key)
    else:
        for bit in tl.static_range(32):
            trial = key | (1 << (31 - bit))
            reached = taken
            for start in range(0, end, BLOCK_PAGES):
                page = start + tl.arange(0, BLOCK_PAGES)
                score, mass = _mass(scores, page, end, top, total)
                counted = _candidate(page, length, PAGE_SIZE, SINK, WINDOW) & (order_key(score) >= trial)
                reached += _counted(mass, counted)
            key = tl.where(reached >= wanted, trial, key)
    return key


@triton.jit
def _nucleus(score_ptr, score_stride, mass_ptr, num_ptr, out_ptr, seq_lens_ptr, num_kv_heads, max_pages,
             PAGE_SIZE: tl.constexpr, SINK: tl.constexpr, WINDOW: tl.constexpr, MASS_TENSOR: tl.constexpr,
             NUM_TENSOR: tl.constexpr, ONE_TILE: tl.constexpr, BLOCK_PAGES: tl.constexpr):  # fmt: skip
    begin()
    row = tl.program_id(0)
    length = length_of(seq_lens_ptr, row // num_kv_heads, max_pages, PAGE_SIZE)
    scores = score_ptr + row.to(tl.int64) * score_stride
    end = length // PAGE_SIZE
    share = _number(mass_ptr, row, MASS_TENSOR)
    wanted = (tl.clamp(tl.where(share == share, share, -1.0), -1.0, 2.0) * WHOLE_MASS).to(tl.int64)
    top = tl.full((), float("-inf"), tl.float32)
    for start in range(0, end, BLOCK_PAGES):
        page = start + tl.arange(0, BLOCK_PAGES)
        score = tl.load(scores + page, mask=page < end, other=float("-inf"))
        top = tl.maximum(top, tl.max(tl.where(score == score, score, float("-inf")), 0))
    weights = tl.zeros((), tl.int64)  # each is at most 1
    for start in range(0, end, BLOCK_PAGES):
        page = start + tl.arange(0, BLOCK_PAGES)
        _, weight = _mass(scores, page, end, top, 1.0)
        weights += _counted(weight, page < end)
    total = tl.where(weights > 0, weights.to(tl.float32) / WHOLE_MASS, 1.0)
    taken = tl.zeros((), tl.int64)
    for start in range(0, end, BLOCK_PAGES):
        page = start + tl.arange(0, BLOCK_PAGES)
        _, mass = _mass(scores, page, end, top, total)
        reserved = _candidate(page, length, PAGE_SIZE, SINK, WINDOW) == 0
        taken += _counted(mass, reserved)
    key = _last_reached(taken, wanted, scores, end, length, top, total,
                        PAGE_SIZE, SINK, WINDOW, ONE_TILE, BLOCK_PAGES)  # fmt: skip
    above = taken
    num_above = tl.zeros((), tl.int32)
    num_ties = tl.zeros((), tl.int32)
    tied = tl.zeros((), tl.float32)  # the mass of each of the ties
    for start in range(0, end, BLOCK_PAGES):
        page = start + tl.arange(0, BLOCK_PAGES)
        score, mass = _mass(scores, page, end, top, total)
        candidate = _candidate(page, length, PAGE_SIZE, SINK, WINDOW) & (page < end)
        larger = candidate & (order_key(score) > key)
        tie = candidate & (order_key(score) == key)
        above += _counted(mass, larger)
        num_above += tl.sum(larger.to(tl.int32), 0)
        num_ties += tl.sum(tie.to(tl.int32), 0)
        tied = tl.maximum(tied, tl.max(tl.where(tie, mass, 0.0), 0))
    # Pages with the same score hold the same mass, so how many of them are needed is one division.
    each = tl.maximum((tied * WHOLE_MASS).to(tl.int64), 1)
    needed = tl.minimum(tl.maximum((wanted - above + each - 1) // each, 0), num_ties)
    count = tl.where(taken < wanted, num_above + needed.to(tl.int32), 0).to(tl.float32)  # none where p is NaN
    budget = _number(num_ptr, row, NUM_TENSOR)
    tl.store(out_ptr + row, tl.where(budget == budget, tl.minimum(budget, count), 0.0))


def nucleus(score: torch.Tensor, mass: torch.Tensor | float, num: torch.Tensor | float, pages: Pages) -> torch.Tensor:
    """Return how many candidates `topp` takes: until the mass is reached, and at most `num`; float32 [rows].

    score: float32 [rows, max_pages]. mass, num: numbers, or float32 [rows].
    """
    out = torch.empty(pages.num_rows, dtype=torch.float32, device=score.device)
    _nucleus[(pages.num_rows,)](
        score, score.stride(0), scalar(mass), scalar(num), out, pages.seq_lens, pages.num_kv_heads, pages.max_pages,
        PAGE_SIZE=pages.page_size, SINK=pages.sink, WINDOW=pages.window,
        MASS_TENSOR=isinstance(mass, torch.Tensor), NUM_TENSOR=isinstance(num, torch.Tensor),
        ONE_TILE=pages.one_tile, BLOCK_PAGES=pages.block_pages,
        num_warps=pages.num_warps, num_stages=1, **dependent(score.device),
    )  # fmt: skip
    return out
