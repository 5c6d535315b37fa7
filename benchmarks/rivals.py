"""What our kernels are measured against, where it can be imported: each gives a decode step's work, ready to be timed.

q: [batch, num_q_heads, head_dim]; k, v: [batch, num_kv_heads, tokens, head_dim], bfloat16 on CUDA. A rival that cannot
be imported, or does not take the shape, raises and is listed with its reason; none is left out in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], Any]

PAGE_SIZE = 16
M3_PAGE_SIZE = 128


def torch_sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, _chosen: int) -> Work:
    """Dense attention by torch, keys and values side by side: the friendliest case for it."""
    query = q[:, :, None]
    return lambda: torch.nn.functional.scaled_dot_product_attention(query, k, v, enable_gqa=True)


def flex_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, _chosen: int) -> Work:
    """Dense attention by FlexAttention, compiled for decode."""
    from torch.nn.attention.flex_attention import flex_attention

    compiled, query = torch.compile(flex_attention, dynamic=False), q[:, :, None]
    return lambda: compiled(query, k, v, enable_gqa=True)


def flash_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, _chosen: int) -> Work:
    """Dense paged decode by the FlashAttention that comes with vLLM: 3 on Hopper."""
    from vllm.v1.attention.backends.fa_utils import flash_attn_varlen_func, get_flash_attn_version

    batch, tokens = k.shape[0], k.shape[2]
    keys, values = (paged(x, PAGE_SIZE).transpose(1, 2) for x in (k, v))
    starts = torch.arange(batch + 1, dtype=torch.int32, device=q.device)
    lengths = torch.full((batch,), tokens, dtype=torch.int32, device=q.device)
    table, out = blocks_of(k, PAGE_SIZE), torch.empty_like(q)
    version = get_flash_attn_version(head_size=q.shape[2])
    return lambda: flash_attn_varlen_func(
        q=q, k=keys, v=values, out=out, cu_seqlens_q=starts, max_seqlen_q=1, seqused_k=lengths, max_seqlen_k=tokens,
        softmax_scale=q.shape[2] ** -0.5, causal=True, block_table=table, fa_version=version,
    )  # fmt: skip


def flash_infer(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, _chosen: int) -> Work:
    """Dense paged decode by FlashInfer, with tensor cores, planned beforehand."""
    import flashinfer

    batch, tokens = k.shape[0], k.shape[2]
    pages = -(-tokens // PAGE_SIZE)
    workspace = torch.empty(128 << 20, dtype=torch.uint8, device=q.device)
    wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(workspace, "HND", use_tensor_cores=True)
    starts = torch.arange(0, (batch + 1) * pages, pages, dtype=torch.int32, device=q.device)
    last = torch.full((batch,), (tokens - 1) % PAGE_SIZE + 1, dtype=torch.int32, device=q.device)
    numbers = blocks_of(k, PAGE_SIZE).flatten()
    wrapper.plan(
        starts, numbers, last, q.shape[1], k.shape[1], q.shape[2], PAGE_SIZE, q_data_type=q.dtype, kv_data_type=k.dtype
    )
    cache = (paged(k, PAGE_SIZE), paged(v, PAGE_SIZE))
    return lambda: wrapper.run(q, cache)


def minimax_m3(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, chosen: int) -> Work:
    """Block-sparse decode of vLLM's MiniMax-M3, pages of 128, over about as many tokens as ours."""
    from vllm.models.minimax_m3.common.ops.sparse_attn import minimax_m3_sparse_attn_decode

    batch, num_kv_heads, tokens, _ = k.shape
    pages, most = -(-tokens // M3_PAGE_SIZE), max(chosen // M3_PAGE_SIZE, 1)
    cache = torch.cat([paged(k, M3_PAGE_SIZE), paged(v, M3_PAGE_SIZE)], -1)
    step = max(pages // most, 1)
    index = (torch.arange(most, dtype=torch.int32, device=q.device) * step).expand(num_kv_heads, batch, most)
    lengths = torch.full((batch,), tokens, dtype=torch.int32, device=q.device)
    table, out, scale = blocks_of(k, M3_PAGE_SIZE), torch.empty_like(q), q.shape[2] ** -0.5
    given = (q, cache, index.contiguous(), table, lengths, num_kv_heads, scale, out, 1)
    return lambda: minimax_m3_sparse_attn_decode(*given)


def paged(x: torch.Tensor, page_size: int) -> torch.Tensor:
    """Cut [batch, heads, tokens, dim] into blocks [num_blocks, heads, page_size, dim]."""
    missing = -x.shape[2] % page_size
    whole = torch.nn.functional.pad(x, (0, 0, 0, missing)) if missing else x
    return whole.unflatten(2, (-1, page_size)).transpose(1, 2).flatten(0, 1).contiguous()


def blocks_of(k: torch.Tensor, page_size: int) -> torch.Tensor:
    """Number the blocks of `paged`: int32 [batch, pages]."""
    batch, pages = k.shape[0], -(-k.shape[2] // page_size)
    return torch.arange(batch * pages, dtype=torch.int32, device=k.device).reshape(batch, pages)


RIVALS = {
    "torch SDPA": torch_sdpa,
    "FlexAttention": flex_attention,
    "FlashAttention": flash_attention,
    "FlashInfer": flash_infer,
    "MiniMax-M3 sparse": minimax_m3,
}
