"""Page selection against a plain statement of the rule, in Python."""

import math

import pytest
import torch

from kernels.listing import list_chosen, list_pages
from kernels.nucleus import nucleus
from kernels.selection import Listing, Pages, Ranking, choose, empty_lists, empty_page_lists, list_best

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LENGTHS = [0, 1, 17, 64, 100, 150]


def make_pages(lengths, *, num_kv_heads=1, page_size=16, sink=1, window=2):
    num_pages = max(max(lengths) + page_size - 1, page_size) // page_size
    seq_lens = torch.tensor(lengths, dtype=torch.int32, device=DEVICE)
    return Pages(seq_lens, num_kv_heads, num_pages, page_size, sink, window)


def candidates(length, pages):
    num_pages = -(-length // pages.page_size)
    return [i for i in range(num_pages) if pages.sink <= i < num_pages - pages.window]


def by_falling_score(scores, among):
    return sorted(among, key=lambda i: (math.inf if math.isnan(scores[i]) else -scores[i], i))


def best(scores, among, n):
    n = 0 if math.isnan(n) else math.floor(min(max(n, 0), len(among)))
    return set(by_falling_score(scores, among)[:n])


def rows_of(chosen):
    return [{i for i, one in enumerate(row) if one} for row in chosen.tolist()]


def full(pages, number):
    return torch.full((pages.num_rows,), float(number), device=DEVICE)


@pytest.mark.parametrize("n", [0, 1, 2.9, 3, 100, -1, math.nan, math.inf])
def test_choose_takes_the_best_candidates_of_each_row(n):
    pages = make_pages(LENGTHS, num_kv_heads=2)
    scores = torch.randn(pages.num_rows, pages.max_pages, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    expected = [best(scores[row].tolist(), candidates(LENGTHS[row // 2], pages), n) for row in range(pages.num_rows)]
    assert rows_of(choose(Ranking(scores, n), pages)) == expected


@pytest.mark.parametrize("n", [1, 7, 40, 88])
@pytest.mark.parametrize("length", [16 * 91, 16 * 40_000])  # one tile of pages, and several
def test_scores_that_differ_in_their_last_bits_alone_are_told_apart(n, length):
    """The first digits of their keys decide nothing; with one larger score, and one of each, they decide some."""
    pages = make_pages([length])
    scores = 1.0 + torch.randperm(pages.max_pages, generator=torch.Generator().manual_seed(n))[None].float() * 2.0**-23
    scores[0, 5], scores[0, 9] = 7.0, -7.0
    expected = best(scores[0].tolist(), candidates(length, pages), n)
    assert rows_of(choose(Ranking(scores.to(DEVICE), n), pages)) == [expected]


SPECIAL = [0.0, -0.0, math.nan, -math.inf, math.inf, 1e-42, -1e-42, 1.0, 1.0, -1.0]


@pytest.mark.parametrize("n", range(8))
def test_ties_go_to_the_lower_index_and_nan_is_minus_infinity(n):
    pages = make_pages([160], sink=0, window=1)
    for shift in range(len(SPECIAL)):
        scores = torch.tensor([SPECIAL[shift:] + SPECIAL[:shift]], device=DEVICE)
        expected = best(scores[0].tolist(), candidates(160, pages), n)
        assert rows_of(choose(Ranking(scores, n), pages)) == [expected]


def test_more_pages_than_a_tile_holds(monkeypatch):
    monkeypatch.setattr("kernels.selection.BLOCK_PAGES", 16)
    pages = make_pages([16 * 45 + 3, 16 * 30])
    scores = torch.randint(-3, 4, (2, pages.max_pages), generator=torch.Generator().manual_seed(2)).float().to(DEVICE)
    expected = [best(scores[row].tolist(), candidates(n, pages), 11) for row, n in enumerate([16 * 45 + 3, 16 * 30])]
    chosen = choose(Ranking(scores, full(pages, 11)), pages)
    assert rows_of(chosen) == expected
    lists = [sorted(expected[0] | {0, 44, 45}), sorted(expected[1] | {0, 28, 29})]
    table = shuffled(pages)
    assert listed(list_pages(chosen, pages, Listing(table)), table, pages) == lists
    assert listed(list_best(Ranking(scores, 11), pages, Listing(table)), table, pages) == lists


@pytest.mark.parametrize("block_pages", [4096, 4])  # one tile of pages, and several
def test_whoever_lists_pages_sets_the_counters_of_all_rows_to_0(monkeypatch, block_pages):
    """Whatever a step that was cut off has left: of rows without tokens too, and where none is scored."""

    def left(pages):
        lists = empty_lists(pages)
        lists.arrived.fill_(5)
        return lists

    monkeypatch.setattr("kernels.selection.BLOCK_PAGES", block_pages)
    monkeypatch.setattr("kernels.selection.empty_lists", left)
    monkeypatch.setattr("kernels.listing.empty_lists", left)
    pages = make_pages(LENGTHS, num_kv_heads=2)
    scores, listing = torch.randn(pages.num_rows, pages.max_pages, device=DEVICE), Listing(shuffled(pages))
    chosen = choose(Ranking(scores, 2), pages)
    made = [list_best(Ranking(scores, n), pages, listing) for n in (0, 2, 100)]
    for lists in [*made, list_pages(chosen, pages, listing), list_pages(None, pages, listing)]:
        assert lists.arrived.tolist() == [0] * pages.num_rows


def test_garbage_beyond_the_complete_pages_changes_nothing():
    pages = make_pages([100, 17])
    scores = torch.randn(2, pages.max_pages, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    dirty = scores.clone()
    dirty[0, 6:] = math.nan
    dirty[1, 1:] = math.inf
    assert torch.equal(choose(Ranking(scores, 2), pages), choose(Ranking(dirty, 2), pages))


def test_above_takes_the_best_of_those_above_the_threshold():
    pages = make_pages(LENGTHS)
    scores = torch.randn(6, pages.max_pages, generator=torch.Generator().manual_seed(4)).to(DEVICE)
    scores[5, 3] = math.nan
    expected = []
    for row, length in enumerate(LENGTHS):
        values = scores[row].tolist()
        expected.append(best(values, [i for i in candidates(length, pages) if values[i] > 0.1], 2))
    assert rows_of(choose(Ranking(scores, 2, threshold=full(pages, 0.1)), pages)) == expected


@pytest.mark.parametrize("window", [0, 2])
@pytest.mark.parametrize("n", [0, 3, 100])
@pytest.mark.parametrize("block_pages", [4096, 4])
def test_what_is_chosen_is_listed_too_where_it_is_complete(monkeypatch, block_pages, n, window):
    """In the order of pages, from scores with ties, and from flags of which some are of no candidates."""
    monkeypatch.setattr("kernels.selection.BLOCK_PAGES", block_pages)
    pages = make_pages(LENGTHS, window=window)
    scores = torch.randint(0, 3, (6, pages.max_pages), generator=torch.Generator().manual_seed(7)).float().to(DEVICE)
    lists, again = empty_page_lists(pages, 16), empty_page_lists(pages, 16)
    chosen = choose(Ranking(scores, n), pages, lists)
    assert torch.equal(chosen, choose(Ranking(scores, n), pages))
    complete = [
        [i for i in sorted(row) if i < length // 16] for row, length in zip(rows_of(chosen), LENGTHS, strict=True)
    ]
    assert [row[:num] for row, num in zip(lists.pages.tolist(), lists.num.tolist(), strict=True)] == complete
    chosen[:, 0] = 1  # the sink
    list_chosen(chosen, pages, again)
    assert [row[:num] for row, num in zip(again.pages.tolist(), again.num.tolist(), strict=True)] == complete


def test_refine_chooses_among_those_already_chosen():
    pages = make_pages([150, 160])
    generator = torch.Generator().manual_seed(5)
    coarse, fine = torch.randn(2, 2, pages.max_pages, generator=generator).to(DEVICE)
    first = choose(Ranking(coarse, 4), pages)
    among = rows_of(first)
    expected = [best(fine[row].tolist(), among[row], 2) for row in range(2)]
    assert rows_of(choose(Ranking(fine, 2, among=first), pages)) == expected


def nucleus_size(scores, length, p, pages):
    complete = torch.tensor(scores[: length // pages.page_size], dtype=torch.float64)
    complete = complete.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    mass = complete.softmax(0) if (complete > -math.inf).any() else torch.zeros_like(complete)
    order = by_falling_score(scores, candidates(length, pages))
    taken = float(mass.sum()) - sum(float(mass[i]) for i in order)
    for count, page in enumerate(order):
        if not taken < p:  # nor where p is not a number
            return count
        taken += float(mass[page])
    return len(order)


@pytest.mark.parametrize("block_pages", [4096, 4])
@pytest.mark.parametrize("p", [-1.0, 0.0, 0.3, 0.7, 0.95, 2.0, math.nan])
def test_nucleus_counts_pages_until_the_mass_is_reached(monkeypatch, p, block_pages):
    monkeypatch.setattr("kernels.selection.BLOCK_PAGES", block_pages)
    pages = make_pages(LENGTHS)
    scores = torch.randn(6, pages.max_pages, generator=torch.Generator().manual_seed(6)) * 2
    scores[5, 4] = scores[5, 5] = scores[5, 2]
    scores[5, 6] = math.nan
    scores[4] = -math.inf
    expected = [nucleus_size(scores[row].tolist(), n, p, pages) for row, n in enumerate(LENGTHS)]
    counted = nucleus(scores.to(DEVICE), full(pages, p), full(pages, 100), pages)
    assert counted.tolist() == expected


def test_nucleus_never_exceeds_the_limit():
    pages = make_pages([150])
    scores = torch.zeros(1, pages.max_pages, device=DEVICE)
    assert nucleus(scores, full(pages, 1.5), full(pages, 2.5), pages).item() == 2.5


def shuffled(pages):
    """Give each sequence blocks of its own, in no order."""
    batch = pages.seq_lens.shape[0]
    blocks = torch.randperm(batch * pages.max_pages, generator=torch.Generator().manual_seed(8))
    return blocks.reshape(batch, pages.max_pages).int().to(DEVICE)


def listed(lists, table, pages):
    """Give the pages whose blocks each row lists."""
    found = []
    for row, tokens in enumerate(lists.tokens.tolist()):
        page_of = {block: page for page, block in enumerate(table[row // pages.num_kv_heads].tolist())}
        blocks = lists.blocks[row, : -(-tokens // pages.page_size)].tolist()
        found.append([page_of[block] for block in blocks])
    return found


def attended(lengths, pages, score, n):
    """Give the reserved pages and the best candidates of each row, in order."""
    rows = []
    for row, values in enumerate(score.tolist()):
        length = lengths[row // pages.num_kv_heads]
        among = candidates(length, pages)
        every = range(-(-length // pages.page_size))
        rows.append(sorted(best(values, among, n) | (set(every) - set(among))))
    return rows


def test_reserved_pages_are_listed_in_order():
    pages = make_pages([0, 1, 17, 100])
    table = shuffled(pages)
    lists = list_pages(None, pages, Listing(table))
    assert listed(lists, table, pages) == [[], [0], [0, 1], [0, 5, 6]]
    assert lists.tokens.tolist() == [0, 1, 17, 36]


@pytest.mark.parametrize("n", [0, 2.5, 100])
@pytest.mark.parametrize("block_pages", [4096, 16])
def test_the_best_are_listed_with_the_reserved_pages_in_one_launch(monkeypatch, n, block_pages):
    monkeypatch.setattr("kernels.selection.BLOCK_PAGES", block_pages)
    lengths = [0, 1, 300, 160]
    pages = make_pages(lengths, num_kv_heads=2)
    scores = torch.randint(-2, 3, (8, pages.max_pages), generator=torch.Generator().manual_seed(9)).float().to(DEVICE)
    table = shuffled(pages)
    lists = list_best(Ranking(scores, n), pages, Listing(table))
    expected = attended(lengths, pages, scores, n)
    assert listed(lists, table, pages) == expected
    last = [length % 16 - 16 if length % 16 else 0 for length in lengths for _ in range(2)]
    assert lists.tokens.tolist() == [16 * len(row) + end for row, end in zip(expected, last, strict=True)]


@pytest.mark.parametrize("block_pages", [4096, 4])
@pytest.mark.parametrize("garbage", [math.nan, math.inf, 3e38])
def test_no_score_matters_where_a_budget_takes_everything_nor_beyond_the_end(monkeypatch, garbage, block_pages):
    """Nothing was written there, so anything stands there: in scores, and in the table of blocks."""
    monkeypatch.setattr("kernels.selection.BLOCK_PAGES", block_pages)
    pages, table = make_pages([100, 150, 200]), shuffled(make_pages([100, 150, 200]))
    scores = torch.arange(3.0 * pages.max_pages, device=DEVICE).view(3, -1)
    clean = list_best(Ranking(scores, 4), pages, Listing(table))
    scores[0], scores[1, 150 // 16 :] = garbage, garbage
    wild = table.clone()
    wild[0, 7:] = wild[1, 10:] = 2**31 - 1
    lists = list_best(Ranking(scores, 4), pages, Listing(wild))
    assert listed(lists, table, pages) == listed(clean, table, pages)
    assert listed(lists, table, pages)[0] == list(range(7))


def test_rows_that_must_be_dense_are_listed_whole_and_all_is_counted():
    lengths = [0, 300, 300, 40]
    pages = make_pages(lengths)
    scores = torch.randn(4, pages.max_pages, generator=torch.Generator().manual_seed(10)).to(DEVICE)
    dense = torch.tensor([0, 0, 1, 0], dtype=torch.int8, device=DEVICE)
    table, tally = shuffled(pages), torch.zeros(4, 6, dtype=torch.int64, device=DEVICE)
    expected = attended(lengths, pages, scores, 3)
    expected[2] = list(range(19))
    for _ in range(2):
        lists = list_best(Ranking(scores, 3), pages, Listing(table, 3, dense, tally))
        assert listed(lists, table, pages) == expected
    assert tally.tolist() == [[0] * 6, [2, 0, 12, 38, 0, 0], [0] * 5 + [2], [2, 2, 6, 6, 0, 0]]
    list_pages(choose(Ranking(scores, 3), pages), pages, Listing(table, 3, dense, tally))
    assert tally.tolist() == [[0] * 6, [3, 0, 18, 57, 0, 0], [0] * 5 + [3], [3, 3, 9, 9, 0, 0]]


def test_nucleus_of_an_infinite_score_is_that_page_alone():
    pages = make_pages([160])
    scores = torch.zeros(1, pages.max_pages, device=DEVICE)
    scores[0, 4] = math.inf
    assert nucleus(scores, full(pages, 0.5), full(pages, 9), pages).item() == 1
