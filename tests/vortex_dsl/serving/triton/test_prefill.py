"""Prefill by FlashAttention, by a stand-in that takes what it takes: pages in place, or as numbers where in float8."""

import pytest
import torch

from vortex_dsl.serving.layers.batches import Prefills
from vortex_dsl.serving.pages.pages import Rows, Softmax
from vortex_dsl.serving.triton import pages as module
from vortex_dsl.serving.triton.pages import FLOAT8, FlashPrefill, TorchPrefill, TritonPages
from vortex_dsl.serving.triton.tallies import DeviceMeter

LENGTHS, QUERIES = (40, 20), (7, 20)


def attend(*, q, k, v, out, cu_seqlens_q, seqused_k, block_table, softmax_scale, **_given):
    """Attend causally as FlashAttention's function does, one sequence after the other. k: [blocks, page, head, dim]."""
    assert k.dtype == v.dtype == q.dtype
    for row, length in enumerate(seqused_k.tolist()):
        first, end = cu_seqlens_q[row : row + 2].tolist()
        blocks = block_table[row, : -(-length // k.shape[1])].long()
        keys, values = (x[blocks].flatten(0, 1)[:length].float() for x in (k, v))
        group = q.shape[1] // keys.shape[1]
        logits = torch.einsum("thd,shd->hts", q[first:end].float(), keys.repeat_interleave(group, 1)) * softmax_scale
        later = torch.arange(length) > torch.arange(length - (end - first), length)[:, None]
        weights = logits.masked_fill(later, -torch.inf).softmax(-1)
        out[first:end] = torch.einsum("hts,shd->thd", weights, values.repeat_interleave(group, 1)).to(out.dtype)


def written(dtype):
    """Fill pages of 2 KV heads in an order of their own; what no token is in is the largest number."""
    filler = 448.0 if dtype == torch.uint8 else 3e4
    cache = torch.full((8, 2, 16, 2 * 32 + 16), filler).to(FLOAT8 if dtype == torch.uint8 else dtype)
    pages = TritonPages(cache.view(dtype), 32)
    table = torch.tensor([[6, 2, 5, 99], [3, 7, 99, 99]], dtype=torch.int32)
    key, value = torch.randn(2, sum(LENGTHS), 2, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    slots = [int(table[row, t // 16]) * 16 + t % 16 for row, length in enumerate(LENGTHS) for t in range(length)]
    pages.write(key, value, torch.tensor(slots))
    return pages, table


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card has the real one")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.uint8], ids=["bfloat16", "float8"])
def test_prompts_attend_as_by_torch_whatever_keys_are_stored_in(dtype):
    pages, table = written(dtype)
    starts = torch.tensor([0, QUERIES[0], sum(QUERIES)], dtype=torch.int32)
    prefills = Prefills(
        Rows(table, torch.tensor(LENGTHS, dtype=torch.int32), starts), 0, sum(QUERIES), 20, max(LENGTHS)
    )
    query = torch.randn(sum(QUERIES), 4, 32, generator=torch.Generator().manual_seed(1)).bfloat16()
    by_flash, by_torch = torch.full_like(query, torch.nan), torch.full_like(query, torch.nan)
    FlashPrefill(attend, 3)(query, pages, prefills, Softmax(0.2), by_flash)
    TorchPrefill()(query, pages, prefills, Softmax(0.2), by_torch)
    torch.testing.assert_close(by_flash.float(), by_torch.float(), atol=1e-2, rtol=1e-2)


def test_float8_is_no_reason_against_flash_attention():
    assert "over keys in" not in module._why_not_flash("cuda", FLOAT8)
    assert "over keys in torch.float32" in module._why_not_flash("cuda", torch.float32)


class Arrival:
    def __init__(self, is_there):
        self.is_there = is_there

    def query(self):
        return self.is_there


def test_a_report_takes_no_copy_that_has_not_arrived():
    meter = DeviceMeter(1, windowed=False)
    meter.room("layer.0", 2, torch.device("cpu"))[:] = torch.tensor([1, 0, 2, 3, 0, 0])
    meter.report()
    meter._arrival = Arrival(False)
    meter.report()
    assert meter._meter.counters.sparse_tokens == 0
    meter._arrival = Arrival(True)
    meter.report()
    assert meter._meter.counters.sparse_tokens == 2
