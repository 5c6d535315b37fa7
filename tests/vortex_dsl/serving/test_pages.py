"""Both ways of reading the paged cache say the same, and neither looks beyond a row's length."""

import pytest
import torch

from vortex_dsl.serving.pages.pages import Rows, Softmax

pytestmark = pytest.mark.vllm


def filled(kind, page_size, dtype, dim=64, seed=0):
    """Write 3 ragged sequences into a cache full of garbage; gives pages, tables, lengths and keys.

    Garbage is finite: vLLM's C++ kernel multiplies the unused values of a partial page by zero, and vLLM itself
    leaves only zeros or old numbers there.
    """
    generator = torch.Generator().manual_seed(seed)
    heads, lengths = 2, [1, 2 * page_size, 3 * page_size + 5]
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
    from vortex_dsl.serving.pages.cpu import CpuPages
    from vortex_dsl.serving.pages.plain import TorchPages

    return {"cpu": CpuPages, "torch": TorchPages}[request.param]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("page_size", "dim"), [(16, 64), (32, 64), (64, 128), (128, 64), (32, 80)])
def test_raw_keys_are_what_was_written(kind, page_size, dim, dtype):
    """A gathered page holds its keys in token order, fields lie behind it untouched."""
    pages, table, _, key = filled(kind, page_size, dtype, dim)
    got = pages.raw_keys(table[1].long() * 2 + 1)[:2].flatten(0, 1)
    assert torch.equal(got, key[1 : 1 + 2 * page_size, 1])
    assert pages.fields.shape == (64, page_size * 8 * dtype.itemsize)
    assert torch.equal(pages.fields.view(dtype), torch.full((64, page_size * 8), 1e4, dtype=dtype))


def test_views_are_over_one_cache_only(kind):
    """A cache of another size at the same address is another cache."""
    cache = torch.zeros(8, 2, 16, 136)
    pages = kind(cache[:4], 64)
    assert pages.is_over(cache[:4])
    assert not pages.is_over(cache)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 4e-3)])
@pytest.mark.parametrize(("page_size", "dim"), [(16, 64), (32, 64), (128, 128), (32, 80)])
@pytest.mark.parametrize("softmax", [Softmax(0.125), Softmax(0.125, cap=2.0), Softmax(0.125, window=20)], ids=str)
def test_torch_and_cpp_agree(page_size, dim, dtype, tolerance, softmax):
    """Dense and page-wise attention agree between vLLM's C++ kernel and torch; listed pages know no window."""
    from vortex_dsl.serving.pages.cpu import CpuPages
    from vortex_dsl.serving.pages.plain import TorchPages

    query = torch.randn(3, 8, dim, generator=torch.Generator().manual_seed(1)).to(dtype)
    starts = torch.arange(4, dtype=torch.int32)
    outputs = []
    for kind in (CpuPages, TorchPages):
        pages, table, lengths, _ = filled(kind, page_size, dtype, dim)
        whole, listed = torch.empty_like(query), torch.empty(6, 4, dim, dtype=dtype)
        pages.attend_sequences(query, Rows(table, lengths, starts), softmax, whole)
        by_head = (table.long()[:, None] * 2 + torch.arange(2)[:, None]).flatten(0, 1).to(torch.int32)
        rows = Rows(by_head, lengths.repeat_interleave(2), torch.arange(7, dtype=torch.int32))
        pages.attend_pages(query.view(6, 4, dim), rows, softmax, listed)
        if softmax.window is None:
            torch.testing.assert_close(whole.view(6, 4, dim), listed, atol=tolerance, rtol=tolerance)
        outputs.append((whole, listed))
    for one, other in zip(*outputs, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)
