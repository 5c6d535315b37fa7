"""Page selection against a plain statement of the rule, in Python."""

import math

import pytest
import torch

from kernels.nucleus import nucleus
from kernels.selection import Pages, choose, list_pages

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
    assert rows_of(choose(scores, full(pages, n), pages)) == expected


SPECIAL = [0.0, -0.0, math.nan, -math.inf, math.inf, 1e-42, -1e-42, 1.0, 1.0, -1.0]


@pytest.mark.parametrize("n", range(8))
def test_ties_go_to_the_lower_index_and_nan_is_minus_infinity(n):
    pages = make_pages([160], sink=0, window=1)
    for shift in range(len(SPECIAL)):
        scores = torch.tensor([SPECIAL[shift:] + SPECIAL[:shift]], device=DEVICE)
        expected = best(scores[0].tolist(), candidates(160, pages), n)
        assert rows_of(choose(scores, full(pages, n), pages)) == [expected]


def test_more_pages_than_a_tile_holds(monkeypatch):
    monkeypatch.setattr("kernels.selection.BLOCK_PAGES", 16)
    pages = make_pages([16 * 45 + 3, 16 * 30])
    scores = torch.randint(-3, 4, (2, pages.max_pages), generator=torch.Generator().manual_seed(2)).float().to(DEVICE)
    expected = [best(scores[row].tolist(), candidates(n, pages), 11) for row, n in enumerate([16 * 45 + 3, 16 * 30])]
    chosen = choose(scores, full(pages, 11), pages)
    assert rows_of(chosen) == expected
    listed, count = list_pages(chosen, pages)
    assert listed[0, : count[0]].tolist() == sorted(expected[0] | {0, 44, 45})
    assert listed[1, : count[1]].tolist() == sorted(expected[1] | {0, 28, 29})


def test_garbage_beyond_the_complete_pages_changes_nothing():
    pages = make_pages([100, 17])
    scores = torch.randn(2, pages.max_pages, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    dirty = scores.clone()
    dirty[0, 6:] = math.nan
    dirty[1, 1:] = math.inf
    assert torch.equal(choose(scores, full(pages, 2), pages), choose(dirty, full(pages, 2), pages))


def test_above_takes_the_best_of_those_above_the_threshold():
    pages = make_pages(LENGTHS)
    scores = torch.randn(6, pages.max_pages, generator=torch.Generator().manual_seed(4)).to(DEVICE)
    scores[5, 3] = math.nan
    expected = []
    for row, length in enumerate(LENGTHS):
        values = scores[row].tolist()
        expected.append(best(values, [i for i in candidates(length, pages) if values[i] > 0.1], 2))
    assert rows_of(choose(scores, full(pages, 2), pages, threshold=full(pages, 0.1))) == expected


def test_refine_chooses_among_those_already_chosen():
    pages = make_pages([150, 160])
    generator = torch.Generator().manual_seed(5)
    coarse, fine = torch.randn(2, 2, pages.max_pages, generator=generator).to(DEVICE)
    first = choose(coarse, full(pages, 4), pages)
    among = rows_of(first)
    expected = [best(fine[row].tolist(), among[row], 2) for row in range(2)]
    assert rows_of(choose(fine, full(pages, 2), pages, among=first)) == expected


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


@pytest.mark.parametrize("p", [-1.0, 0.0, 0.3, 0.7, 0.95, 2.0, math.nan])
def test_nucleus_counts_pages_until_the_mass_is_reached(p):
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


def test_every_page_and_reserved_pages_are_listed_in_order():
    pages = make_pages([0, 1, 17, 100])
    listed, count = list_pages(None, pages, every=True)
    assert [listed[i, : count[i]].tolist() for i in range(4)] == [[], [0], [0, 1], [0, 1, 2, 3, 4, 5, 6]]
    listed, count = list_pages(None, pages)
    assert [listed[i, : count[i]].tolist() for i in range(4)] == [[], [0], [0, 1], [0, 5, 6]]


def test_nucleus_of_an_infinite_score_is_that_page_alone():
    pages = make_pages([160])
    scores = torch.zeros(1, pages.max_pages, device=DEVICE)
    scores[0, 4] = math.inf
    assert nucleus(scores, full(pages, 0.5), full(pages, 9), pages).item() == 1
