# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""The parts of attention put together: one program for each query head, in the order of the parts.

A launch of its own, after the one that attends: programs that wait for one another within a launch would need counters
in memory, which two streams or a launch that was cut off could leave wrong.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from kernels.dependent import begin, dependent
from kernels.selection import BlockLists

BLOCK_VALUE = 128  # channels of a program
BLOCK_PARTS = 16  # parts that are read at a time


@dataclass(frozen=True)
class Scratch:
    """What parts leave, float32: sums [rows, parts, group, value_dim], maxima and weights [rows, parts, group].

    max_tokens: that there is room for, here and in the table of blocks; none behind them is attended to.
    """

    acc: torch.Tensor
    top: torch.Tensor
    weight: torch.Tensor
    max_tokens: int


def make_scratch(rows: int, max_tokens: int, group: int, value_dim: int, part: int, device: torch.device) -> Scratch:
    """Make room for the parts of so many rows of at most so many tokens."""
    lead = (rows, max(triton.cdiv(max_tokens, part), 1), group)
    top, weight = (torch.empty(lead, dtype=torch.float32, device=device) for _ in range(2))
    return Scratch(torch.empty(*lead, value_dim, dtype=torch.float32, device=device), top, weight, max_tokens)


def scratch_bytes(rows: int, max_tokens: int, group: int, value_dim: int, part: int) -> int:
    """Give the bytes of what `make_scratch` makes."""
    return 4 * rows * max(triton.cdiv(max_tokens, part), 1) * group * (value_dim + 2)


@triton.jit
def parts_of(tokens, PART: tl.constexpr, WINDOW: tl.constexpr):
    """Give the first part that holds something of the window, or of everything where that is 0, and the one behind."""
    first = tl.maximum(tokens - WINDOW, 0) // PART if WINDOW > 0 else 0
    return first, (tokens + PART - 1) // PART


@triton.jit
def blocks_at(table_row, place, tokens, PAGE_SIZE: tl.constexpr):
    """Read in which blocks some tokens of a list are; block 0 for those behind its end."""
    return tl.load(table_row + place // PAGE_SIZE, mask=place < tokens, other=0)


@triton.jit
def blocks_ahead(table_row, part, max_tokens, PART: tl.constexpr, TILE: tl.constexpr, WINDOW: tl.constexpr,
                 PAGE_SIZE: tl.constexpr):  # fmt: skip
    """Read the blocks of a part's first tile while the length of its list is awaited; some may be behind its end.

    With a window the parts begin elsewhere, and nothing is read.
    """
    place = part * PART + tl.arange(0, TILE)
    return blocks_at(table_row, place, max_tokens if WINDOW == 0 else 0, PAGE_SIZE)


@triton.jit
def first_blocks(ahead, table_row, part, tokens, PART: tl.constexpr, TILE: tl.constexpr, WINDOW: tl.constexpr,
                 PAGE_SIZE: tl.constexpr):  # fmt: skip
    """Give the blocks of a part's first tile, of what was read ahead where there is no window."""
    place = part * PART + tl.arange(0, TILE)
    blocks = tl.where(place < tokens, ahead, 0)
    if WINDOW > 0:
        blocks = blocks_at(table_row, place, tokens, PAGE_SIZE)
    return blocks


@triton.jit
def leave(acc, top, weight, acc_ptr, max_ptr, sum_ptr, left, value, value_dim, in_group, is_first):
    """Store a part's sums of some heads, [heads, values], and, by the first of a part's programs, what they weigh."""
    mask = in_group[:, None] & (value < value_dim)[None, :]
    tl.store(acc_ptr + left[:, None] * value_dim + value[None, :], acc, mask=mask)
    tl.store(max_ptr + left, top, mask=in_group & is_first)
    tl.store(sum_ptr + left, weight, mask=in_group & is_first)


@triton.jit
def write_out(acc, weight, place, mask, v_scale):
    """Write weighted means, zeros where nothing is attended to. acc: a tile; weight: of its shape, or to be spread.

    A weight that is NaN, as of a key or query that is, gives NaN: zeros would hide what broke it.
    """
    out = tl.where(weight == 0.0, 0.0, acc / tl.where(weight == 0.0, 1.0, weight)) * v_scale
    tl.store(place, out, mask=mask)


@triton.jit(do_not_specialize=["num_parts", "max_tokens"])
def _merge(acc_ptr, max_ptr, sum_ptr, tokens_ptr, out_ptr, out_batch, out_head, out_dim, num_kv_heads, num_parts,
           max_tokens, value_dim, v_scale, PART: tl.constexpr, WINDOW: tl.constexpr, PER_ROW: tl.constexpr,
           BLOCK_PARTS: tl.constexpr, BLOCK_VALUE: tl.constexpr):  # fmt: skip
    """Combine the parts of one query head of a row. Where there is only one, it was written out at once."""
    begin()
    row, head, group = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    sequence = row // num_kv_heads
    tokens = tl.minimum(tl.load(tokens_ptr + (row if PER_ROW else sequence)).to(tl.int32), max_tokens)
    first, end = parts_of(tokens, PART, WINDOW)
    if end - first == 1:
        return
    value = tl.program_id(2) * BLOCK_VALUE + tl.arange(0, BLOCK_VALUE)
    in_value = value < value_dim
    acc = tl.zeros((BLOCK_VALUE,), tl.float32)
    top = tl.full((), float("-inf"), tl.float32)
    weight = tl.zeros((), tl.float32)
    for start in tl.range(first, end, BLOCK_PARTS, num_stages=1):
        part = start + tl.arange(0, BLOCK_PARTS)
        left = (row * num_parts + part) * group + head
        some = tl.load(acc_ptr + left[:, None] * value_dim + value[None, :],
                       mask=(part < end)[:, None] & in_value[None, :], other=0.0)  # fmt: skip
        tops = tl.load(max_ptr + left, mask=part < end, other=float("-inf"))
        weights = tl.load(sum_ptr + left, mask=part < end, other=0.0)
        new_top = tl.maximum(top, tl.max(tops, 0))
        safe_top = tl.where(new_top == float("-inf"), 0.0, new_top)
        shrink, share = tl.exp2(top - safe_top), tl.exp2(tops - safe_top)
        weight = weight * shrink + tl.sum(weights * share, 0)
        acc = acc * shrink + tl.sum(some * share[:, None], 0)
        top = new_top
    place = out_ptr + sequence * out_batch + ((row % num_kv_heads) * group + head) * out_head + value * out_dim
    write_out(acc, weight, place, in_value, v_scale)


def merge(
    scratch: Scratch, tokens: torch.Tensor, out: torch.Tensor, part: int, lists: BlockLists | None, window: int,
    v_scale: float,
) -> None:  # fmt: skip
    """Combine what parts of so many tokens have left, of all rows that have more than one.

    tokens: integers [rows], or [batch] where there are no lists; out: [batch, num_q_heads, value_dim].
    """
    rows, num_parts, group, value_dim = scratch.acc.shape
    block_value = min(triton.next_power_of_2(value_dim), BLOCK_VALUE)
    _merge[(rows, group, triton.cdiv(value_dim, block_value))](
        scratch.acc, scratch.top, scratch.weight, tokens, out, *out.stride(), rows // out.shape[0], num_parts,
        scratch.max_tokens, value_dim, v_scale, PART=part, WINDOW=window, PER_ROW=lists is not None,
        BLOCK_PARTS=BLOCK_PARTS, BLOCK_VALUE=block_value, num_warps=4, num_stages=1,
        enable_fp_fusion=False,  # one sum of weights in all threads
        **dependent(out.device),
    )  # fmt: skip
