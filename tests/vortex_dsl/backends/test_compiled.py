"""A step's launches: what they score and list, and what they leave alone."""

import pytest
import torch

from kernels.selection import Listing, list_best
from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.backends.compiled import Compiled
from vortex_dsl.backends.contract import Decode
from vortex_dsl.backends.triton_backend import prepare
from vortex_dsl.codegen.plan import MOST_PAGES

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LENGTHS = (400, 0, 15, 260, 90, 300)


@pytest.fixture
def small_tiles(monkeypatch):
    """Give a row several tiles of pages without many pages."""
    monkeypatch.setitem(MOST_PAGES, "map", 16)


def prepared(name, lengths=LENGTHS, **values):
    """Give a compiled program, and a step of sequences the last of which is marked to be attended to whole."""
    generator = torch.Generator().manual_seed(4)
    q = torch.randn(len(lengths), 2, 2, 16, generator=generator).to(DEVICE)
    k, v = torch.randn(2, len(lengths), 2, max(lengths), 16, generator=generator).to(DEVICE)
    compiled = Compiled(trace(load_program(zoo.text(name)).with_values(**values), Shape(group=2, head_dim=16)))
    step = prepare(compiled, Decode(q, k, v, torch.tensor(lengths, device=DEVICE), 0.25, 2, 5))
    marks = torch.tensor([0] * (len(lengths) - 1) + [1], dtype=torch.int8, device=DEVICE)
    return compiled, step, marks


def listing(step, marks):
    tally = torch.zeros(step.pages.num_rows, 6, dtype=torch.int64, device=DEVICE)
    return Listing(step.cache.block_table, dense=marks, tally=tally)


def scored_whole(compiled, step, given):
    """List by scores of every row, needed or not."""
    memory = compiled.compute(step)
    ranking = compiled.picked(compiled.plan.choice, memory, step.pages)
    covered = compiled.plan.covered
    return list_best(ranking, step.pages, Listing(given.block_table, covered, given.dense, given.tally))


def used(lists):
    listed = torch.arange(lists.blocks.shape[1], device=DEVICE) * 16 < lists.tokens[:, None]
    return lists.blocks.where(listed, -1)


PROGRAMS = {
    "centroid": {"pages": 3},
    "quest": {"pages": 3, "window": 1},
    "strided": {},  # `above`
    "length_budget": {"pages": 2},  # a budget of each row's own, by the first program of the row
    "oracle_max": {"pages": 2},  # keys through the block table
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.usefixtures("small_tiles")
def test_rows_are_listed_and_counted_as_if_all_were_scored(launches, name):
    compiled, step, marks = prepared(name, **PROGRAMS[name])
    first, second = listing(step, marks), listing(step, marks)
    launches.clear()
    lists = compiled.listed(step, first)
    assert launches == ["map_0", "_select"]
    expected = scored_whole(compiled, step, second)
    assert torch.equal(lists.tokens, expected.tokens)
    assert torch.equal(used(lists), used(expected))
    assert torch.equal(first.tally, second.tally)
    assert (lists.tokens[:2] < 400).all()
    assert (lists.tokens[-2:] == 300).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="on CUDA no order is to be had")
@pytest.mark.usefixtures("small_tiles")
def test_no_order_of_programs_and_no_number_of_pages_at_a_time_changes_a_list(request, monkeypatch):
    compiled, step, marks = prepared("quest", pages=3)
    before = compiled.listed(step, listing(step, marks))
    monkeypatch.setattr("kernels.selection.BLOCK_PAGES", 16)
    request.getfixturevalue("from_the_end")
    after = compiled.listed(step, listing(step, marks))
    assert torch.equal(used(after), used(before))
    assert torch.equal(after.tokens, before.tokens)


def test_a_refinement_scores_only_the_pages_that_it_refines(launches, monkeypatch):
    """The first stage takes 6 pages of each of two long rows; of all others nothing is read, nothing is written."""
    kept = []
    monkeypatch.setattr("vortex_dsl.backends.compiled._target", lambda *given: kept.append(_nan(given)) or kept[-1])
    compiled, step, marks = prepared("two_stage", (400, 390), pages=3, wider=2)
    launches.clear()
    compiled.listed(step, listing(step, marks))
    assert launches == ["map_0", "_select", "map_1", "_select"]
    coarse, fine = kept
    assert (~coarse.isnan()).sum(1).tolist() == [25, 25, 24, 24]
    assert (~fine.isnan()).sum(1).tolist() == [6, 6, 6, 6]


@pytest.mark.usefixtures("small_tiles")
def test_rows_that_need_no_scores_write_none(monkeypatch):
    """A covered row leaves the memory of scores as it was; another fills its complete pages, marked or not."""
    kept = []
    monkeypatch.setattr("vortex_dsl.backends.compiled._target", lambda *given: kept.append(_nan(given)) or kept[-1])
    compiled, step, marks = prepared("quest", pages=8)
    compiled.listed(step, listing(step, marks))
    (scores,) = kept
    written = (~scores.isnan()).sum(1)
    assert written.tolist() == [25, 25, 0, 0, 0, 0, 16, 16, 0, 0, 18, 18]


def _nan(given):
    _, step, _ = given
    return torch.full((step.pages.num_rows, step.pages.max_pages), torch.nan, device=DEVICE)


@pytest.mark.parametrize(("name", "expected"), [("quest", ["_select"]), ("two_stage", ["_select", "_select"])])
def test_where_the_host_knows_that_all_is_covered_nothing_is_scored(launches, name, expected):
    compiled, step, marks = prepared(name, (70, 33), pages=64)
    launches.clear()
    lists = compiled.listed(step, listing(step, marks))
    assert launches == expected
    assert lists.tokens.tolist() == [70, 70, 33, 33]
