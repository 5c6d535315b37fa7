"""Latent attention on a CUDA device, by default in the shape of GLM-4.7-Flash: ours, and what vLLM has.

Latents: [num_blocks, page_size, latent_dim], bfloat16 on CUDA; q: [batch, heads, latent_dim], absorbed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from kernels.decode import PagedCache, Softmax
from kernels.latent import latent_decode
from kernels.selection import Listing, Pages
from kernels.tuning import shape_key
from vortex_dsl import Shape
from vortex_dsl.backends.compiled import Compiled, Step
from vortex_dsl.serving.triton.latents import latent_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vortex_dsl.frontend.program import Program

    Work = Callable[[], Any]

FLASH_PAGE_SIZE = 64  # vLLM's kernels take blocks of this many tokens
SCALE = 256**-0.5


@dataclass(frozen=True)
class LatentCase:
    """A decode step of one layer."""

    batch: int
    length: int
    heads: int = 20
    value_dim: int = 512
    rotated_dim: int = 64
    pages: int = 64

    def __str__(self) -> str:
        return f"{self.batch} x {self.length}, {self.heads} heads over latents, {self.pages} pages"

    @property
    def latent_dim(self) -> int:
        return self.value_dim + self.rotated_dim

    @property
    def dense_bytes(self) -> int:
        """What attention to everything reads."""
        return 2 * self.batch * self.length * self.latent_dim


LATENT_CASES = (LatentCase(1, 32768), LatentCase(32, 32768), LatentCase(64, 8192))


def tensors(case: LatentCase, page_size: int) -> tuple[torch.Tensor, ...]:
    """Random q and latents, the block table and the lengths."""
    generator, pages = torch.Generator("cuda").manual_seed(0), -(-case.length // page_size)
    shape = (case.batch * pages, page_size, case.latent_dim)
    latents = torch.randn(shape, generator=generator, device="cuda", dtype=torch.bfloat16)
    q = torch.randn(case.batch, case.heads, case.latent_dim, generator=generator, device="cuda", dtype=torch.bfloat16)
    table = torch.randperm(case.batch * pages, generator=generator, device="cuda").int().view(case.batch, pages)
    return q, latents, table, torch.full((case.batch,), case.length, dtype=torch.int32, device="cuda")


def prepared(case: LatentCase, program: Program) -> tuple[Compiled, Step]:
    """Fill a cache and compute its fields."""
    compiled = Compiled(latent_graph(program, Shape(case.heads, case.latent_dim), case.value_dim))
    graph = compiled.graph
    q, latents, table, lengths = tensors(case, graph.page_size)
    cache = PagedCache(latents[:, None], latents[:, None, :, : case.value_dim], table, lengths)
    num_bytes = compiled.plan.layout.bytes_per_page
    region = torch.zeros(latents.shape[0], 1, num_bytes, dtype=torch.uint8, device="cuda")
    compiled.summarize(cache, table.flatten(), region)
    pages = Pages(lengths, 1, table.shape[1], graph.page_size, graph.sink, graph.window)
    return compiled, Step(q, cache, region, pages, 1, 2, SCALE)


def error_of(program: Program) -> float:
    """Give the largest difference of a sparse step from the same in torch, on ragged lengths."""
    compiled, step = prepared(LatentCase(3, 2100), program)
    cut = torch.tensor([2100, 1000, 1], dtype=torch.int32, device="cuda")
    cache = replace(step.cache, seq_lens=cut)
    step = replace(step, cache=cache, pages=replace(step.pages, seq_lens=cut))
    lists = compiled.listed(step, Listing(cache.block_table))
    out = latent_decode(step.q, cache, lists, Softmax(SCALE)).float()
    worst = 0.0
    for row, tokens in enumerate(lists.tokens.tolist()):
        blocks = lists.blocks[row, : -(-tokens // step.pages.page_size)].long()
        latents = cache.k[blocks, 0].flatten(0, 1)[:tokens].float()
        weights = (step.q[row].float() @ latents.T * SCALE).softmax(-1)
        worst = max(worst, float((weights @ latents[:, : cache.v.shape[3]] - out[row]).abs().max()))
    return worst


def parts(case: LatentCase, program: Program) -> Iterator[tuple[str, Work, int]]:
    """Give each part of a step: its name, what it does, and the bytes that it moves at least."""
    compiled, step = prepared(case, program)
    cache, softmax, listing = step.cache, Softmax(SCALE), Listing(step.cache.block_table)
    lists, codes = compiled.listed(step, listing), step.cache.k.to(torch.float8_e4m3fn)
    small = replace(cache, k=codes, v=codes[..., : case.value_dim])
    summaries = cache.block_table.numel() * compiled.plan.layout.bytes_per_page
    attended = 2 * int(lists.tokens.sum()) * case.latent_dim
    yield "index", lambda: compiled.listed(step, listing), summaries
    yield "attention", lambda: latent_decode(step.q, cache, lists, softmax), attended
    yield "attention fp8", lambda: latent_decode(step.q, small, lists, softmax), attended // 2
    yield "our dense", lambda: latent_decode(step.q, cache, None, softmax), case.dense_bytes
    both = summaries + attended
    yield "whole step", lambda: latent_decode(step.q, cache, compiled.listed(step, listing), softmax), both


def to_tune(case: LatentCase, program: Program) -> tuple[str, Work]:
    """Give a shape and a sparse step of it."""
    compiled, step = prepared(case, program)
    lists = compiled.listed(step, Listing(step.cache.block_table))
    key = shape_key(step.cache.k, step.q, case.heads)
    return key, lambda: latent_decode(step.q, step.cache, lists, Softmax(SCALE))


def flash_attention(case: LatentCase) -> Work:
    """Dense latent decode by FlashAttention 3, vLLM's choice on Hopper."""
    from vllm.vllm_flash_attn import flash_attn_varlen_func

    q, latents, table, lengths = tensors(case, FLASH_PAGE_SIZE)
    starts = torch.arange(case.batch + 1, dtype=torch.int32, device="cuda")
    values, rotated = latents[:, :, None, : case.value_dim], latents[:, :, None, case.value_dim :]
    return lambda: flash_attn_varlen_func(
        q=q[..., case.value_dim :], k=rotated, v=values, q_v=q[..., : case.value_dim], max_seqlen_q=1,
        cu_seqlens_q=starts, max_seqlen_k=case.length, seqused_k=lengths, block_table=table, softmax_scale=SCALE,
        causal=True, fa_version=3,
    )  # fmt: skip


def flash_mla(case: LatentCase) -> Work:
    """Dense latent decode by FlashMLA, planned beforehand."""
    from vllm.v1.attention.ops.flashmla import flash_mla_with_kvcache, get_mla_metadata

    q, latents, table, lengths = tensors(case, FLASH_PAGE_SIZE)
    plan, _ = get_mla_metadata(lengths, case.heads, 1, is_fp8_kvcache=False)
    return lambda: flash_mla_with_kvcache(
        q=q[:, None], k_cache=latents[:, :, None], block_table=table, cache_seqlens=lengths,
        head_dim_v=case.value_dim, tile_scheduler_metadata=plan, softmax_scale=SCALE, causal=True,
        is_fp8_kvcache=False,
    )  # fmt: skip


def triton_mla(case: LatentCase) -> Work:
    """Dense latent decode by vLLM's Triton kernel, with the splits that vLLM takes for the length."""
    from vllm.v1.attention.ops.triton_decode_attention import decode_attention_fwd

    q, latents, table, lengths = tensors(case, FLASH_PAGE_SIZE)
    splits, shape = max(case.length // 512, 1), (case.batch, case.heads)
    logits = torch.empty(*shape, splits, case.value_dim + 1, device="cuda")
    out, lse = torch.empty(*shape, case.value_dim, dtype=q.dtype, device="cuda"), torch.empty(shape, device="cuda")
    whole = latents[:, :, None]
    given = (q, whole, whole[..., : case.value_dim], out, lse, table, lengths, logits, splits, SCALE)
    return lambda: decode_attention_fwd(*given, page_size=FLASH_PAGE_SIZE, is_mla=True)


LATENT_RIVALS = {"FlashAttention MLA": flash_attention, "FlashMLA": flash_mla, "vLLM's Triton MLA": triton_mla}
