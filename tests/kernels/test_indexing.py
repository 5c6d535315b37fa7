"""What scoring and choosing in one launch refuses. What it chooses is tested with the kernels that are compiled."""

import pytest
import torch

from kernels.indexing import Scoring, list_scored
from kernels.selection import Listing, Pages, Ranking


def test_a_choice_among_the_chosen_is_refused():
    pages = Pages(torch.tensor([40]), num_kv_heads=1, max_pages=3, page_size=16, sink=1, window=1)
    ranking = Ranking(torch.zeros(1, 3), 1, among=torch.ones(1, 3, dtype=torch.int8))
    with pytest.raises(ValueError, match="needs a launch of its own"):
        list_scored(Scoring(None, 16, (), ()), ranking, pages, Listing(torch.zeros(1, 3, dtype=torch.int32)))
