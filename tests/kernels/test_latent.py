"""Sparse paged decode over latents against torch's own attention."""

import pytest
import torch

from kernels.decode import PagedCache, Softmax
from kernels.latent import SMALL, UNMEASURED, latent_decode, latent_tiling
from kernels.selection import BlockLists

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PAGE_SIZE = 16
SCALE = 0.2


def make_case(lengths, *, num_heads=16, value_dim=32, rotated_dim=16, page_size=PAGE_SIZE, dtype=torch.float32):
    """Random latents in pages that lie in random order with other bytes behind them; unused slots are NaN."""
    generator, batch = torch.Generator().manual_seed(len(lengths)), len(lengths)
    max_pages, latent_dim = max(-(-max(lengths) // page_size), 1), value_dim + rotated_dim
    blocks = torch.randperm(batch * max_pages + 1, generator=generator)[: batch * max_pages]
    table = blocks.reshape(batch, max_pages).int().to(DEVICE)
    whole = torch.randn(batch * max_pages + 1, page_size * latent_dim + 24, generator=generator).to(DEVICE, dtype)
    latents = whole[:, : page_size * latent_dim].unflatten(1, (1, page_size, latent_dim))
    for row, length in enumerate(lengths):
        for page in range(max_pages):
            used = min(max(length - page * page_size, 0), page_size)
            latents[table[row, page], :, used:] = torch.nan
    q = torch.randn(batch, num_heads, latent_dim, generator=generator).to(DEVICE, dtype)
    lengths = torch.tensor(lengths, dtype=torch.int32, device=DEVICE)
    return q, PagedCache(latents, latents[..., :value_dim], table, lengths)


def as_lists(lists, cache):
    """Give the blocks of each sequence's pages; what is not used is out of range."""
    size = cache.k.shape[2]
    blocks = torch.full(cache.block_table.shape, 2**30, dtype=torch.int32)
    lengths = cache.seq_lens.tolist()
    for row, pages in enumerate(lists):
        blocks[row, : len(pages)] = cache.block_table.cpu()[row, pages]
    tokens = [
        sum(min(length - page * size, size) for page in pages) for length, pages in zip(lengths, lists, strict=True)
    ]
    return BlockLists(blocks.to(DEVICE), torch.tensor(tokens, dtype=torch.int32, device=DEVICE))


def expected(q, cache, lists):
    """Attend to the tokens of the listed pages in double precision."""
    size, value_dim = cache.k.shape[2], cache.v.shape[3]
    out = torch.zeros(*q.shape[:2], value_dim, dtype=torch.float64, device=q.device)
    for row, pages in enumerate(lists):
        length = int(cache.seq_lens[row])
        some = [cache.k[cache.block_table[row, page], 0, : length - page * size] for page in pages]
        if some:
            latents = torch.cat(some).double()
            out[row] = (q[row].double() @ latents.T * SCALE).softmax(-1) @ latents[:, :value_dim]
    return out


def test_a_batch_of_none_gives_nothing():
    q, cache = make_case([40])
    none = PagedCache(cache.k, cache.v, cache.block_table[:0], cache.seq_lens[:0])
    assert latent_decode(q[:0], none, None, Softmax(SCALE)).shape == (0, 16, 32)


@pytest.mark.parametrize(
    ("num_heads", "value_dim", "rotated_dim", "page_size"),
    [(16, 32, 16, 16), (20, 32, 8, 16), (4, 16, 0, 16), (70, 32, 16, 32), (16, 512, 64, 16), (3, 48, 20, 64)],
)
def test_all_heads_attend_to_the_listed_pages(num_heads, value_dim, rotated_dim, page_size):
    """Whatever the number of heads and the widths, powers of two or not, and with nothing listed at all."""
    lengths, lists = [4 * page_size + 5, 1, 0], [[0, 2, 4], [0], []]
    shape = {"num_heads": num_heads, "value_dim": value_dim, "rotated_dim": rotated_dim, "page_size": page_size}
    q, cache = make_case(lengths, **shape)
    out = latent_decode(q, cache, as_lists(lists, cache), Softmax(SCALE))
    assert out.shape == (3, num_heads, value_dim)
    torch.testing.assert_close(out.double(), expected(q, cache, lists), atol=4e-6, rtol=4e-6)


@pytest.mark.parametrize("num_heads", [16, 32])
def test_parts_are_combined_and_a_covering_list_is_dense_attention_bit_for_bit(num_heads):
    q, cache = make_case([700, 256, 257, 0], num_heads=num_heads)
    every = [list(range(-(-length // PAGE_SIZE))) for length in (700, 256, 257, 0)]
    dense = latent_decode(q, cache, None, Softmax(SCALE))
    assert torch.equal(latent_decode(q, cache, as_lists(every, cache), Softmax(SCALE)), dense)
    torch.testing.assert_close(dense.double(), expected(q, cache, every), atol=4e-6, rtol=4e-6)


def test_a_row_depends_on_neither_its_batch_nor_the_programs_that_share_its_parts(monkeypatch):
    q, cache = make_case([150, 600])
    lists = as_lists([[0, 2, 9], list(range(38))], cache)
    together = latent_decode(q, cache, lists, Softmax(SCALE))
    monkeypatch.setattr("kernels.decode.PROGRAMS_PER_PROCESSOR", 1)
    monkeypatch.setattr("kernels.decode.num_processors", lambda _: 2)
    alone = PagedCache(cache.k, cache.v, cache.block_table[1:], cache.seq_lens[1:])
    one = BlockLists(lists.blocks[1:], lists.tokens[1:])
    assert torch.equal(latent_decode(q[1:], alone, one, Softmax(SCALE)), together[1:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    q, cache = make_case([100], dtype=dtype)
    lists = [[0, 3, 6]]
    out = latent_decode(q, cache, as_lists(lists, cache), Softmax(SCALE))
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), expected(q, cache, lists), atol=2e-2, rtol=2e-2)


def test_latents_in_float8_stand_for_numbers_times_a_scale():
    q, cache = make_case([100, 30])
    codes = cache.k.nan_to_num(nan=0.0).to(torch.float8_e4m3fn)
    numbers = codes.float() * 0.5
    stored = PagedCache(codes, codes[..., :32], cache.block_table, cache.seq_lens, k_scale=0.5, v_scale=0.5)
    meant = PagedCache(numbers, numbers[..., :32], cache.block_table, cache.seq_lens)
    lists = as_lists([[0, 3, 6], [0, 1]], cache)
    got, wanted = (latent_decode(q, each, lists, Softmax(SCALE)) for each in (stored, meant))
    torch.testing.assert_close(got, wanted, atol=2e-6, rtol=2e-6)


def test_the_output_is_written_where_it_is_asked_for_and_dense_steps_are_counted():
    q, cache = make_case([100, 0, 300])
    out = torch.full((3, 18, 32), 7.0, device=DEVICE)
    tally = torch.zeros(3, 6, dtype=torch.int64, device=DEVICE)
    given = latent_decode(q, cache, None, Softmax(SCALE), out[:, 1:17], tally)
    assert given.data_ptr() == out[:, 1:17].data_ptr()
    assert torch.equal(out[:, 1:17], latent_decode(q, cache, None, Softmax(SCALE)))
    assert (out[:, [0, 17]] == 7).all()
    assert (out[1, 1:17] == 0).all()
    assert tally[:, 4].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("softmax", "value_dim"), [(Softmax(1.0, cap=2.0), 32), (Softmax(1.0, window=8), 32), (Softmax(1.0), 1024)]
)
def test_what_latents_are_not_attended_to_with_is_refused(softmax, value_dim):
    q, cache = make_case([5], value_dim=value_dim)
    with pytest.raises(ValueError, match="use sparse_decode"):
        latent_decode(q, cache, None, softmax)


def test_sequences_that_attend_one_after_the_other_change_no_bit(monkeypatch):
    q, cache = make_case([300, 40, 0])
    lists = as_lists([[0, 3, 5], [1], []], cache)
    whole = [latent_decode(q, cache, each, Softmax(SCALE)) for each in (lists, None)]
    monkeypatch.setattr("kernels.merging.MOST_BYTES", 1)
    tally = torch.zeros(3, 6, dtype=torch.int64, device=DEVICE)
    assert torch.equal(latent_decode(q, cache, lists, Softmax(SCALE)), whole[0])
    assert torch.equal(latent_decode(q, cache, None, Softmax(SCALE), None, tally), whole[1])
    assert tally[:, 4].tolist() == [1, 1, 0]


def test_a_batch_with_more_sequences_than_lists_is_refused():
    q, cache = make_case([40, 40])
    with pytest.raises(ValueError, match="a batch of 2 rows"):
        latent_decode(q, cache, BlockLists(cache.block_table[:1], cache.seq_lens[:1]), Softmax(SCALE))


@pytest.mark.parametrize(("dtype", "room", "cut"), [
    (torch.bfloat16, 227, UNMEASURED), (torch.float8_e4m3fn, 227, UNMEASURED), (torch.float32, 227, SMALL),
    (torch.bfloat16, 163, SMALL), (torch.bfloat16, 99, SMALL),
])  # fmt: skip
def test_what_is_cut_fits_into_a_cards_shared_memory(monkeypatch, dtype, room, cut):
    """Of a card of workstations, 99 KiB, or of a data centre: an A100's 163 KiB, a Hopper card's 227."""
    monkeypatch.setattr("kernels.latent.shared_bytes", lambda _: room * 1024)
    assert latent_tiling(torch.empty(1, 1, 16, 576, dtype=dtype), torch.empty(1, 20, 576)) == cut


def test_every_cut_gives_the_same_within_rounding(monkeypatch):
    q, cache = make_case([600, 33, 0])
    large = latent_decode(q, cache, None, Softmax(SCALE))
    monkeypatch.setattr("kernels.latent.shared_bytes", lambda _: 0)
    torch.testing.assert_close(latent_decode(q, cache, None, Softmax(SCALE)), large, atol=2e-6, rtol=2e-6)
