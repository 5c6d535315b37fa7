"""Both ways of reading the paged cache say the same, and neither looks beyond a row's length."""

import pytest
import torch

from vortex_dsl.serving.pages import Rows

pytestmark = pytest.mark.vllm


def filled(kind, page_size, dtype, seed=0):
    """Write 3 ragged sequences into a cache full of garbage; gives pages, tables, lengths and keys.

    Garbage is finite: vLLM's C++ kernel multiplies the unused values of a partial page by zero, and vLLM itself
    leaves only zeros or old numbers there.
    """
    generator = torch.Generator().manual_seed(seed)
    heads, dim, lengths = 2, 64, [1, 2 * page_size, 3 * page_size + 5]
    cache = torch.full((32, heads, page_size, 2 * dim + 8), 1e4, dtype=dtype)
    pages = kind(cache, dim)
    table = torch.randperm(32, generator=generator)[:12].view(3, 4).to(torch.int32)
    slots = torch.cat(
        [
            table[i, torch.arange(n) // page_size].long() * page_size + torch.arange(n) % page_size
            for i, n in enumerate(lengths)
        ]
    )
    key = torch.randn(len(slots), heads, dim, generator=generator).to(dtype)
    value = torch.randn(len(slots), heads, dim, generator=generator).to(dtype)
    pages.write(key, value, slots)
    return pages, table, torch.tensor(lengths, dtype=torch.int32), key


@pytest.fixture(params=["cpu", "torch"])
def kind(request):
    from vortex_dsl.serving.pages_cpu import CpuPages
    from vortex_dsl.serving.pages_torch import TorchPages

    return {"cpu": CpuPages, "torch": TorchPages}[request.param]


@pytest.mark.parametrize("page_size", [16, 32, 64])
def test_raw_keys_are_what_was_written(kind, page_size):
    """A gathered page holds its keys in token order, fields lie behind it untouched."""
    pages, table, _, key = filled(kind, page_size, torch.float32)
    got = pages.raw_keys(table[1].long() * 2 + 1)[:2].flatten(0, 1)
    assert torch.equal(got, key[1 : 1 + 2 * page_size, 1])
    assert pages.fields.shape == (64, page_size * 8 * 4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("page_size", [16, 32])
def test_torch_and_cpp_agree(page_size, dtype, tolerance):
    """Dense and page-wise attention agree between vLLM's C++ kernel and torch."""
    from vortex_dsl.serving.pages_cpu import CpuPages
    from vortex_dsl.serving.pages_torch import TorchPages

    query = torch.randn(3, 8, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    starts = torch.arange(4, dtype=torch.int32)
    outputs = []
    for kind in (CpuPages, TorchPages):
        pages, table, lengths, _ = filled(kind, page_size, dtype)
        whole, listed = torch.empty_like(query), torch.empty(6, 4, 64, dtype=dtype)
        pages.attend_sequences(query, Rows(table, lengths, starts), 0.125, whole)
        by_head = (table.long()[:, None] * 2 + torch.arange(2)[:, None]).flatten(0, 1).to(torch.int32)
        rows = Rows(by_head, lengths.repeat_interleave(2), torch.arange(7, dtype=torch.int32))
        pages.attend_pages(query.view(6, 4, 64), rows, 0.125, listed)
        torch.testing.assert_close(whole.view(6, 4, 64), listed, atol=tolerance, rtol=tolerance)
        outputs.append(whole)
    torch.testing.assert_close(*outputs, atol=tolerance, rtol=tolerance)
