"""Emitted kernels at the ends of the shapes that they are for: right, with tiles that stay small; few rows each."""

import os
import subprocess
import sys
from math import prod
from pathlib import Path

import pytest
import torch

from kernels.decode import PagedCache
from kernels.selection import Pages
from vortex_dsl import Shape, attend, load_program, trace, zoo
from vortex_dsl.backends.batched import Batched, Loaded
from vortex_dsl.backends.batched import Step as Batch
from vortex_dsl.backends.compiled import Compiled, Step
from vortex_dsl.codegen.tiles import PRODUCT_ELEMENTS, TILE_ELEMENTS
from vortex_dsl.ops.expression import walk

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SCALE = 2.0**-6  # a power of two, so that products with it are exact


def whole(shape, seed):
    """Small whole numbers, whose sums are exact."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


def program(name, **values):
    return load_program(zoo.text(name)).with_values(**values)


def choices(given, shape, pages, partial=1):
    """Give one row's chosen candidates by emitted kernels and by torch, from the same bytes; NaN lies beyond them."""
    graph = trace(given, shape)
    compiled, batched, size = Compiled(graph), Batched(graph), graph.page_size
    q, k, v = whole((1, shape.group, shape.head_dim), 2), *whole((2, pages, size, shape.head_dim), 1)
    k[-1, partial:] = v[-1, partial:] = torch.nan
    lengths = torch.tensor([(pages - 1) * size + partial])
    region, every = batched.summarize(k, v), torch.arange(pages)[None]
    sets = batched.page_sets(lengths, pages)
    source = Loaded(pages, batched.layout.load(region, every), k[None], v[None])
    expected = batched.choose(Batch(q, sets, torch.tensor([0]), 1, 4, SCALE, source)).pages
    cache = PagedCache(k[:, None].to(DEVICE), v[:, None].to(DEVICE), every.int().to(DEVICE), lengths.int().to(DEVICE))
    rows = Pages(cache.seq_lens, 1, pages, size, graph.sink, graph.window)
    mask, _ = compiled.choose(Step(q.to(DEVICE), cache, region[:, None].to(DEVICE), rows, 1, 4, SCALE))
    return (mask.cpu() != 0) & sets.candidates, expected


def test_the_largest_group_page_and_head_dim_at_once():
    got, expected = choices(program("oracle_mass", page_size=128, sink=0, window=1, pages=1), Shape(128, 576), 3)
    assert expected.sum() == 1
    assert torch.equal(got, expected)


@pytest.mark.parametrize("name", ["centroid_gqa", "mass_lse", "smooth"])
def test_the_longest_sequence(name):
    got, expected = choices(program(name, pages=1000), Shape(4, 8), 8192)
    assert expected.sum() == 1000
    assert torch.equal(got, expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="on CUDA the other tests compile")
def test_the_largest_shapes_compile_for_a_gpu_that_is_not_there():
    root = Path(__file__).parents[3]
    code = [str(root / "tests" / "vortex_dsl" / "compile_largest.py")]
    code += [str(zoo.path(name)) for name in ("oracle_mass", "quest_int4", "ball")]
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment = kept | {"PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, *code], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    shared = {line.split(":")[0]: int(line.split()[-2]) for line in done.stdout.splitlines()}
    assert {"summarize_0", "map_0", "row_0"} <= set(shared)
    assert max(shared.values()) <= 96 * 1024


ANY_SHAPE = [Shape(1, 64), Shape(2, 128), Shape(7, 80), Shape(16, 256), Shape(100, 72), Shape(128, 576)]


@pytest.mark.parametrize("name", zoo.names())
def test_tiles_are_bounded_for_any_shape_and_page(name):
    for shape in ANY_SHAPE:
        for page_size in (16, 128):
            for stage in Compiled(trace(program(name, page_size=page_size), shape)).plan.stages:
                exprs = walk([output.value for output in stage.outputs])
                assert all(prod(stage.tiles.shape(expr.loops)) <= TILE_ELEMENTS for expr in exprs)
                loops = [{loop for arg in dot.args for loop in arg.loops} for dot in stage.tiles.matrices]
                assert all(prod(stage.tiles.shape(each)) <= PRODUCT_ELEMENTS for each in loops)


SELECT = {
    "sum_of_everything": "(page.tokens * q).sum('dim', 'token', 'head')",
    "outer": "dot(page.tokens, page.tokens.rename(token='other'), 'dim').max('token', 'other')",
    "ranks": "(page.tokens * page.tokens.top('dim', 3)).sum('dim', 'token')",
    "nested_ranks": "(page.tokens.max('token') * q.max('head')).top('dim', 9).softmax('dim').top('dim', 5)"
    ".normalize('dim').top('dim', 4).take('dim', slice(2, 13)).sum('dim') + page.tokens.sum('token', 'dim')",
    "over_pages": "dot(page.tokens.max('token'), page.tokens.min('token').mean('page'), 'dim')",
    "far_neighbours": "page.tokens.max('token').sum('dim').smooth('page', [0.5 for i in range(33)])",
    "products_of_pages": "dot(page.tokens.max('token'), page.tokens.rename(token='t').max('t').rename(dim='d'), 'page')"
    ".max('dim').sum('d') * page.index",
}


@pytest.mark.parametrize("name", SELECT)
def test_what_is_cut_in_many_ways_is_right(name, monkeypatch):
    monkeypatch.setattr("vortex_dsl.codegen.tiles.TILE_ELEMENTS", 256)
    monkeypatch.setattr("vortex_dsl.codegen.tiles.PRODUCT_ELEMENTS", 4096)
    monkeypatch.setattr("vortex_dsl.codegen.rounds.MOST_NESTED", 512)
    text = (
        "from vortex_dsl import *\nclass Test(Program):\n    'Test.'\n    def summarize(self, k, v):\n"
        f"        return {{'tokens': k}}\n    def select(self, q, page):\n        return topk({SELECT[name]}, 4)\n"
    )
    got, expected = choices(load_program(text), Shape(9, 24), 12)
    assert expected.sum() == 4
    assert torch.equal(got, expected)


SPECIAL = (torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1.0)


@pytest.mark.parametrize(
    "name", ["quest", "centroid_gqa", "oracle_max", "sparq", "twilight", "threshold", "h2o", "consensus"]
)
@pytest.mark.parametrize(("group", "head_dim"), [(1, 11), (9, 24)])
def test_numbers_that_are_none_take_the_same_turn(name, group, head_dim):
    generator = torch.Generator().manual_seed(group)
    q, k, v = whole((2, group, head_dim), 3), *whole((2, 2, 1, 170, head_dim), 4)
    for page in range(10):
        where = (page % 2, 0, 16 * page + page, int(torch.randint(head_dim, (), generator=generator)))
        k[where] = SPECIAL[page % len(SPECIAL)]
    k[:, :, 48:80] = k[:, :, 16:48]  # ties
    given = (q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), torch.tensor([170, 163], device=DEVICE), SCALE)
    chosen = [
        attend(program(name, **({"pages": 3} if "pages" in program(name).tunables else {})), *given, backend=each)[1]
        for each in ("reference", "triton")
    ]
    assert torch.equal(*chosen)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 47, 48, 64])
def test_short_sequences(length):
    q, k, v = whole((1, 8, 16), 5), *whole((2, 1, 2, 64, 16), 6)
    k[:, :, length:] = v[:, :, length:] = torch.nan
    given = (q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), torch.tensor([length], device=DEVICE))
    rule = program("centroid_gqa", pages=1, sink=0, window=1)
    out, attended = attend(rule, *given, backend="triton")
    other, pages = attend(rule, *given)
    assert torch.equal(attended, pages)
    torch.testing.assert_close(out, other, atol=2e-6, rtol=2e-6)
