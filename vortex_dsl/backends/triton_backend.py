"""A graph by emitted and hand-written Triton kernels: on CUDA, or on a CPU by Triton's interpreter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from vortex_dsl.backends.compiled import Compiled, Step, compiled
from vortex_dsl.backends.contract import Chosen

if TYPE_CHECKING:
    from kernels.decode import PagedCache
    from kernels.selection import Pages
    from vortex_dsl.backends.contract import Decode
    from vortex_dsl.graph.graph import Graph


class Triton:
    """Lays keys and values out in pages and summarizes them anew at each step (`contract.Backend`)."""

    def __init__(self, graph: Graph) -> None:
        self._compiled = compiled(graph)

    def choose(self, step: Decode, states: tuple[torch.Tensor, ...] | None) -> Chosen:
        """Choose candidates and write states (`contract.Backend.choose`).

        Raises RuntimeError on a CPU without Triton's interpreter.
        """
        _require_device(step.q.device)
        made = replace(prepare(self._compiled, step), states=states)
        pages, index = made.pages, torch.arange(made.pages.max_pages, device=step.q.device)
        count = (-(-step.lengths // pages.page_size)).repeat_interleave(pages.num_kv_heads)[:, None]
        kept = self._compiled.graph.is_reserved(index, count)
        chosen, after = self._compiled.choose(made)
        most = step.max_pages(pages.page_size)
        return Chosen(((chosen != 0) & ~kept)[:, :most], (kept & (index < count))[:, :most], after)

    def attend(self, step: Decode, attended: torch.Tensor) -> torch.Tensor:
        """Attend to pages (`contract.Backend.attend`)."""
        from kernels.decode import Softmax, sparse_decode
        from kernels.listing import list_pages
        from kernels.selection import Listing

        _require_device(step.q.device)
        cache, pages = _paged_cache(step, self._compiled.graph)
        chosen = torch.nn.functional.pad(attended.char(), (0, pages.max_pages - attended.shape[1]))
        lists = list_pages(chosen, pages, Listing(cache.block_table))
        out = sparse_decode(step.q.flatten(1, 2), cache, lists, Softmax(step.scale))
        return out.unflatten(1, step.q.shape[1:3])


def prepare(program: Compiled, step: Decode) -> Step:
    """Lay keys and values out in pages and summarize the complete ones."""
    cache, pages = _paged_cache(step, program.graph)
    device, most = step.q.device, pages.max_pages
    shape = (len(step.k) * most, pages.num_kv_heads, program.plan.layout.bytes_per_page)
    region = torch.zeros(shape, dtype=torch.uint8, device=device)
    complete = torch.arange(most, device=device) < (cache.seq_lens // pages.page_size)[:, None]
    program.summarize(cache, cache.block_table[complete], region)
    return Step(step.q.flatten(1, 2), cache, region, pages, step.layer, step.num_layers, step.scale)


def _paged_cache(step: Decode, graph: Graph) -> tuple[PagedCache, Pages]:
    from kernels.decode import PagedCache
    from kernels.selection import Pages

    most, size = max(step.max_pages(graph.page_size), 1), graph.page_size
    seq_lens = step.lengths.to(device=step.q.device, dtype=torch.int32)
    table = torch.arange(len(step.k) * most, dtype=torch.int32, device=step.q.device).reshape(-1, most)
    k, v = (_blocks(x, size, most) for x in (step.k, step.v))
    return PagedCache(k, v, table, seq_lens), Pages(seq_lens, step.k.shape[1], most, size, graph.sink, graph.window)


def _blocks(x: torch.Tensor, page_size: int, max_pages: int) -> torch.Tensor:
    """Cut [batch, num_kv_heads, tokens, dim] into blocks [batch * max_pages, num_kv_heads, page_size, dim]."""
    x = torch.nn.functional.pad(x, (0, 0, 0, max_pages * page_size - x.shape[2]))
    return x.unflatten(2, (max_pages, page_size)).transpose(1, 2).flatten(0, 1)


def _require_device(device: torch.device) -> None:
    import triton
    import triton.language as tl

    compiles = isinstance(tl.sum, triton.JITFunction)  # decided when triton was imported, not by the environment now
    if device.type == "cpu" and compiles:
        message = (
            "backend 'triton' needs a CUDA device, or TRITON_INTERPRET=1 in the environment before triton is "
            "first imported; use backend 'torch' on a CPU"
        )
        raise RuntimeError(message)
