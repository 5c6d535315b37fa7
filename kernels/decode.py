# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""Sparse paged decode attention: each KV head of each sequence attends to its own list of blocks.

The tokens behind a list are cut into parts of a fixed number, each part is attended to by itself, and the program that
finishes last combines them in their order, in the same launch. Where a part begins depends on nothing but the place in
the list, so a list that covers every page gives, bit for bit, what dense attention by the same kernel gives. How many
programs share the parts, and which of them is last, is another matter, and changes no result.
"""

from dataclasses import dataclass, replace

import torch
import triton
import triton.language as tl

from kernels.arithmetic import tanh
from kernels.arrivals import counters, is_last
from kernels.selection import BlockLists
from kernels.tuning import num_processors, tiling_of

MAX_BLOCK_DIM = 128
MAX_BLOCK_GROUP = 32
PARTS_PER_TILE = 16  # at most, of what is combined at a time
COMBINED_ELEMENTS = 4096
PROGRAMS_PER_PROCESSOR = 32
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


@dataclass(frozen=True)
class Softmax:
    """How tokens are weighed: scale · q·k, then cap · tanh(x / cap) where a cap is set; of every page, only a window.

    `window`: a query sees so many tokens, itself included; all where it is 0. It does not narrow lists.
    """

    scale: float
    cap: float = 0.0
    window: int = 0


@dataclass(frozen=True)
class Scratch:
    """What parts leave, float32: [rows, parts, group, value_dim], twice [rows, parts, value tiles, group]."""

    acc: torch.Tensor
    top: torch.Tensor
    weight: torch.Tensor


@triton.jit
def _attend(q_ptr, k_ptr, v_ptr, table_ptr, tokens_ptr, out_ptr, acc_ptr, max_ptr, sum_ptr, counters_ptr, tally_ptr,
            q_batch, q_head, q_dim, k_block, k_head, k_token, k_dim, v_block, v_head, v_token, v_dim,
            out_batch, out_head, out_dim,
            table_stride, num_kv_heads, num_parts, group, head_dim, value_dim, scale, cap, v_scale,
            WINDOW: tl.constexpr, HAS_CAP: tl.constexpr, PER_ROW: tl.constexpr, PAGE_SIZE: tl.constexpr,
            NUM_TILES: tl.constexpr, TILE: tl.constexpr, BLOCK_GROUP: tl.constexpr, NUM_DIM_TILES: tl.constexpr,
            BLOCK_DIM: tl.constexpr, BLOCK_VALUE: tl.constexpr, NUM_VALUE_TILES: tl.constexpr, OPERAND: tl.constexpr,
            STAGES: tl.constexpr, HEADS: tl.constexpr, PARTS: tl.constexpr):  # fmt: skip
    """Attend to some parts of one row's list: partial sums, their maxima (base 2) and their weights.

    The only part is written out at once, several by whoever finishes last, none by the first program as zeros.
    """
    row = tl.program_id(0).to(tl.int64)
    head_tile = tl.program_id(2) // NUM_VALUE_TILES
    value_tile = tl.program_id(2) % NUM_VALUE_TILES
    sequence = row // num_kv_heads
    kv_head = row % num_kv_heads
    listed = row if PER_ROW else sequence
    tokens = tl.load(tokens_ptr + listed).to(tl.int32)
    num_used = (tokens + NUM_TILES * TILE - 1) // (NUM_TILES * TILE)
    first_part = tl.maximum(tokens - WINDOW, 0) // (NUM_TILES * TILE) if WINDOW > 0 else 0
    held = num_used - first_part
    if tl.program_id(1) >= tl.maximum(held, 1):
        return
    head = head_tile * BLOCK_GROUP + tl.arange(0, BLOCK_GROUP)
    value = value_tile * BLOCK_VALUE + tl.arange(0, BLOCK_VALUE)
    q_row = q_ptr + sequence * q_batch + (kv_head * group + head)[:, None] * q_head
    in_group = (head < group)[:, None]
    if NUM_DIM_TILES == 1:
        dim = tl.arange(0, BLOCK_DIM)
        in_dim = dim < head_dim
        q = tl.load(q_row + dim[None, :] * q_dim, mask=in_group & in_dim[None, :], other=0.0).to(OPERAND)
    for part in tl.range(first_part + tl.program_id(1), num_used, tl.num_programs(1), num_stages=1):
        acc = tl.zeros((BLOCK_GROUP, BLOCK_VALUE), tl.float32)
        top = tl.full((BLOCK_GROUP,), float("-inf"), tl.float32)
        weight = tl.zeros((BLOCK_GROUP,), tl.float32)
        for tile in tl.range(0, NUM_TILES, num_stages=STAGES):
            place = (part * NUM_TILES + tile) * TILE + tl.arange(0, TILE)
            valid = place < tokens
            if WINDOW > 0:
                valid = valid & (place >= tokens - WINDOW)
            slot = place % PAGE_SIZE
            block = tl.load(table_ptr + listed * table_stride + place // PAGE_SIZE, mask=valid, other=0).to(tl.int64)
            k_row = k_ptr + block * k_block + kv_head * k_head + slot * k_token
            v_row = v_ptr + block * v_block + kv_head * v_head + slot * v_token
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
            v = tl.load(v_row[:, None] + value[None, :] * v_dim, mask=valid[:, None] & (value < value_dim)[None, :],
                        other=0.0)  # fmt: skip
            weight = weight * shrink + tl.sum(p, 1)
            acc = acc * shrink[:, None] + tl.dot(p.to(OPERAND), v.to(OPERAND), input_precision="ieee")
            top = new_top
        if held == 1:
            _write_out(acc, weight, out_ptr + sequence * out_batch, kv_head * group, head, out_head, value, out_dim,
                       group, value_dim, v_scale)  # fmt: skip
        else:
            left = row * num_parts + part
            tl.store(acc_ptr + (left * group + head)[:, None] * value_dim + value[None, :], acc,
                     mask=in_group & (value < value_dim)[None, :])  # fmt: skip
            left = (left * NUM_VALUE_TILES + value_tile) * group + head
            tl.store(max_ptr + left, top, mask=head < group)
            tl.store(sum_ptr + left, weight, mask=head < group)
    if held != 1:
        counter = counters_ptr + row * tl.num_programs(2) + tl.program_id(2)
        if is_last(counter, tl.minimum(held, tl.num_programs(1))):
            some = head_tile * BLOCK_GROUP + tl.arange(0, HEADS)
            acc, weight = _combined(acc_ptr, max_ptr, sum_ptr, row, first_part, num_used, num_parts, some, group,
                                    value_tile, value, value_dim, NUM_VALUE_TILES, HEADS, PARTS,
                                    BLOCK_VALUE)  # fmt: skip
            _write_out(acc, weight, out_ptr + sequence * out_batch, kv_head * group, some, out_head, value, out_dim,
                       group, value_dim, v_scale)  # fmt: skip
    if tally_ptr is not None:
        counted = (tokens > 0) & (tl.program_id(1) == 0) & (tl.program_id(2) == 0)
        place = tally_ptr + row * 6 + 4
        tl.store(place, tl.load(place) + 1, mask=counted)


@triton.jit
def _combined(acc_ptr, max_ptr, sum_ptr, row, first_part, num_used, num_parts, head, group, value_tile, value,
              value_dim, NUM_VALUE_TILES: tl.constexpr, HEADS: tl.constexpr, PARTS: tl.constexpr,
              BLOCK_VALUE: tl.constexpr):  # fmt: skip
    """Combine some query heads' parts in their order: sums [HEADS, BLOCK_VALUE] and weights [HEADS]."""
    in_group = (head < group)[None, :]
    top = tl.full((HEADS,), float("-inf"), tl.float32)
    for start in tl.range(first_part, num_used, PARTS, num_stages=1):
        part = start + tl.arange(0, PARTS)[:, None]
        left = ((row * num_parts + part) * NUM_VALUE_TILES + value_tile) * group + head[None, :]
        some = tl.load(max_ptr + left, mask=(part < num_used) & in_group, other=float("-inf"))
        top = tl.maximum(top, tl.max(some, 0))
    top = tl.where(top == float("-inf"), 0.0, top)
    acc = tl.zeros((HEADS, BLOCK_VALUE), tl.float32)
    weight = tl.zeros((HEADS,), tl.float32)
    for start in tl.range(first_part, num_used, PARTS, num_stages=1):
        part = start + tl.arange(0, PARTS)[:, None]
        here = (part < num_used) & in_group
        left = ((row * num_parts + part) * NUM_VALUE_TILES + value_tile) * group + head[None, :]
        share = tl.exp2(tl.load(max_ptr + left, mask=here, other=float("-inf")) - top[None, :])
        weight += tl.sum(tl.load(sum_ptr + left, mask=here, other=0.0) * share, 0)
        place = (row * num_parts + part) * group + head[None, :]
        some = tl.load(acc_ptr + place[:, :, None] * value_dim + value[None, None, :],
                       mask=here[:, :, None] & (value < value_dim)[None, None, :], other=0.0)  # fmt: skip
        acc += tl.sum(some * share[:, :, None], 0)
    return acc, weight


@triton.jit
def _write_out(acc, weight, out_ptr, first_head, head, out_head, value, out_dim, group, value_dim, v_scale):
    """Write the weighted means of some query heads of a group; zeros where nothing is attended to."""
    weight = weight[:, None]
    out = tl.where(weight > 0.0, acc / tl.where(weight > 0.0, weight, 1.0), 0.0) * v_scale
    place = out_ptr + (first_head + head)[:, None] * out_head + value[None, :] * out_dim
    tl.store(place, out, mask=(head < group)[:, None] & (value < value_dim)[None, :])


def _operand(cache: torch.Tensor, q: torch.Tensor) -> tl.dtype:
    """Type of the operands of a product: as stored, but float32 in the interpreter, which multiplies no bfloat16."""
    kinds = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
    stored = q.dtype if cache.itemsize == 1 else cache.dtype
    return kinds.get(stored, tl.float32) if cache.is_cuda else tl.float32


def _block(size: int, least: int, most: int) -> int:
    return min(max(triton.next_power_of_2(size), least), most)


def _value_tiles(value_dim: int) -> int:
    return triton.cdiv(value_dim, _block(value_dim, 16, MAX_BLOCK_DIM))


def make_scratch(rows: int, max_tokens: int, group: int, value_dim: int, part: int, device: torch.device) -> Scratch:
    """Make room for the parts of so many rows of at most so many tokens."""
    num_parts = max(triton.cdiv(max_tokens, part), 1)
    acc = torch.empty(rows, num_parts, group, value_dim, dtype=torch.float32, device=device)
    shape = (rows, num_parts, _value_tiles(value_dim), group)
    top, weight = (torch.empty(shape, dtype=torch.float32, device=device) for _ in range(2))
    return Scratch(acc, top, weight)


def scratch_bytes(rows: int, max_tokens: int, group: int, value_dim: int, part: int) -> int:
    """Give the bytes of what `make_scratch` makes."""
    return 4 * rows * max(triton.cdiv(max_tokens, part), 1) * group * (value_dim + 2 * _value_tiles(value_dim))


def sparse_decode(
    q: torch.Tensor,
    cache: PagedCache,
    lists: BlockLists | None,
    softmax: Softmax,
    out: torch.Tensor | None = None,
    tally: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend from each query head to what is listed for its KV head, or to everything, in one launch.

    Sums are in float32. q: [batch, num_q_heads, head_dim], float32, float16 or bfloat16, like a cache that is not in
    float8. out: [batch, num_q_heads, value_dim], as q. tally: counts dense steps, see `kernels.selection.Listing`.
    """
    softmax = softmax if lists is None else replace(softmax, window=0)
    (batch, num_q_heads, head_dim), (num_kv_heads, page_size, value_dim) = q.shape, cache.v.shape[1:]
    group, rows = num_q_heads // num_kv_heads, batch * num_kv_heads
    table = cache.block_table if lists is None else lists.blocks
    tiling = tiling_of(cache.k, q, group)
    scratch = make_scratch(rows, table.shape[1] * page_size, group, value_dim, tiling.part, q.device)
    out = torch.empty(batch, num_q_heads, value_dim, dtype=q.dtype, device=q.device) if out is None else out
    block_group, block_dim = _block(group, 16, MAX_BLOCK_GROUP), _block(head_dim, 16, MAX_BLOCK_DIM)
    block_value, heads = _block(value_dim, 16, MAX_BLOCK_DIM), _block(group, 1, MAX_BLOCK_GROUP)
    tiles = triton.cdiv(group, block_group) * _value_tiles(value_dim)
    scale = softmax.scale * cache.k_scale / softmax.cap if softmax.cap else softmax.scale * cache.k_scale * LOG2_E
    _attend[(rows, _programs(rows, scratch.acc.shape[1], q.device), tiles)](
        q, cache.k, cache.v, table, cache.seq_lens if lists is None else lists.tokens,
        out, scratch.acc, scratch.top, scratch.weight, counters(rows * tiles, q.device), tally,
        *q.stride(), *cache.k.stride(), *cache.v.stride(), *out.stride(), table.stride(0),
        num_kv_heads, scratch.acc.shape[1], group, head_dim, value_dim, scale, softmax.cap * LOG2_E,
        float(cache.v_scale),
        WINDOW=softmax.window, HAS_CAP=softmax.cap > 0.0, PER_ROW=lists is not None, PAGE_SIZE=page_size,
        NUM_TILES=tiling.tiles, TILE=tiling.tile,
        BLOCK_GROUP=block_group, NUM_DIM_TILES=triton.cdiv(head_dim, block_dim), BLOCK_DIM=block_dim,
        BLOCK_VALUE=block_value, NUM_VALUE_TILES=_value_tiles(value_dim), OPERAND=_operand(cache.k, q),
        STAGES=tiling.stages, HEADS=heads, PARTS=_block(COMBINED_ELEMENTS // (heads * block_value), 1, PARTS_PER_TILE),
        num_warps=tiling.warps,
    )  # fmt: skip
    return out


def _programs(rows: int, num_parts: int, device: torch.device) -> int:
    """Give the programs of a row: one per part, or fewer that take turns where most parts may not be there at all."""
    enough = triton.cdiv(PROGRAMS_PER_PROCESSOR * num_processors(device), max(rows, 1))
    return min(num_parts, enough)
