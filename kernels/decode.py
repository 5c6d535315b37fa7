# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""Sparse paged decode attention: each KV head of each sequence attends to its own ascending list of pages.

The list is cut into parts of a fixed number of pages, each part is attended to by itself, and the parts are combined
in their order. Where a part begins depends on nothing but the place in the list, so a list that covers every page
gives, bit for bit, what dense attention by the same kernel gives.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

TOKENS_PER_PART = 256
TOKENS_PER_TILE = 64
MAX_BLOCK_DIM = 128
MAX_BLOCK_GROUP = 32
PARTS_PER_TILE = 16
LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class PagedCache:
    """Keys and values in pages of physical blocks, any strides.

    k: [num_blocks, num_kv_heads, page_size, head_dim]; v: [num_blocks, num_kv_heads, page_size, value_dim].
    block_table: [batch, max_pages] integers, the block of each page. seq_lens: [batch] integers.
    """

    k: torch.Tensor
    v: torch.Tensor
    block_table: torch.Tensor
    seq_lens: torch.Tensor


@triton.jit
def _attend_part(q_ptr, k_ptr, v_ptr, list_ptr, count_ptr, block_table_ptr, seq_lens_ptr, acc_ptr, max_ptr, sum_ptr,
                 q_batch, q_head, q_dim, k_block, k_head, k_token, k_dim, v_block, v_head, v_token, v_dim,
                 list_stride, table_stride, num_kv_heads, num_parts, group, head_dim, value_dim, scale,
                 PAGE_SIZE: tl.constexpr, NUM_TILES: tl.constexpr, TILE: tl.constexpr, BLOCK_GROUP: tl.constexpr,
                 NUM_DIM_TILES: tl.constexpr, BLOCK_DIM: tl.constexpr, BLOCK_VALUE: tl.constexpr,
                 NUM_VALUE_TILES: tl.constexpr, OPERAND: tl.constexpr):  # fmt: skip
    """Attend to one part of one row's list: partial sums, their maxima (base 2) and their weights."""
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    head_tile = tl.program_id(2) // NUM_VALUE_TILES
    value_tile = tl.program_id(2) % NUM_VALUE_TILES
    sequence = row // num_kv_heads
    kv_head = row % num_kv_heads
    first = part * NUM_TILES * TILE
    tokens_listed = tl.load(count_ptr + row) * PAGE_SIZE
    if first >= tokens_listed:
        return
    length = tl.load(seq_lens_ptr + sequence)
    head = head_tile * BLOCK_GROUP + tl.arange(0, BLOCK_GROUP)
    value = value_tile * BLOCK_VALUE + tl.arange(0, BLOCK_VALUE)
    q_row = q_ptr + sequence * q_batch + (kv_head * group + head)[:, None] * q_head
    acc = tl.zeros((BLOCK_GROUP, BLOCK_VALUE), tl.float32)
    top = tl.full((BLOCK_GROUP,), float("-inf"), tl.float32)
    weight = tl.zeros((BLOCK_GROUP,), tl.float32)
    for tile in tl.range(0, NUM_TILES, num_stages=1):
        place = first + tile * TILE + tl.arange(0, TILE)
        listed = place < tokens_listed
        page = tl.load(list_ptr + row * list_stride + place // PAGE_SIZE, mask=listed, other=0)
        slot = place % PAGE_SIZE
        valid = listed & (page * PAGE_SIZE + slot < length)
        block = tl.load(block_table_ptr + sequence * table_stride + page, mask=valid, other=0).to(tl.int64)
        k_row = k_ptr + block * k_block + kv_head * k_head + slot * k_token
        v_row = v_ptr + block * v_block + kv_head * v_head + slot * v_token
        logit = tl.zeros((BLOCK_GROUP, TILE), tl.float32)
        for dim_tile in tl.static_range(NUM_DIM_TILES):
            dim = dim_tile * BLOCK_DIM + tl.arange(0, BLOCK_DIM)
            in_dim = dim < head_dim
            q = tl.load(q_row + dim[None, :] * q_dim, mask=(head < group)[:, None] & in_dim[None, :], other=0.0)
            k = tl.load(k_row[None, :] + dim[:, None] * k_dim, mask=valid[None, :] & in_dim[:, None], other=0.0)
            logit += tl.dot(q.to(OPERAND), k.to(OPERAND), input_precision="ieee")
        logit = tl.where(valid[None, :], logit * scale, float("-inf"))
        new_top = tl.maximum(top, tl.max(logit, 1))
        safe_top = tl.where(new_top == float("-inf"), 0.0, new_top)
        shrink = tl.exp2(top - safe_top)
        p = tl.exp2(logit - safe_top[:, None])
        v = tl.load(
            v_row[:, None] + value[None, :] * v_dim, mask=valid[:, None] & (value < value_dim)[None, :], other=0.0
        )
        weight = weight * shrink + tl.sum(p, 1)
        acc = acc * shrink[:, None] + tl.dot(p.to(OPERAND), v.to(OPERAND), input_precision="ieee")
        top = new_top
    place = (row * num_parts + part) * group + head
    tl.store(acc_ptr + place[:, None] * value_dim + value[None, :], acc,
             mask=(head < group)[:, None] & (value < value_dim)[None, :])  # fmt: skip
    tl.store(max_ptr + place, top, mask=(head < group) & (value_tile == 0))
    tl.store(sum_ptr + place, weight, mask=(head < group) & (value_tile == 0))


@triton.jit
def _combine(acc_ptr, max_ptr, sum_ptr, count_ptr, out_ptr, out_batch, out_head, out_dim,
             num_kv_heads, num_parts, group, value_dim,
             PAGE_SIZE: tl.constexpr, PART: tl.constexpr, PARTS: tl.constexpr, BLOCK_VALUE: tl.constexpr):  # fmt: skip
    """Combine one query head's parts in their order; no part at all gives zeros."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    value = tl.program_id(2) * BLOCK_VALUE + tl.arange(0, BLOCK_VALUE)
    used = (tl.load(count_ptr + row) * PAGE_SIZE + PART - 1) // PART
    base = row * num_parts * group + head
    top = tl.full((), float("-inf"), tl.float32)
    for start in tl.range(0, used, PARTS, num_stages=1):
        part = start + tl.arange(0, PARTS)
        top = tl.maximum(top, tl.max(tl.load(max_ptr + base + part * group, mask=part < used, other=float("-inf")), 0))
    top = tl.where(top == float("-inf"), 0.0, top)
    acc = tl.zeros((BLOCK_VALUE,), tl.float32)
    weight = tl.zeros((), tl.float32)
    for start in tl.range(0, used, PARTS, num_stages=1):
        part = start + tl.arange(0, PARTS)
        place = base + part * group
        shrink = tl.exp2(tl.load(max_ptr + place, mask=part < used, other=float("-inf")) - top)
        partial = tl.load(acc_ptr + place[:, None] * value_dim + value[None, :],
                          mask=(part < used)[:, None] & (value < value_dim)[None, :], other=0.0)  # fmt: skip
        acc += tl.sum(partial * shrink[:, None], 0)
        weight += tl.sum(tl.load(sum_ptr + place, mask=part < used, other=0.0) * shrink, 0)
    out = acc / tl.where(weight == 0.0, 1.0, weight)
    place = (row // num_kv_heads) * out_batch + ((row % num_kv_heads) * group + head) * out_head
    tl.store(out_ptr + place + value * out_dim, out.to(out_ptr.dtype.element_ty), mask=value < value_dim)


def _operand(stored: torch.Tensor) -> tl.dtype:
    """Type of the operands of a product: as stored, but float32 in the interpreter, which multiplies no bfloat16."""
    kinds = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
    return kinds.get(stored.dtype, tl.float32) if stored.is_cuda else tl.float32


def _block(size: int, least: int, most: int) -> int:
    return min(max(triton.next_power_of_2(size), least), most)


def sparse_decode(
    q: torch.Tensor, cache: PagedCache, pages: torch.Tensor, count: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attend from each query head to the listed pages of its KV head; sums in float32.

    q: [batch, num_q_heads, head_dim], float32, float16 or bfloat16 like the cache. pages: int32 [rows, max_pages],
    ascending, the first count[row] of them used; count: int32 [rows]. -> [batch, num_q_heads, value_dim], as q.
    """
    batch, num_q_heads, head_dim = q.shape
    num_kv_heads, page_size, value_dim = cache.v.shape[1], cache.v.shape[2], cache.v.shape[3]
    group = num_q_heads // num_kv_heads
    rows = batch * num_kv_heads
    part = max(TOKENS_PER_PART, page_size)
    num_parts = max(triton.cdiv(pages.shape[1] * page_size, part), 1)
    acc = torch.empty(rows, num_parts, group, value_dim, dtype=torch.float32, device=q.device)
    top = torch.empty(rows, num_parts, group, dtype=torch.float32, device=q.device)
    weight = torch.empty_like(top)
    out = torch.empty(batch, num_q_heads, value_dim, dtype=q.dtype, device=q.device)
    block_group = _block(group, 16, MAX_BLOCK_GROUP)
    block_dim = _block(head_dim, 16, MAX_BLOCK_DIM)
    block_value = _block(value_dim, 16, MAX_BLOCK_DIM)
    value_tiles = triton.cdiv(value_dim, block_value)
    _attend_part[(rows, num_parts, triton.cdiv(group, block_group) * value_tiles)](
        q, cache.k, cache.v, pages, count, cache.block_table, cache.seq_lens, acc, top, weight,
        *q.stride(), *cache.k.stride(), *cache.v.stride(), pages.stride(0), cache.block_table.stride(0),
        num_kv_heads, num_parts, group, head_dim, value_dim, scale * LOG2_E,
        PAGE_SIZE=page_size, NUM_TILES=part // TOKENS_PER_TILE, TILE=TOKENS_PER_TILE, BLOCK_GROUP=block_group,
        NUM_DIM_TILES=triton.cdiv(head_dim, block_dim), BLOCK_DIM=block_dim, BLOCK_VALUE=block_value,
        NUM_VALUE_TILES=value_tiles, OPERAND=_operand(cache.k),
    )  # fmt: skip
    _combine[(rows, group, value_tiles)](
        acc, top, weight, count, out, *out.stride(), num_kv_heads, num_parts, group, value_dim,
        PAGE_SIZE=page_size, PART=part, PARTS=PARTS_PER_TILE, BLOCK_VALUE=block_value, num_stages=1,
    )  # fmt: skip
    return out
