"""New tokens in their pages: where their slots say, whatever of a page is written at a time."""

import pytest
import torch

from kernels.decode import PagedCache
from kernels.writing import TILE_ELEMENTS, write_tokens

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZE, BLOCKS, HEADS = 16, 6, 2
# The end of a page and the start of another, a page from its start, one token amid a page, none, and a whole page.
SLOTS = (*range(13, 16), *range(32, 40), 70, -1, -1, *range(80, 96))


@pytest.mark.parametrize("dim", [8, 1024])  # a page at a time, and four of its tokens
@pytest.mark.parametrize("spare", [0, 3])  # tokens behind those that have slots
def test_tokens_are_written_where_their_slots_say(dim, spare):
    assert (dim == 1024) == (TILE_ELEMENTS // dim < SIZE)
    key, value = torch.randn(2, len(SLOTS) + spare, HEADS, dim).to(DEVICE)
    k, v = torch.randn(2, BLOCKS, HEADS, SIZE, dim).to(DEVICE)
    complete = torch.zeros(BLOCKS, dtype=torch.uint8, device=DEVICE)
    before, slots = (k.clone(), v.clone()), torch.tensor(SLOTS, device=DEVICE)
    none = torch.zeros(0, 1, dtype=torch.int32, device=DEVICE)
    write_tokens(key, value, slots, PagedCache(k, v, none, none[:, 0]), complete)
    for cache, expected, new in zip((k, v), before, (key, value), strict=True):
        for token, slot in enumerate(SLOTS):
            if slot >= 0:
                expected[slot // SIZE, :, slot % SIZE] = new[token]
        assert torch.equal(cache, expected)
    assert complete.tolist() == [1, 0, 0, 0, 0, 1]
