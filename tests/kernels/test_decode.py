"""Sparse paged decode against torch's own attention."""

from dataclasses import replace

import pytest
import torch

from kernels.decode import PagedCache, Softmax, num_programs, sparse_decode
from kernels.merging import Scratch, at_once
from kernels.selection import BlockLists

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PAGE_SIZE = 16


def make_case(lengths, *, num_kv_heads=1, group=1, head_dim=16, value_dim=None, dtype=torch.float32, seed=0):
    """Random tensors in a cache whose blocks lie in random order and whose unused slots are NaN."""
    generator = torch.Generator().manual_seed(seed)
    max_pages = max(-(-max(lengths) // PAGE_SIZE), 1)
    batch = len(lengths)
    q = torch.randn(batch, num_kv_heads * group, head_dim, generator=generator).to(DEVICE, dtype)
    blocks = torch.randperm(batch * max_pages + 1, generator=generator)[: batch * max_pages]
    table = blocks.reshape(batch, max_pages).int().to(DEVICE)
    shape = (batch * max_pages + 1, num_kv_heads, PAGE_SIZE)
    k = torch.randn(*shape, head_dim, generator=generator).to(DEVICE, dtype)
    v = torch.randn(*shape, value_dim or head_dim, generator=generator).to(DEVICE, dtype)
    for row, length in enumerate(lengths):
        for page in range(max_pages):
            used = min(max(length - page * PAGE_SIZE, 0), PAGE_SIZE)
            k[table[row, page], :, used:] = torch.nan
            v[table[row, page], :, used:] = torch.nan
    return q, PagedCache(k, v, table, torch.tensor(lengths, dtype=torch.int32, device=DEVICE))


def expected(q, cache, lists, scale):
    out = torch.zeros(*q.shape[:2], cache.v.shape[3], dtype=torch.float64, device=q.device)
    num_kv_heads = cache.k.shape[1]
    group = q.shape[1] // num_kv_heads
    for row, pages in enumerate(lists):
        sequence, kv_head = divmod(row, num_kv_heads)
        length = int(cache.seq_lens[sequence])
        tokens = [t for page in pages for t in range(page * 16, min(page * 16 + 16, length))]
        if not tokens:
            continue
        block = [int(cache.block_table[sequence, t // 16]) for t in tokens]
        slot = [t % 16 for t in tokens]
        heads = slice(kv_head * group, (kv_head + 1) * group)
        logits = q[sequence, heads].double() @ cache.k[block, kv_head, slot].double().T * scale
        out[sequence, heads] = logits.softmax(-1) @ cache.v[block, kv_head, slot].double()
    return out


def as_lists(lists, cache):
    """Give the blocks of each row's pages; what is not used is out of range."""
    num_kv_heads, max_pages = cache.k.shape[1], cache.block_table.shape[1]
    blocks = torch.full((len(lists), max_pages), 2**30, dtype=torch.int32)
    tokens = []
    for row, pages in enumerate(lists):
        sequence = row // num_kv_heads
        blocks[row, : len(pages)] = cache.block_table.cpu()[sequence, pages]
        tokens.append(sum(min(int(cache.seq_lens[sequence]) - page * PAGE_SIZE, PAGE_SIZE) for page in pages))
    return BlockLists(blocks.to(DEVICE), torch.tensor(tokens, dtype=torch.int32, device=DEVICE))


def check(lengths, lists, tolerance=2e-6, **shape):
    q, cache = make_case(lengths, **shape)
    scale = q.shape[2] ** -0.5
    out = sparse_decode(q, cache, as_lists(lists, cache), Softmax(scale))
    assert out.dtype == q.dtype
    torch.testing.assert_close(out.double(), expected(q, cache, lists, scale), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("num_kv_heads", "group"), [(2, 1), (1, 4), (1, 8), (1, 5), (1, 40)])
def test_each_kv_head_attends_to_its_own_pages(num_kv_heads, group):
    lists = [[], [0], [0, 2, 6], [0, 1, 4, 8, 9]]
    check(
        [0, 1, 100, 150],
        [pages for pages in lists for _ in range(num_kv_heads)],
        num_kv_heads=num_kv_heads,
        group=group,
    )


def test_kv_heads_may_choose_differently():
    check([100, 64], [[0, 5, 6], [0, 1, 2, 5, 6], [3], [0, 1]], num_kv_heads=2, group=2)


@pytest.mark.parametrize(("head_dim", "value_dim"), [(80, 80), (144, 144), (576, 512)])
def test_head_dims_that_are_no_power_of_two(head_dim, value_dim):
    check([40], [[0, 1, 2]], tolerance=5e-6, group=2, head_dim=head_dim, value_dim=value_dim)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    check([100], [[0, 3, 6]], tolerance=2e-2, group=4, dtype=dtype)


def test_a_list_longer_than_one_part_is_combined():
    check([16 * 37 + 5], [list(range(38))], tolerance=4e-6, group=2)
    check([16 * 37 + 5], [[0, *range(5, 36), 37]], tolerance=4e-6, group=2)


def test_more_parts_are_combined_than_are_read_at_once():
    check([16 * 90 + 5], [list(range(91))], tolerance=4e-6, group=3, value_dim=24)


def test_a_batch_of_none_gives_nothing():
    q, cache = make_case([40], num_kv_heads=2)
    none = PagedCache(cache.k, cache.v, cache.block_table[:0], cache.seq_lens[:0])
    assert sparse_decode(q[:0], none, None, Softmax(0.25)).shape == (0, 2, 16)
    lists = BlockLists(cache.block_table[:0], cache.seq_lens[:0])
    assert sparse_decode(q[:0], none, lists, Softmax(0.25)).shape == (0, 2, 16)


@pytest.mark.parametrize("length", [40, 400])  # of one part, and of several
def test_a_key_that_is_no_number_is_not_told_as_zeros(length):
    q, cache = make_case([length], num_kv_heads=2)
    cache.k[cache.block_table[0, 1], 1, 3, 5] = torch.nan
    out = sparse_decode(q, cache, None, Softmax(0.25))
    assert out[0].isnan().any(-1).tolist() == [False, True]
    assert out[0, 1].isnan().all()


def test_a_grid_takes_no_more_programs_of_a_row_than_a_card():
    parts = torch.empty(1, 100_000, 1, 1, device="meta")
    lists = BlockLists(torch.empty(1, 1), torch.empty(1), expected=10**7)
    assert num_programs(Scratch(parts, parts, parts, 2**24), lists, 16, 128) == 65535


def test_a_row_does_not_depend_on_its_batch():
    q, cache = make_case([150, 100, 400], group=4)
    lists = as_lists([[0, 2, 9], [0, 1, 6], list(range(25))], cache)
    together = sparse_decode(q, cache, lists, Softmax(0.25))
    alone = PagedCache(cache.k, cache.v, cache.block_table[:1], cache.seq_lens[:1])
    one = BlockLists(lists.blocks[:1, :10], lists.tokens[:1])
    assert torch.equal(sparse_decode(q[:1], alone, one, Softmax(0.25)), together[:1])


def test_a_list_of_every_page_is_dense_attention_bit_for_bit():
    lengths = [0, 7, 300, 600]
    q, cache = make_case(lengths, num_kv_heads=2, group=3)
    lists = as_lists([list(range(-(-length // 16))) for length in lengths for _ in range(2)], cache)
    assert torch.equal(sparse_decode(q, cache, lists, Softmax(0.25)), sparse_decode(q, cache, None, Softmax(0.25)))


@pytest.mark.parametrize("shape", [{"group": 2}, {"group": 3, "value_dim": 24}, {"group": 40}, {"head_dim": 144}])
def test_rows_put_together_by_their_last_program_are_those_of_a_launch_bit_for_bit(shape, monkeypatch):
    """Lists with counters are attended to twice, as layers that share them do; none and one part among them."""
    monkeypatch.setattr("kernels.decode.MOST_MERGED", 2**20)
    lengths = [0, 7, 300, 16 * 70]
    q, cache = make_case(lengths, num_kv_heads=2, **shape)
    lists = as_lists([list(range(-(-length // 16))) for length in lengths for _ in range(2)], cache)
    apart = sparse_decode(q, cache, lists, Softmax(0.25))
    arrived = torch.zeros(len(lengths) * 2, dtype=torch.int32, device=DEVICE)
    for _ in range(2):
        assert torch.equal(sparse_decode(q, cache, replace(lists, arrived=arrived), Softmax(0.25)), apart)
        assert not arrived.any()


@pytest.mark.parametrize("programs", [1, 2, 3, 9])  # of a row: parts are shared by fewer, by some, and by one each
@pytest.mark.parametrize("order", ["from_the_start", "from_the_end"])
def test_whoever_is_last_puts_a_row_together_alike(request, monkeypatch, programs, order):
    """In a launch of which rows have no part, one, and more or fewer than programs."""
    lengths = [0, 7, 300, 16 * 70]
    q, cache = make_case(lengths, num_kv_heads=2, group=3)
    lists = as_lists([list(range(-(-length // 16))) for length in lengths for _ in range(2)], cache)
    apart = sparse_decode(q, cache, lists, Softmax(0.25))
    monkeypatch.setattr("kernels.decode.num_programs", lambda *_: programs)
    if order == "from_the_end":
        request.getfixturevalue(order)
    arrived = torch.zeros(len(lengths) * 2, dtype=torch.int32, device=DEVICE)
    out = torch.full_like(q, torch.nan)
    assert torch.equal(sparse_decode(q, cache, replace(lists, arrived=arrived), Softmax(0.25), out), apart)
    assert not arrived.any()


@pytest.mark.parametrize("short", ["blocks", "tokens", "arrived"])
def test_a_batch_with_more_rows_than_lists_is_refused(short):
    q, cache = make_case([40, 40], num_kv_heads=2)
    lists = replace(as_lists([[0]] * 4, cache), arrived=torch.zeros(4, dtype=torch.int32, device=DEVICE))
    assert sparse_decode(q, cache, lists, Softmax(0.25)).shape == q.shape
    with pytest.raises(ValueError, match="a batch of 4 rows, one per sequence and KV head, attends to lists of"):
        sparse_decode(q, cache, replace(lists, **{short: getattr(lists, short)[:3]}), Softmax(0.25))


@pytest.mark.parametrize(("num", "room", "most"), [(4, 4, 4), (40, 39, 32), (40, 5, 5), (2, 0, 1), (0, 9, 1)])
def test_what_parts_leave_has_a_bound(monkeypatch, num, room, most):
    """Whole sixteens where there are as many, so that pointers to their numbers are as aligned as to the first."""
    monkeypatch.setattr("kernels.merging.MOST_BYTES", 1000 * room + 999)
    assert at_once(num, 1000) == most


def test_sequences_that_attend_one_after_the_other_change_no_bit(monkeypatch):
    lengths = [300, 40, 0, 120, 299]
    q, cache = make_case(lengths, num_kv_heads=2, group=2)
    pages = [[*range(-(-length // PAGE_SIZE))][:: 1 + kv_head] for length in lengths for kv_head in range(2)]
    lists = replace(as_lists(pages, cache), arrived=torch.zeros(10, dtype=torch.int32, device=DEVICE))
    tally = torch.zeros(10, 6, dtype=torch.int64, device=DEVICE)
    whole = [sparse_decode(q, cache, each, Softmax(0.25)) for each in (lists, None)]
    monkeypatch.setattr("kernels.merging.MOST_BYTES", 1)
    assert torch.equal(sparse_decode(q, cache, lists, Softmax(0.25)), whole[0])
    assert torch.equal(sparse_decode(q, cache, None, Softmax(0.25), None, tally), whole[1])
    assert tally[:, 4].tolist() == [1, 1, 1, 1, 0, 0, 1, 1, 1, 1]


def test_programs_that_take_turns_change_no_bit(monkeypatch):
    q, cache = make_case([16 * 60], group=2)
    apart = sparse_decode(q, cache, None, Softmax(0.25))
    monkeypatch.setattr("kernels.decode.PROGRAMS_PER_PROCESSOR", 1)
    monkeypatch.setattr("kernels.decode.num_processors", lambda _: 2)
    assert torch.equal(sparse_decode(q, cache, None, Softmax(0.25)), apart)


@pytest.mark.skipif(torch.cuda.is_available(), reason="on CUDA no order is to be had")
@pytest.mark.parametrize("window", [0, 400])
def test_no_order_of_programs_changes_a_bit(request, window):
    q, cache = make_case([16 * 60, 300, 0, 16 * 20], num_kv_heads=2, group=3)
    softmax = Softmax(0.25, window=window)
    before = sparse_decode(q, cache, None, softmax)
    request.getfixturevalue("from_the_end")
    assert torch.equal(sparse_decode(q, cache, None, softmax), before)


def test_keys_and_values_in_float8_stand_for_numbers_times_a_scale():
    q, cache = make_case([100, 30], group=4)
    k, v = (x.nan_to_num(nan=0.0).to(torch.float8_e4m3fn) for x in (cache.k, cache.v))
    stored = PagedCache(k, v, cache.block_table, cache.seq_lens, k_scale=0.5, v_scale=3.0)
    meant = PagedCache(k.float() * 0.5, v.float() * 3.0, cache.block_table, cache.seq_lens)
    lists = as_lists([[0, 3, 6], [0, 1]], cache)
    got, expected = (sparse_decode(q, each, lists, Softmax(0.25)) for each in (stored, meant))
    torch.testing.assert_close(got, expected, atol=2e-6, rtol=2e-6)


def test_the_output_is_written_where_it_is_asked_for_and_dense_steps_are_counted():
    q, cache = make_case([100, 0], num_kv_heads=2, group=2)
    out = torch.full((2, 6, 16), 7.0, device=DEVICE)
    tally = torch.zeros(4, 6, dtype=torch.int64, device=DEVICE)
    given = sparse_decode(q, cache, None, Softmax(0.25), out[:, 1:5], tally)
    assert given.data_ptr() == out[:, 1:5].data_ptr()
    assert torch.equal(out[:, 1:5], sparse_decode(q, cache, None, Softmax(0.25)))
    assert (out[:, 0] == 7).all()
    assert (out[1, 1:5] == 0).all()
    assert tally[:, 4].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(("window", "cap"), [(0, 1.5), (5, 0.0), (40, 2.0), (700, 0.0)])
def test_a_window_and_a_cap_are_those_of_torch(window, cap):
    q, cache = make_case([600, 33, 3, 0], num_kv_heads=2, group=2)
    got = sparse_decode(q, cache, None, Softmax(0.25, cap, window))
    for sequence, length in enumerate([600, 33, 3]):
        blocks = cache.block_table[sequence, : -(-length // 16)].long()
        k, v = (x[blocks].transpose(0, 1).flatten(1, 2)[:, :length][:, -window:].double() for x in (cache.k, cache.v))
        logits = torch.einsum("hgd,htd->hgt", q[sequence].unflatten(0, (2, 2)).double(), k) * 0.25
        weights = (cap * (logits / cap).tanh() if cap else logits).softmax(-1)
        expected = torch.einsum("hgt,htd->hgd", weights, v).flatten(0, 1)
        torch.testing.assert_close(got[sequence].double(), expected, atol=2e-6, rtol=2e-6)
    assert (got[3] == 0).all()
