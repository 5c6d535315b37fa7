"""What requests keep, copied tile by tile; whole schedules of steps are in tests/vortex_dsl/serving/triton."""

import pytest
import torch

from kernels import remembering
from kernels.remembering import Kept, keep, recall, settle
from kernels.selection import Pages
from kernels.slots import Places

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def integers(*numbers):
    return torch.tensor(numbers, dtype=torch.int32, device=DEVICE)


def test_states_of_several_tiles_come_back_from_their_slots():
    """Two sequences of two KV heads: one chooses at 2 complete pages and knew 1, the other does not choose now."""
    pages = Pages(integers(40, 40), 2, 3, 16, 0, 1)
    kept = Kept(torch.randn(4, 2, 3, 700, device=DEVICE), paged=True, init=0.5)
    places = Places(integers(3, 1), integers(20, 40), integers(40, 0))
    assert kept.elements * pages.max_pages > 2 * remembering.BLOCK
    got = recall(kept, places, pages)
    assert torch.equal(got[:2, 0], kept.values[3, :, 0])
    assert (got[:2, 1] == 0.5).all()
    before, state = kept.values.clone(), torch.randn(4, 3, 700, device=DEVICE)
    keep(kept, state, places, pages)
    assert torch.equal(kept.values[3, :, :2], state[:2, :2])
    before[3, :, :2] = state[:2, :2]
    assert torch.equal(kept.values, before)  # and nothing else was written


class Grids:
    """Takes the place of a kernel and notes the grids that it is launched on."""

    def __init__(self):
        self.seen = []

    def __getitem__(self, grid):
        self.seen.append(grid)
        return lambda *_args, **_given: None


@pytest.mark.parametrize("tokens", [16, 1_000_000])
def test_as_many_rows_as_a_server_may_have_fit_into_a_grid(monkeypatch, tokens):
    grids, batch, heads = Grids(), 1024, 64
    for name in ("_recall", "_keep", "_settle"):
        monkeypatch.setattr(remembering, name, grids)
    some, max_pages = torch.empty(batch, dtype=torch.int32, device="meta"), tokens // 16
    pages, places = Pages(some, heads, max_pages, 16, 1, 2), Places(some, some, some)
    kept = Kept(torch.empty(batch, heads, max_pages, device="meta"), paged=True, init=0.0)
    keep(kept, recall(kept, places, pages), places, pages)
    flags = torch.empty(batch * heads, max_pages, dtype=torch.int8, device="meta")
    settle(flags, torch.empty(batch, heads, max_pages, dtype=torch.int8, device="meta"), places, pages)
    assert len(grids.seen) == 3
    for first, *others in grids.seen:
        assert batch * heads <= first < 2**31
        assert all(other <= 65535 for other in others)
