# ruff: noqa: N803  (constexpr parameters are upper case, as Triton writes them)
# mypy: disallow-incomplete-defs=False
"""New keys and values into their pages, and the fields of the pages that they complete, in one launch."""

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.arithmetic import encode_fp8
from kernels.decode import PagedCache
from kernels.dependent import begin, dependent

TILE_ELEMENTS = 4096  # that are copied at a time


@dataclass(frozen=True)
class Summarizing:
    """How a page's fields are computed: by a jitted function over a grid of slots and KV heads.

    It takes the slots, or its program's own, then `after`, and computes the fields of the block whose last slot it is.
    """

    function: Any
    after: tuple[Any, ...]


@triton.jit(do_not_specialize=["num_slots"])
def _write(SUMMARIZE: tl.constexpr, after, key_ptr, value_ptr, slots_ptr, k_ptr, v_ptr, complete_ptr,
           key_token, key_head, key_dim, value_token, value_head, value_dim,
           k_block, k_head, k_token, k_dim, v_block, v_head, v_token, v_dim,
           k_scale, v_scale, num_slots, num_dims, num_value_dims, PAGE_SIZE: tl.constexpr, TOKENS: tl.constexpr,
           DIMS: tl.constexpr, VALUE_DIMS: tl.constexpr, FP8: tl.constexpr):  # fmt: skip
    """Write what a page of one KV head gets: the program of the page's last new token writes all of them.

    So whoever completes a page has written what is new of it, and may compute its fields.
    """
    begin()
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    # All slots that matter are asked for before one is waited for.
    earlier = tl.load(slots_ptr + token - tl.arange(0, TOKENS), mask=tl.arange(0, TOKENS) <= token, other=-1)
    following = tl.load(slots_ptr + token + 1, mask=token + 1 < num_slots, other=-1).to(tl.int64)
    slot = tl.load(slots_ptr + token).to(tl.int64)
    block, place = slot // PAGE_SIZE, (slot % PAGE_SIZE).to(tl.int32)
    if (slot < 0) | ((following == slot + 1) & (place < PAGE_SIZE - 1)):
        return
    k_page, v_page = k_ptr + block * k_block + head * k_head, v_ptr + block * v_block + head * v_head
    dim, value = tl.arange(0, DIMS)[None, :], tl.arange(0, VALUE_DIMS)[None, :]
    for start in tl.range(0, place + 1, TOKENS, num_stages=1):
        back = start + tl.arange(0, TOKENS)
        new = (back <= place) & (back <= token) & (earlier.to(tl.int64) == slot - back)
        in_key, in_value = new[:, None] & (dim < num_dims), new[:, None] & (value < num_value_dims)
        source, target = (token - back)[:, None], (place - back)[:, None]
        k = tl.load(key_ptr + source * key_token + head * key_head + dim * key_dim, mask=in_key)
        v = tl.load(value_ptr + source * value_token + head * value_head + value * value_dim, mask=in_value)
        if FP8:
            k = encode_fp8(tl.div_rn(k.to(tl.float32), k_scale))
            v = encode_fp8(tl.div_rn(v.to(tl.float32), v_scale))
        tl.store(k_page + target * k_token + dim * k_dim, k, mask=in_key)
        tl.store(v_page + target * v_token + value * v_dim, v, mask=in_value)
        earlier = tl.load(slots_ptr + token - back - TOKENS, mask=back + TOKENS <= token, other=-1)
    tl.store(complete_ptr + block, 1, mask=(place == PAGE_SIZE - 1) & (head == 0))
    if SUMMARIZE is not None:
        tl.debug_barrier()  # what one thread wrote, others read
        SUMMARIZE(slot, *after)


def write_tokens(
    key: torch.Tensor,
    value: torch.Tensor,
    slots: torch.Tensor,
    cache: PagedCache,
    complete: torch.Tensor,
    summarizing: Summarizing | None = None,
) -> None:
    """Store new tokens where their slots say, and compute the fields of every page whose last token is among them.

    key: [num_tokens, num_kv_heads, head_dim], value: [num_tokens, num_kv_heads, value_dim], of the cache's dtype, or
    in full precision where that is float8; slots: integers [num_slots], of which there may be fewer than tokens; -1 is
    skipped, and tokens of one page must stand side by side, in their order. complete: uint8 [num_blocks], set to 1 for
    blocks whose last token is written.
    """
    if not slots.numel():
        return
    fp8 = cache.k.itemsize == 1
    k, v = (x.view(torch.uint8) if fp8 else x for x in (cache.k, cache.v))
    num_kv_heads, page_size, head_dim, value_dim = *cache.k.shape[1:], cache.v.shape[3]
    dims, value_dims = triton.next_power_of_2(head_dim), triton.next_power_of_2(value_dim)
    tokens = min(triton.next_power_of_2(page_size), max(TILE_ELEMENTS // max(dims, value_dims), 1))
    _write[(slots.shape[0], num_kv_heads)](
        *((None, ()) if summarizing is None else (summarizing.function, summarizing.after)),
        key, value, slots, k, v, complete, *key.stride(), *value.stride(), *k.stride(), *v.stride(),
        float(cache.k_scale), float(cache.v_scale), slots.shape[0], head_dim, value_dim,
        PAGE_SIZE=page_size, TOKENS=tokens, DIMS=dims, VALUE_DIMS=value_dims, FP8=fp8, num_stages=1,
        enable_fp_fusion=False,  # as of all fields (`vortex_dsl.backends.compiled`)
        **dependent(key.device),
    )  # fmt: skip
