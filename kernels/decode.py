# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""Sparse paged decode attention: each KV head of each sequence attends to its own list of blocks.

The tokens behind a list are cut into parts of a fixed number, each part is attended to by itself, and who leaves the
last of a row, or a second launch (`kernels.merging`), combines them in their order. Where a part
begins depends on nothing but the place in the list, so a list that covers every page gives, bit for bit, what dense
attention by the same kernel gives. How many programs share the parts is another matter, and changes no result.
"""

from dataclasses import dataclass, replace

import torch
import triton
import triton.language as tl

from kernels.arithmetic import tanh
from kernels.dependent import begin, dependent
from kernels.merging import (
    Scratch,
    at_once,
    blocks_ahead,
    blocks_at,
    first_blocks,
    leave,
    make_scratch,
    merge,
    merge_if_last,
    parts_of,
    scratch_bytes,
    write_out,
)
from kernels.selection import BlockLists
from kernels.tuning import num_processors, tiling_of

MAX_BLOCK_DIM = 128
MAX_BLOCK_GROUP = 32
MOST_MERGED = 1024  # sums of a part that one program puts together for all heads of its row; more are left to a launch
PROGRAMS_PER_PROCESSOR = 32
SPARE_PER_PROCESSOR = 2  # beside those of the budget, for rows that attend to everything
MOST_PROGRAMS = 65535  # on the second axis of a grid
LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class PagedCache:
    """Keys and values in pages of physical blocks, any strides; in float8 they stand for numbers times a scale.

    k: [num_blocks, num_kv_heads, page_size, head_dim]; v: [num_blocks, num_kv_heads, page_size, value_dim].
    block_table: [batch, max_pages] integers, the block of each page. seq_lens: [batch] integers.
    """

    k: torch.Tensor
    v: torch.Tensor
    block_table: torch.Tensor
    seq_lens: torch.Tensor
    k_scale: float = 1.0
    v_scale: float = 1.0

    def of(self, some: slice) -> "PagedCache":
        """Give the pages of some sequences."""
        return replace(self, block_table=self.block_table[some], seq_lens=self.seq_lens[some])


@dataclass(frozen=True)
class Softmax:
    """How tokens are weighed: scale · q·k, then cap · tanh(x / cap) where a cap is set; of every page, only a window.

    `window`: a query sees so many tokens, itself included; all where it is 0. It does not narrow lists.
    """

    scale: float
    cap: float = 0.0
    window: int = 0


@triton.jit(do_not_specialize=["num_parts", "max_tokens"])
def _attend(q_ptr, k_ptr, v_ptr, table_ptr, tokens_ptr, out_ptr, acc_ptr, max_ptr, sum_ptr, tally_ptr, arrived_ptr,
            q_batch, q_head, q_dim, k_block, k_head, k_token, k_dim, v_block, v_head, v_token, v_dim,
            out_batch, out_head, out_dim,
            table_stride, max_tokens, num_kv_heads, num_parts, group, head_dim, value_dim, scale, cap, v_scale,
            WINDOW: tl.constexpr, HAS_CAP: tl.constexpr, PER_ROW: tl.constexpr, PAGE_SIZE: tl.constexpr,
            NUM_TILES: tl.constexpr, TILE: tl.constexpr, BLOCK_GROUP: tl.constexpr, NUM_DIM_TILES: tl.constexpr,
            BLOCK_DIM: tl.constexpr, BLOCK_VALUE: tl.constexpr, NUM_VALUE_TILES: tl.constexpr, OPERAND: tl.constexpr,
            STAGES: tl.constexpr, EVEN: tl.constexpr):  # fmt: skip
    """Attend to some parts of one row's list: partial sums, their maxima (base 2) and their weights.

    The only part is written out at once; several are combined by the last of the row's programs, or, where these are
    not counted, by `kernels.merging.merge`.
    """
    begin()
    row, sequence = tl.program_id(0).to(tl.int64), (tl.program_id(0) // num_kv_heads).to(tl.int64)
    head_tile = tl.program_id(2) // NUM_VALUE_TILES
    value_tile = tl.program_id(2) % NUM_VALUE_TILES
    kv_head = (tl.program_id(0) % num_kv_heads).to(tl.int64)
    listed = row if PER_ROW else sequence
    table_row = table_ptr + listed * table_stride
    place = tl.program_id(1) * NUM_TILES * TILE + tl.arange(0, TILE)
    ahead = blocks_ahead(table_row, place, max_tokens, WINDOW, PAGE_SIZE)
    tokens = tl.minimum(tl.load(tokens_ptr + listed).to(tl.int32), max_tokens)  # that the table has blocks for
    first_part, end_part = parts_of(tokens, NUM_TILES * TILE, WINDOW)
    # An empty part of no tokens: a branch around the loop would lead to the count, and reads behind it wait in turn.
    end_part = tl.maximum(end_part, first_part + 1)
    if tl.program_id(1) >= end_part - first_part:
        return
    tl.assume(first_part + tl.program_id(1) < end_part)
    block = first_blocks(ahead, table_row, first_part * NUM_TILES * TILE + place, tokens, WINDOW, PAGE_SIZE)
    head = head_tile * BLOCK_GROUP + tl.arange(0, BLOCK_GROUP)
    value = value_tile * BLOCK_VALUE + tl.arange(0, BLOCK_VALUE)
    q_row = q_ptr + sequence * q_batch + (kv_head * group + head)[:, None] * q_head
    in_group = (head < group)[:, None]
    if NUM_DIM_TILES == 1:
        dim = tl.arange(0, BLOCK_DIM)
        in_dim = dim < head_dim
        q = tl.load(q_row + dim[None, :] * q_dim, mask=in_group & in_dim[None, :], other=0.0).to(OPERAND)
    for part in tl.range(first_part + tl.program_id(1), end_part, tl.num_programs(1), num_stages=1):
        acc = tl.zeros((BLOCK_GROUP, BLOCK_VALUE), tl.float32)
        top = tl.full((BLOCK_GROUP,), float("-inf"), tl.float32)
        weights = tl.zeros((BLOCK_GROUP, TILE), tl.float32)  # by token of a tile: warps wait for their sum only once
        place = part * NUM_TILES * TILE + tl.arange(0, TILE)
        for _ in tl.range(0, NUM_TILES, num_stages=STAGES):
            following = blocks_at(table_row, place + TILE, tokens, PAGE_SIZE)  # known before it is waited for
            valid = place < tokens
            if WINDOW > 0:
                valid = valid & (place >= tokens - WINDOW)
            slot = place % PAGE_SIZE
            k_row = k_ptr + block.to(tl.int64) * k_block + kv_head * k_head + slot * k_token
            v_row = v_ptr + block.to(tl.int64) * v_block + kv_head * v_head + slot * v_token
            some_values = valid[:, None] & (value < value_dim)[None, :]
            v = tl.load(v_row[:, None] + value[None, :] * v_dim, mask=some_values, other=0.0)  # beside the keys
            if NUM_DIM_TILES == 1:
                k = tl.load(k_row[None, :] + dim[:, None] * k_dim, mask=valid[None, :] & in_dim[:, None], other=0.0)
                logit = tl.dot(q, k.to(OPERAND), input_precision="ieee")
            else:
                logit = tl.zeros((BLOCK_GROUP, TILE), tl.float32)
                for dim_tile in tl.static_range(NUM_DIM_TILES):
                    some = dim_tile * BLOCK_DIM + tl.arange(0, BLOCK_DIM)
                    inside = some < head_dim
                    q = tl.load(q_row + some[None, :] * q_dim, mask=in_group & inside[None, :], other=0.0)
                    k = tl.load(k_row[None, :] + some[:, None] * k_dim, mask=valid[None, :] & inside[:, None],
                                other=0.0)  # fmt: skip
                    logit += tl.dot(q.to(OPERAND), k.to(OPERAND), input_precision="ieee")
            logit = tanh(logit * scale) * cap if HAS_CAP else logit * scale
            logit = tl.where(valid[None, :], logit, float("-inf"))
            new_top = tl.maximum(top, tl.max(logit, 1))
            safe_top = tl.where(new_top == float("-inf"), 0.0, new_top)
            shrink = tl.exp2(top - safe_top)
            p = tl.exp2(logit - safe_top[:, None])
            weights = weights * shrink[:, None] + p
            acc = acc * shrink[:, None] + tl.dot(p.to(OPERAND), v.to(OPERAND), input_precision="ieee")
            top, block, place = new_top, following, place + TILE
        weight = tl.sum(weights, 1)
        if end_part - first_part == 1:
            target = out_ptr + sequence * out_batch + (kv_head * group + head)[:, None] * out_head
            write_out(acc, weight[:, None], target + value[None, :] * out_dim,
                      in_group & (value < value_dim)[None, :], v_scale)  # fmt: skip
        else:
            leave(acc, top, weight, acc_ptr, max_ptr, sum_ptr, (row * num_parts + part) * group + head, value,
                  value_dim, head < group, value_tile == 0)  # fmt: skip
        place = (part + tl.num_programs(1)) * NUM_TILES * TILE + tl.arange(0, TILE)
        block = blocks_at(table_row, place, tokens, PAGE_SIZE)
    if arrived_ptr is not None:
        out_row = out_ptr + sequence * out_batch + kv_head * group * out_head
        merge_if_last(arrived_ptr + row, acc_ptr, max_ptr, sum_ptr, row, num_parts, first_part, end_part, group,
                      value_dim, out_row, out_head, out_dim, v_scale, EVEN, BLOCK_VALUE)  # fmt: skip
    if tally_ptr is not None:
        counted = (tokens > 0) & (tl.program_id(1) == 0) & (tl.program_id(2) == 0)
        counter = tally_ptr + row * 6 + 4
        tl.store(counter, tl.load(counter) + 1, mask=counted)


def _operand(cache: torch.Tensor, q: torch.Tensor) -> tl.dtype:
    """Type of the operands of a product: as stored, but float32 in the interpreter, which multiplies no bfloat16."""
    kinds = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
    stored = q.dtype if cache.itemsize == 1 else cache.dtype
    return kinds.get(stored, tl.float32) if cache.is_cuda else tl.float32


def _block(size: int, least: int, most: int) -> int:
    return min(max(triton.next_power_of_2(size), least), most)


def check_rows(lists: BlockLists | None, rows: int) -> None:
    """Raise ValueError where lists are of fewer rows: programs would count in memory that is not theirs."""
    given = [] if lists is None else [x.shape[0] for x in (lists.blocks, lists.tokens, lists.arrived) if x is not None]
    if any(num < rows for num in given):
        message = (
            f"a batch of {rows} rows, one per sequence and KV head, attends to lists of {' and '.join(map(str, given))}"
            " (blocks, tokens, counters); list pages for the batch that attends"
        )
        raise ValueError(message)


def sparse_decode(
    q: torch.Tensor,
    cache: PagedCache,
    lists: BlockLists | None,
    softmax: Softmax,
    out: torch.Tensor | None = None,
    tally: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend from each query head to what is listed for its KV head, or to everything.

    Sums are in float32. q: [batch, num_q_heads, head_dim], float32, float16 or bfloat16, like a cache that is not in
    float8. out: [batch, num_q_heads, value_dim], as q. tally: counts dense steps, see `kernels.selection.Listing`.
    Raises ValueError for lists of fewer rows.
    """
    softmax = softmax if lists is None else replace(softmax, window=0)
    (batch, num_q_heads, head_dim), (num_kv_heads, page_size, value_dim) = q.shape, cache.v.shape[1:]
    group, rows = num_q_heads // num_kv_heads, batch * num_kv_heads
    check_rows(lists, rows)
    table = cache.block_table if lists is None else lists.blocks
    tiling = tiling_of(cache.k, q, group)
    out = torch.empty(batch, num_q_heads, value_dim, dtype=q.dtype, device=q.device) if out is None else out
    if not batch:
        return out
    most = at_once(batch, scratch_bytes(num_kv_heads, table.shape[1] * page_size, group, value_dim, tiling.part))
    if most < batch:
        for some in (slice(first, first + most) for first in range(0, batch, most)):
            own = slice(some.start * num_kv_heads, some.stop * num_kv_heads)
            counted, listed = None if tally is None else tally[own], None if lists is None else lists.of(own)
            sparse_decode(q[some], cache.of(some), listed, softmax, out[some], counted)
        return out
    scratch = make_scratch(rows, table.shape[1] * page_size, group, value_dim, tiling.part, q.device)
    block_group, block_dim = _block(group, 16, MAX_BLOCK_GROUP), _block(head_dim, 16, MAX_BLOCK_DIM)
    block_value = _block(value_dim, 16, MAX_BLOCK_DIM)
    value_tiles, v_scale = triton.cdiv(value_dim, block_value), float(cache.v_scale)
    tokens = cache.seq_lens if lists is None else lists.tokens
    scale = softmax.scale * cache.k_scale / softmax.cap if softmax.cap else softmax.scale * cache.k_scale * LOG2_E
    programs = num_programs(scratch, lists, page_size, tiling.part)
    merges = lists is not None and cache.v.itemsize > 1 and group * value_dim <= MOST_MERGED
    arrived = lists.arrived if lists is not None and merges else None
    _attend[(rows, programs, triton.cdiv(group, block_group) * value_tiles)](
        q, cache.k, cache.v, table, tokens, out, scratch.acc, scratch.top, scratch.weight, tally, arrived,
        *q.stride(), *cache.k.stride(), *cache.v.stride(), *out.stride(), table.stride(0), scratch.max_tokens,
        num_kv_heads, scratch.acc.shape[1], group, head_dim, value_dim, scale, softmax.cap * LOG2_E, v_scale,
        WINDOW=softmax.window, HAS_CAP=softmax.cap > 0.0, PER_ROW=lists is not None, PAGE_SIZE=page_size,
        NUM_TILES=tiling.tiles, TILE=tiling.tile,
        BLOCK_GROUP=block_group, NUM_DIM_TILES=triton.cdiv(head_dim, block_dim), BLOCK_DIM=block_dim,
        BLOCK_VALUE=block_value, NUM_VALUE_TILES=value_tiles, OPERAND=_operand(cache.k, q),
        STAGES=tiling.stages, EVEN=value_dim % block_value == 0, num_warps=tiling.warps, **dependent(q.device),
    )  # fmt: skip
    if arrived is None:
        merge(scratch, tokens, out, tiling.part, lists, softmax.window, v_scale)
    return out


def num_programs(scratch: Scratch, lists: BlockLists | None, page_size: int, part: int) -> int:
    """Give the programs of a row: one for each part that its budget fills; rows that have more parts take turns.

    So none is launched for nothing, yet enough to fill the device where all pages are attended to.
    """
    rows, num_parts = scratch.acc.shape[:2]
    per_processor, filled = PROGRAMS_PER_PROCESSOR, 0
    if lists is not None and lists.expected is not None:
        per_processor, filled = SPARE_PER_PROCESSOR, triton.cdiv(lists.expected * page_size, part)
    enough = triton.cdiv(per_processor * num_processors(scratch.acc.device), max(rows, 1))
    return min(num_parts, max(filled, enough), MOST_PROGRAMS)
