"""The compiled loops of a CPU against what storage kinds and selections mean."""

import numpy as np
import pytest
import torch

from kernels.host import cpu, products
from kernels.host.compiled import compiled
from vortex_dsl import storage
from vortex_dsl.ops.selection import _best, _room

NUM_PAGES, VECTORS = 40, 3
ODD = (float("inf"), -float("inf"), float("nan"), 1e-7, -0.0, 3e-5, 1000.0)


def stored(kind: str, length: int) -> tuple[cpu.Views, cpu.Stored, torch.Tensor]:
    """Give a memory that holds one field among bytes of no meaning, its place, and what reading it has to give."""
    x = torch.randn(NUM_PAGES, VECTORS, length)
    if not storage.scale_bytes(kind):
        x[0, 0, : len(ODD)] = torch.tensor(ODD)[:length]
    vector_bytes = storage.vector_bytes(kind, length)
    offset, scales = 16, -(-(16 + VECTORS * vector_bytes) // 4) * 4
    region = torch.randint(0, 255, (NUM_PAGES, -(-(scales + 4 * VECTORS) // 16) * 16), dtype=torch.uint8)
    region[:, offset : offset + VECTORS * vector_bytes] = storage.encode(x, kind).flatten(1)
    if storage.scale_bytes(kind):
        factors = storage.quantize(x, kind)[1].contiguous().flatten(1)
        region[:, scales : scales + 4 * VECTORS] = factors.view(torch.uint8)
    field = cpu.Stored(kind, offset, region.shape[1], VECTORS, length, vector_bytes, scales)
    return cpu.memory_of(region), field, storage.round_trip(x, kind, along_dim=True)


@pytest.mark.parametrize("length", [7, 64])
@pytest.mark.parametrize("kind", cpu.KINDS)
def test_a_field_is_read_as_its_storage_says(kind: str, length: int) -> None:
    memory, field, expected = stored(kind, length)
    pages = torch.randint(0, NUM_PAGES, (4, 9))
    assert torch.equal(
        cpu.gather(memory, field, pages).nan_to_num(7.0, 8.0, 9.0), expected[pages].nan_to_num(7.0, 8.0, 9.0)
    )


@pytest.mark.parametrize("length", [24, 64])
@pytest.mark.parametrize("num_queries", [1, 3, 4, 5, 6])
@pytest.mark.parametrize("kind", cpu.KINDS)
def test_a_contraction_is_the_product_with_what_is_read(kind: str, num_queries: int, length: int) -> None:
    memory, field, values = stored(kind, length)
    pages, query = torch.randint(1, NUM_PAGES, (4, 70)), torch.randn(4, num_queries, length)
    expected = torch.einsum("rqd,rpvd->rpvq", query.double(), values[pages].double())
    torch.testing.assert_close(cpu.contract(memory, field, pages, query).double(), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("num_queries", range(1, 8))
@pytest.mark.parametrize("num_pages", [1, 2, 5, 6])
def test_a_contraction_stores_nothing_beside_its_products(num_queries: int, num_pages: int) -> None:
    memory, field, _ = stored("int4", 64)
    size, beside = num_pages * VECTORS * num_queries, 32
    room, query = np.full(size + 2 * beside, 7.5, np.float32), torch.randn(1, num_queries, 64).numpy()
    out = room[beside : beside + size].reshape(num_pages, VECTORS, num_queries)
    products.contract_row(memory, (*cpu.TABLES, np.zeros(0, np.int64)), field.code, np.arange(num_pages), query, out)
    assert (room[:beside] == 7.5).all()
    assert (room[beside + size :] == 7.5).all()
    assert (out != 7.5).all()


def test_infinity_and_no_number_reach_the_product() -> None:
    memory, field, values = stored("bfloat16", 64)
    query = torch.ones(1, 1, 64)
    found = cpu.contract(memory, field, torch.zeros(1, 1, dtype=torch.int64), query)[0, 0, :, 0]
    assert values[0, 0].isnan().any()
    assert found.isnan().tolist() == [True, False, False]


@pytest.mark.parametrize("rows", [1, 16])
def test_the_best_pages_are_those_of_the_meaning(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    for trial in range(30):
        score = torch.randn(rows, 60, generator=generator).round(decimals=trial % 3)
        score[:, trial % 7 :: 7] = (float("nan"), -float("inf"), 0.0, -0.0, float("inf"))[trial % 5]
        allowed = torch.rand(rows, 60, generator=generator) < 0.9
        num = torch.randint(-2, 70, (rows,), generator=generator) + 0.5
        num[0] = (float("nan"), 0.0, float("inf"), 5.0)[trial % 4]
        assert torch.equal(cpu.best(score, allowed, num), _best(score, allowed, _room(num, allowed)))


def test_one_score_and_one_number_do_for_all_rows() -> None:
    score, allowed = torch.randn(1, 30), torch.rand(5, 30) < 0.5
    num = torch.tensor([4.0])
    assert torch.equal(cpu.best(score, allowed, num), _best(score, allowed, _room(num, allowed)))


def test_lists_hold_the_attended_pages_in_order() -> None:
    attended = torch.tensor([[True, False, True, True], [False, True, True, False]])
    pages = torch.tensor([[7, 8, 9, 10], [20, 21, 22, 0]])
    table, tokens, total = cpu.list_pages(attended, pages, torch.tensor([13, 9]), page_size=4)
    assert table[:, :3].tolist() == [[7, 9, 10], [21, 22, 0]]
    assert tokens.tolist() == [9, 5]
    assert total == 5


def test_where_nothing_can_be_kept_it_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(dispatcher: object) -> None:
        asked.append(dispatcher)
        raise RuntimeError("no locator available for file")

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", refuse)
    assert compiled(lambda x: x + 1)(1) == 2
    assert len(asked) == 1
