# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""New keys and values into their pages."""

import torch
import triton
import triton.language as tl

from kernels.arithmetic import encode_fp8
from kernels.decode import PagedCache


@triton.jit
def _write(key_ptr, value_ptr, slots_ptr, k_ptr, v_ptr, complete_ptr, key_token, key_head, key_dim,
           value_token, value_head, value_dim, k_block, k_head, k_token, k_dim, v_block, v_head, v_token, v_dim,
           k_scale, v_scale, num_kv_heads, num_dims, num_value_dims, PAGE_SIZE: tl.constexpr, HEADS: tl.constexpr,
           DIMS: tl.constexpr, VALUE_DIMS: tl.constexpr, FP8: tl.constexpr):  # fmt: skip
    """Write one token of every KV head; mark its block where the token is the block's last."""
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots_ptr + token).to(tl.int64)
    if slot < 0:
        return
    block, place = slot // PAGE_SIZE, slot % PAGE_SIZE
    head, dim, value = tl.arange(0, HEADS)[:, None], tl.arange(0, DIMS)[None, :], tl.arange(0, VALUE_DIMS)[None, :]
    in_key = (head < num_kv_heads) & (dim < num_dims)
    in_value = (head < num_kv_heads) & (value < num_value_dims)
    k = tl.load(key_ptr + token * key_token + head * key_head + dim * key_dim, mask=in_key)
    v = tl.load(value_ptr + token * value_token + head * value_head + value * value_dim, mask=in_value)
    if FP8:
        k = encode_fp8(tl.div_rn(k.to(tl.float32), k_scale))
        v = encode_fp8(tl.div_rn(v.to(tl.float32), v_scale))
    tl.store(k_ptr + block * k_block + head * k_head + place * k_token + dim * k_dim, k, mask=in_key)
    tl.store(v_ptr + block * v_block + head * v_head + place * v_token + value * v_dim, v, mask=in_value)
    tl.store(complete_ptr + block, 1, mask=place == PAGE_SIZE - 1)


def write_tokens(
    key: torch.Tensor, value: torch.Tensor, slots: torch.Tensor, cache: PagedCache, complete: torch.Tensor
) -> None:
    """Store new tokens where their slots say; slot -1 is skipped.

    key: [num_tokens, num_kv_heads, head_dim], value: [num_tokens, num_kv_heads, value_dim], of the cache's dtype, or
    in full precision where that is float8; slots: integers [num_slots], of which there may be fewer than tokens.
    complete: uint8 [num_blocks], set to 1 for blocks whose last token is written.
    """
    if not slots.numel():
        return
    fp8 = cache.k.itemsize == 1
    k, v = (x.view(torch.uint8) if fp8 else x for x in (cache.k, cache.v))
    num_kv_heads, head_dim, value_dim = cache.k.shape[1], cache.k.shape[3], cache.v.shape[3]
    _write[(slots.shape[0],)](
        key, value, slots, k, v, complete, *key.stride(), *value.stride(), *k.stride(), *v.stride(),
        float(cache.k_scale), float(cache.v_scale), num_kv_heads, head_dim, value_dim,
        PAGE_SIZE=cache.k.shape[2], HEADS=triton.next_power_of_2(num_kv_heads),
        DIMS=triton.next_power_of_2(head_dim), VALUE_DIMS=triton.next_power_of_2(value_dim), FP8=fp8,
    )  # fmt: skip
