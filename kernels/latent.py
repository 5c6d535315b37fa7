# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""Sparse paged decode over latents (DeepSeek-V2, arXiv:2405.04434): all query heads of a sequence share one list.

A token's latent is its key, and the first channels of the latent are its value; the others are rotated. So a tile of
latents is read from memory once and serves both products. Parts are cut and combined as in `kernels.decode`: a list
that covers every page gives, bit for bit, what dense attention by the same kernel gives.
"""

import torch
import triton
import triton.language as tl

from kernels.decode import LOG2_E, PagedCache, Softmax, _block, _operand, check_rows, num_programs
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
    parts_of,
    scratch_bytes,
    write_out,
)
from kernels.selection import BlockLists
from kernels.tuning import Tiling, shared_bytes, tiling_of

MAX_VALUE_DIM = 512  # sums of a tile of heads stay in registers
MAX_BLOCK_HEADS = 32  # with 64, sums of 512 channels spill out of registers on sm_90
# Chosen by the machine code, measured on no card: a part of 512 + 64 channels takes 15.0 thousand cycles where it is
# asked for at once, in 184 KiB, and 17.6 in 74 KiB, which any card has. Neither spills; 16 warps would, and take 11.9.
UNMEASURED, SMALL = Tiling(tile=64, tiles=2, stages=3, warps=8), Tiling(tile=32, tiles=4, stages=2, warps=8)
ASIDE_BYTES = 4096  # of shared memory, beside queries and latents


@triton.jit(do_not_specialize=["num_parts", "max_tokens"])
def _attend_latents(q_ptr, cache_ptr, table_ptr, tokens_ptr, out_ptr, acc_ptr, max_ptr, sum_ptr, tally_ptr,
                    q_batch, q_head, q_dim, cache_block, cache_token, cache_dim, out_batch, out_head,
                    out_dim, table_stride, max_tokens, num_parts, num_heads, value_dim, rotated_dim, scale, v_scale,
                    PAGE_SIZE: tl.constexpr, NUM_TILES: tl.constexpr, TILE: tl.constexpr, BLOCK_HEADS: tl.constexpr,
                    BLOCK_VALUE: tl.constexpr, BLOCK_ROTATED: tl.constexpr, HAS_ROTATED: tl.constexpr,
                    OPERAND: tl.constexpr, STAGES: tl.constexpr):  # fmt: skip
    """Attend to some parts of one sequence's list with a tile of heads, as `kernels.decode._attend` does."""
    begin()
    row = tl.program_id(0).to(tl.int64)
    table_row = table_ptr + row * table_stride
    place = tl.program_id(1) * NUM_TILES * TILE + tl.arange(0, TILE)
    ahead = blocks_ahead(table_row, place, max_tokens, 0, PAGE_SIZE)
    tokens = tl.minimum(tl.load(tokens_ptr + row).to(tl.int32), max_tokens)
    _, num_used = parts_of(tokens, NUM_TILES * TILE, 0)
    if tl.program_id(1) >= tl.maximum(num_used, 1):
        return
    block = first_blocks(ahead, table_row, place, tokens, 0, PAGE_SIZE)
    head = tl.program_id(2) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    value = tl.arange(0, BLOCK_VALUE)
    in_heads, in_value = (head < num_heads)[:, None], (value < value_dim)[None, :]
    q_row = q_ptr + row * q_batch + head[:, None] * q_head
    q = tl.load(q_row + value[None, :] * q_dim, mask=in_heads & in_value, other=0.0).to(OPERAND)
    if HAS_ROTATED:
        rotated = tl.arange(0, BLOCK_ROTATED)
        in_rotated = (rotated < rotated_dim)[None, :]
        turned = tl.load(q_row + (value_dim + rotated)[None, :] * q_dim, mask=in_heads & in_rotated, other=0.0)
        turned = turned.to(OPERAND)
    for part in tl.range(tl.program_id(1), num_used, tl.num_programs(1), num_stages=1):
        acc = tl.zeros((BLOCK_HEADS, BLOCK_VALUE), tl.float32)
        top = tl.full((BLOCK_HEADS,), float("-inf"), tl.float32)
        weights = tl.zeros((BLOCK_HEADS, TILE), tl.float32)  # by token of a tile: warps wait for their sum only once
        place = part * NUM_TILES * TILE + tl.arange(0, TILE)
        for _ in tl.range(0, NUM_TILES, num_stages=STAGES):
            following = blocks_at(table_row, place + TILE, tokens, PAGE_SIZE)  # known before it is waited for
            valid = place < tokens
            latent_row = (cache_ptr + block.to(tl.int64) * cache_block + (place % PAGE_SIZE) * cache_token)[:, None]
            latent = tl.load(latent_row + value[None, :] * cache_dim, mask=valid[:, None] & in_value, other=0.0)
            latent = latent.to(OPERAND)
            if HAS_ROTATED:
                key = tl.load(latent_row + (value_dim + rotated)[None, :] * cache_dim,
                              mask=valid[:, None] & in_rotated, other=0.0)  # fmt: skip
            logit = tl.dot(q, tl.trans(latent), input_precision="ieee")
            if HAS_ROTATED:
                logit += tl.dot(turned, tl.trans(key.to(OPERAND)), input_precision="ieee")
            logit = tl.where(valid[None, :], logit * scale, float("-inf"))
            new_top = tl.maximum(top, tl.max(logit, 1))
            safe_top = tl.where(new_top == float("-inf"), 0.0, new_top)
            shrink = tl.exp2(top - safe_top)
            p = tl.exp2(logit - safe_top[:, None])
            weights = weights * shrink[:, None] + p
            acc = acc * shrink[:, None] + tl.dot(p.to(OPERAND), latent, input_precision="ieee")
            top, block, place = new_top, following, place + TILE
        weight = tl.sum(weights, 1)
        if num_used == 1:
            target = out_ptr + row * out_batch + head[:, None] * out_head + value[None, :] * out_dim
            write_out(acc, weight[:, None], target, in_heads & in_value, v_scale)
        else:
            leave(acc, top, weight, acc_ptr, max_ptr, sum_ptr, (row * num_parts + part) * num_heads + head, value,
                  value_dim, head < num_heads, True)  # fmt: skip
        place = (part + tl.num_programs(1)) * NUM_TILES * TILE + tl.arange(0, TILE)
        block = blocks_at(table_row, place, tokens, PAGE_SIZE)
    if tally_ptr is not None:
        counted = (tokens > 0) & (tl.program_id(1) == 0) & (tl.program_id(2) == 0)
        counter = tally_ptr + row * 6 + 4
        tl.store(counter, tl.load(counter) + 1, mask=counted)


def latent_tiling(cache: torch.Tensor, q: torch.Tensor) -> Tiling:
    """Give how the work is cut: as measured for this device and shape, or else as its shared memory allows."""
    needed = (UNMEASURED.part + MAX_BLOCK_HEADS) * q.shape[2] * max(cache.itemsize, 2) + ASIDE_BYTES
    return tiling_of(cache, q, q.shape[1], UNMEASURED if needed <= shared_bytes(q.device) else SMALL)


def latent_decode(
    q: torch.Tensor,
    cache: PagedCache,
    lists: BlockLists | None,
    softmax: Softmax,
    out: torch.Tensor | None = None,
    tally: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attend from all heads of a sequence to what is listed for it, or to everything.

    cache: k [num_blocks, 1, page_size, latent_dim], the latents; v its first channels, [num_blocks, 1, page_size,
    value_dim], of which only the width counts; one scale for both. q: [batch, num_q_heads, latent_dim], absorbed.
    out: [batch, num_q_heads, value_dim], as q. tally: counts dense steps, see `kernels.selection.Listing`.
    Raises ValueError for a cap, a window, values wider than `MAX_VALUE_DIM`, or lists of fewer rows.
    """
    (batch, num_heads, _), (page_size, value_dim) = q.shape, cache.v.shape[2:]
    if softmax.cap or softmax.window or value_dim > MAX_VALUE_DIM:
        message = (
            f"latents are attended to without a cap or a window, and values have at most {MAX_VALUE_DIM} channels; "
            f"here cap={softmax.cap}, window={softmax.window} and {value_dim} channels; use sparse_decode"
        )
        raise ValueError(message)
    check_rows(lists, batch)
    table = cache.block_table if lists is None else lists.blocks
    tiling = latent_tiling(cache.k, q)
    out = torch.empty(batch, num_heads, value_dim, dtype=q.dtype, device=q.device) if out is None else out
    max_tokens = table.shape[1] * page_size
    most = at_once(batch, scratch_bytes(1, max_tokens, num_heads, value_dim, tiling.part))
    for some in (slice(first, first + most) for first in range(0, batch, most)):
        scratch = make_scratch(out[some].shape[0], max_tokens, num_heads, value_dim, tiling.part, q.device)
        counted, listed = None if tally is None else tally[some], None if lists is None else lists.of(some)
        _launch_attend(q[some], cache.of(some), listed, softmax, tiling, scratch, out[some], counted)
    return out


def _launch_attend(
    q: torch.Tensor,
    cache: PagedCache,
    lists: BlockLists | None,
    softmax: Softmax,
    tiling: Tiling,
    scratch: Scratch,
    out: torch.Tensor,
    tally: torch.Tensor | None,
) -> None:
    """Launch a program per sequence, part and tile of heads, or fewer that take turns."""
    (rows, num_parts, num_heads, value_dim), rotated_dim = scratch.acc.shape, q.shape[2] - scratch.acc.shape[3]
    block_heads, block_value = _block(num_heads, 16, MAX_BLOCK_HEADS), _block(value_dim, 16, MAX_VALUE_DIM)
    table, tiles = cache.block_table if lists is None else lists.blocks, triton.cdiv(num_heads, block_heads)
    programs = num_programs(scratch, lists, cache.k.shape[2], tiling.part)
    block, _, token, dim = cache.k.stride()
    tokens, scale = cache.seq_lens if lists is None else lists.tokens, float(cache.k_scale)
    _attend_latents[(rows, programs, tiles)](
        q, cache.k, table, tokens, out, scratch.acc, scratch.top, scratch.weight, tally,
        *q.stride(), block, token, dim, *out.stride(), table.stride(0),
        scratch.max_tokens, num_parts, num_heads, value_dim, rotated_dim, softmax.scale * scale * LOG2_E, scale,
        PAGE_SIZE=cache.k.shape[2], NUM_TILES=tiling.tiles, TILE=tiling.tile, BLOCK_HEADS=block_heads,
        BLOCK_VALUE=block_value, BLOCK_ROTATED=_block(rotated_dim, 16, MAX_VALUE_DIM), HAS_ROTATED=rotated_dim > 0,
        OPERAND=_operand(cache.k, q), STAGES=tiling.stages, num_warps=tiling.warps,
        **dependent(q.device),
    )  # fmt: skip
    merge(scratch, tokens, out, tiling.part, lists, 0, scale)
