"""Sequences longer than was foretold: they are cut at the bound, and nothing behind their row is read or written.

What a step is launched over, the host foretells. Were it too little, lists are of the pages that there is room for.
"""

from dataclasses import replace

import pytest
import torch

from kernels.decode import PagedCache, Softmax, sparse_decode
from kernels.latent import latent_decode
from kernels.listing import list_pages
from kernels.remembering import Kept, keep, recall
from kernels.selection import Listing, Pages, Ranking, choose, list_best
from kernels.slots import Places
from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.backends import compiled as module
from vortex_dsl.backends.compiled import Compiled
from vortex_dsl.backends.contract import Decode
from vortex_dsl.backends.triton_backend import prepare

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LENGTHS, FORETOLD = (90, 400), 16  # tokens, and the pages that the host knows of
CANARY, TARGET = 7.25, module._target


def cut(step):
    lengths = step.pages.seq_lens.clamp(max=FORETOLD * step.pages.page_size)
    return replace(step, cache=replace(step.cache, seq_lens=lengths), pages=replace(step.pages, seq_lens=lengths))


def foretold(name):
    """Give a compiled program, and a step of which the host knows too little."""
    generator = torch.Generator().manual_seed(3)
    q = torch.randn(2, 1, 2, 16, generator=generator).to(DEVICE)
    k, v = torch.randn(2, 2, 1, max(LENGTHS), 16, generator=generator).to(DEVICE)
    compiled = Compiled(trace(load_program(zoo.text(name)).with_values(page_size=16), Shape(group=2, head_dim=16)))
    step = prepare(compiled, Decode(q, k, v, torch.tensor(LENGTHS, device=DEVICE), 0.25, 2, 5))
    return compiled, replace(step, pages=replace(step.pages, max_pages=FORETOLD))


def outcome(compiled, step):
    lists = compiled.listed(step, Listing(step.cache.block_table))
    used = torch.arange(lists.blocks.shape[1], device=DEVICE) * 16 < lists.tokens[:, None]
    return lists.tokens.tolist(), lists.blocks.where(used, -1).tolist()


@pytest.mark.parametrize("name", [name for name in zoo.names() if name != "dense"])
def test_a_longer_sequence_is_cut_by_every_program(monkeypatch, name):
    behind = []

    def guarded(buffer, step, states):
        made = TARGET(buffer, step, states)
        room = torch.full((made.shape[0] + 4, *made.shape[1:]), CANARY, device=DEVICE)
        room[: len(made)] = made if buffer.state is not None else CANARY
        behind.append(room[len(made) :])
        return room[: len(made)]

    monkeypatch.setattr(module, "_target", guarded)
    compiled, step = foretold(name)
    assert outcome(compiled, step) == outcome(compiled, cut(step))
    assert all((each == CANARY).all() for each in behind)


def bounds(lengths, most):
    return Pages(torch.tensor(lengths, dtype=torch.int32, device=DEVICE), 1, most, 16, 1, 2)


def test_a_longer_sequence_is_cut_where_pages_are_chosen():
    long, short = bounds([40, 400], 6), bounds([40, 96], 6)
    scores = torch.randn(2, 6, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    table = torch.arange(12, dtype=torch.int32, device=DEVICE).view(2, 6)
    assert torch.equal(choose(Ranking(scores, 2), long), choose(Ranking(scores, 2), short))
    for made in (lambda pages: list_best(Ranking(scores, 2), pages, Listing(table)),
                 lambda pages: list_pages(None, pages, Listing(table))):  # fmt: skip
        some, expected = made(long), made(short)
        assert some.tokens.tolist() == expected.tokens.tolist()
        assert torch.equal(some.blocks[1, : some.tokens[1] // 16], expected.blocks[1, : some.tokens[1] // 16])


@pytest.mark.parametrize("decode", [sparse_decode, latent_decode])
def test_no_block_behind_a_table_is_attended_to(decode):
    """The table is part of a wider one: what stands behind it names other blocks."""
    k = torch.randn(8, 1, 16, 32, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    v = k[..., :16] if decode is latent_decode else k
    table = torch.tensor([[0, 1, 2, 3, 7, 7], [4, 5, 6, 2, 7, 7]], dtype=torch.int32, device=DEVICE)[:, :4]
    q = torch.randn(2, 2, 32, generator=torch.Generator().manual_seed(3)).to(DEVICE)

    def attended(lengths):
        cache = PagedCache(k, v, table, torch.tensor(lengths, dtype=torch.int32, device=DEVICE))
        return decode(q, cache, None, Softmax(0.2))

    assert torch.equal(attended([30, 90]), attended([30, 64]))


def test_nothing_is_remembered_of_pages_that_a_step_has_no_room_for():
    pages = bounds([400], FORETOLD)
    kept = Kept(torch.zeros(2, 1, 25, device=DEVICE), paged=True, init=5.0)
    places = Places(*(torch.tensor([n], dtype=torch.int32, device=DEVICE) for n in (1, 0, 400)))
    recalled = recall(kept, places, pages)
    assert recalled.tolist() == [[5.0] * FORETOLD]
    keep(kept, torch.ones(2, FORETOLD, device=DEVICE)[:1], places, pages)
    assert kept.values[1, 0].tolist() == [1.0] * FORETOLD + [0.0] * (25 - FORETOLD)
