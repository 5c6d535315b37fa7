"""Asks go in waves that the KV cache holds."""

import pytest

from search.evaluator.asks import Ask, waves


def sizes(asks, num_pages):
    return [len(wave) for wave in waves(asks, num_pages, page_size=16)]


def test_as_many_at_once_as_fit_in_their_order():
    asks = [Ask([i] * 40, 8) for i in range(5)]  # three pages each
    assert sizes(asks, 9) == [3, 2]
    assert [ask for wave in waves(asks, 9, 16) for ask in wave] == asks
    assert sizes(asks, 15) == [5]
    assert sizes([], 9) == []


def test_asks_of_one_prompt_share_its_pages():
    asks = [Ask([1] * 161, 8)] * 8  # ten pages that are shared, and one of each
    assert sizes(asks, 18) == [8]
    assert sizes(asks, 17) == [7, 1]


def test_one_that_never_fits_is_told():
    with pytest.raises(ValueError, match=r"41 tokens with 8 to come does not fit into the KV cache of 48 tokens"):
        sizes([Ask([1] * 41, 8)], 3)
