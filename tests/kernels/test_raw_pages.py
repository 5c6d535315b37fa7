"""Raw pages in the orders of vLLM's kernels, and stored codes: read and multiplied as they lie."""

import pytest
import torch

from kernels.host import cpu, products, reading
from vortex_dsl import storage

TOKENS, PAGES = 32, 12


def orders(dim: int) -> dict[str, torch.Tensor]:
    """Give where each element of a page lies, [token, channel], in the orders that kernels store keys in."""
    token, channel = torch.arange(TOKENS)[:, None], torch.arange(dim)
    pairs = (token // 16) * 16 * dim + (channel // 2) * 32 + token % 16 * 2 + channel % 2
    return {"plain": token * dim + channel, "columns": channel * TOKENS + token, "pairs": pairs}


def raw(order: str, dim: int, dtype: torch.dtype) -> tuple[cpu.Views, torch.Tensor, cpu.Raw]:
    """Give a memory of pages, each with something else before and behind its keys, what they hold, and their place."""
    keys = torch.randn(PAGES, TOKENS, dim).to(dtype)
    keys[0, 0, 0], keys[1, 3, 1], keys[2, 5, 2] = float("nan"), float("inf"), 1e-7
    whole = torch.randn(PAGES, 3, TOKENS * dim).to(dtype)
    places = orders(dim)[order]
    whole[:, 1, places.flatten()] = keys.flatten(1)
    size = keys.element_size()
    shape = (TOKENS, dim, dim * size)
    kind = str(dtype).removeprefix("torch.")
    stored = cpu.Stored(kind, TOKENS * dim * size, 3 * TOKENS * dim * size, *shape, 0)
    return cpu.memory_of(whole.view(torch.uint8)), keys.float(), cpu.Raw.ordered(stored, places.flatten())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dim", [64, 24])
@pytest.mark.parametrize("order", ["plain", "columns", "pairs"])
def test_raw_pages_are_read_and_multiplied_in_any_order(order: str, dim: int, dtype: torch.dtype) -> None:
    memory, keys, given = raw(order, dim, dtype)
    places = torch.cat([torch.from_numpy(given.tokens), torch.from_numpy(given.channels)]).numpy()
    code, pages = given.stored.coded(0), torch.tensor([7, 0, 3, 2, 1])
    out = torch.empty(5, TOKENS, dim)
    reading.gather_raw(memory, places, code, pages.numpy(), out.numpy())
    torch.testing.assert_close(out, keys[pages], rtol=0, atol=0, equal_nan=True)
    for num_queries, each in ((1, 1), (3, 1), (4, 1), (6, 1), (4, 5)):
        query, found = torch.randn(each, num_queries, dim), torch.empty(5, TOKENS, num_queries)
        products.contract_row(memory, (*cpu.TABLES, places), code, pages.numpy(), query.numpy(), found.numpy())
        expected = torch.einsum("ptd,pqd->ptq", keys[pages].double(), query.double().expand(5, -1, -1))
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4, equal_nan=True)


def test_channels_without_a_place_are_zero() -> None:
    memory, keys, given = raw("plain", 64, torch.float32)
    given.channels[40:] = -1
    places = torch.cat([torch.from_numpy(given.tokens), torch.from_numpy(given.channels)]).numpy()
    out, query, found = torch.empty(PAGES, TOKENS, 64), torch.randn(1, 4, 64), torch.empty(PAGES, TOKENS, 4)
    reading.gather_raw(memory, places, given.stored.coded(0), torch.arange(PAGES).numpy(), out.numpy())
    assert not out[..., 40:].any()
    tables = (*cpu.TABLES, places)
    products.contract_row(
        memory, tables, given.stored.coded(0), torch.arange(PAGES).numpy(), query.numpy(), found.numpy()
    )
    expected = keys[3:, :, :40] @ query[0, :, :40].T
    torch.testing.assert_close(found[3:], expected, rtol=1e-5, atol=1e-4)


def test_an_order_in_which_a_tokens_place_depends_on_the_channel_is_refused() -> None:
    order = torch.randperm(4 * 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="an order that the loops of the CPU cannot follow"):
        cpu.Raw.ordered(cpu.Stored("float32", 0, 128, 4, 8, 32, 0), order)


@pytest.mark.parametrize("permutes", [True, False])
@pytest.mark.parametrize("dim", [64, 96, 80])
@pytest.mark.parametrize("num_vectors", [1, 5, 40])
@pytest.mark.parametrize("kind", ["sign", "int4", "int8", "float16"])
def test_codes_are_multiplied_as_they_lie(kind: str, num_vectors: int, dim: int, permutes: bool) -> None:
    """Shared queries and each page's own; with sign's tables and, by few vectors at a time, without them."""
    x = torch.randn(PAGES, num_vectors, dim)
    vector_bytes = storage.vector_bytes(kind, dim)
    scales = -(-num_vectors * vector_bytes // 4) * 4
    region = torch.zeros(PAGES, scales + 4 * num_vectors, dtype=torch.uint8)
    region[:, : num_vectors * vector_bytes] = storage.encode(x, kind).flatten(1)
    if storage.scale_bytes(kind):
        region[:, scales:] = storage.quantize(x, kind)[1].contiguous().flatten(1).view(torch.uint8)
    field = cpu.Stored(kind, 0, region.shape[1], num_vectors, dim, vector_bytes, scales)
    pages = torch.arange(PAGES if permutes else 2)
    for each in (1, len(pages)):
        query = torch.randn(each, 5, dim)
        found = torch.empty(len(pages), num_vectors, 5)
        tables = (*cpu.TABLES, torch.zeros(0, dtype=torch.int64).numpy())
        memory = cpu.memory_of(region)
        products.contract_row(memory, tables, field.code, pages.numpy(), query.numpy(), found.numpy())
        values = storage.round_trip(x, kind, along_dim=True)[pages].double()
        expected = torch.einsum("pvd,pqd->pvq", values, query.double().expand(len(pages), -1, -1))
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


def test_infinity_and_no_number_in_a_query_reach_products_with_signs() -> None:
    x = torch.randn(4, 32, 64)
    region = storage.encode(x, "sign").flatten(1).contiguous()
    field = cpu.Stored("sign", 0, region.shape[1], 32, 64, 8, 0)
    query = torch.randn(1, 4, 64)
    query[0, 0, 5], query[0, 1, 7], query[0, 2, 1:3] = float("inf"), float("nan"), float("inf")
    found = cpu.contract(cpu.memory_of(region), field, torch.arange(4)[None], query)[0]
    signs = storage.round_trip(x, "sign", along_dim=True)
    expected = (signs[..., None, :] * query[0]).sum(-1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4, equal_nan=True)
