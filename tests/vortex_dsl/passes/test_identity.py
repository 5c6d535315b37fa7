"""The digest: equal for programs that mean the same, different for those that do not.

Pairs are drawn: a program of the zoo or of the grammar, and a rewrite of its text. What they mean is judged by the
reference on the graphs as they were written, before any pass.
"""

from __future__ import annotations

import ast
import importlib.util
import random
import re
from collections import Counter
from itertools import permutations
from pathlib import Path
from types import ModuleType

import pytest
import torch

from search.agents.drawing.generate import generate
from vortex_dsl import Program, ProgramError, Shape, load_program, trace, zoo
from vortex_dsl.backends import reference
from vortex_dsl.frontend.trace import traced
from vortex_dsl.graph.graph import Graph

SHAPE = Shape(2, 16)
LENGTHS = (16 * 13 + 5, 16 * 9, 16 * 20 + 1, 16 * 13 + 5)
NUM_PAIRS = 220
PARTS = 4
NAMES = [name for name in zoo.names() if name != "dense"]


def beside(name: str) -> ModuleType:
    """Import a module of this folder."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rewriting = beside("rewriting")


def drawn(rng: random.Random) -> str:
    """Draw a program that chooses few pages, so that its score matters."""
    if rng.random() < 0.3:
        return re.sub(r"pages = Int\(\d+", "pages = Int(4", zoo.text(rng.choice(NAMES)))
    return generate(rng, SHAPE.head_dim, 1)


def rewritten(rng: random.Random, text: str, rewrites: tuple, count: int) -> tuple[str, list[str]]:
    """Apply some rewrites that find a place, each at most once; give their names."""
    tree, done = ast.parse(text), []
    for rewrite in rng.sample(rewrites, len(rewrites)):
        if len(done) < count and rewrite.__name__ not in done and rewrite(rng, tree):
            done.append(rewrite.__name__)
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n", done


def attended(graph: Graph, seed: int) -> torch.Tensor:
    """Choose pages of one random sequence; keys have a drift and some outliers, as real ones do."""
    generator = torch.Generator().manual_seed(seed)
    length = LENGTHS[seed % len(LENGTHS)]
    q, k, v = (torch.randn(n, 16, generator=generator) for n in (2, length, length))
    k = k + torch.randn(1, 16, generator=generator) + (torch.rand(length, 1, generator=generator) > 0.98) * 2.0
    return reference.select(graph, q, k, v, reference.Place(1, 4, seed % 2, 0.25))


def literal(program: Program) -> Graph:
    """Give the graph as it was written."""
    return traced(program, SHAPE)


def differ(first: Graph, second: Graph, tries: int) -> bool:
    """Whether two graphs choose different pages of some of a few sequences."""
    pairs = ((attended(first, seed), attended(second, seed)) for seed in range(tries))
    return any(one.shape != other.shape or not torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("part", range(PARTS))
def test_equal_meanings_have_equal_digests(part: int) -> None:
    done: Counter[str] = Counter()
    for i in range(part, NUM_PAIRS, PARTS):
        rng = random.Random(f"same {i}")
        text = drawn(rng)
        other, names = rewritten(rng, text, rewriting.SAME, rng.randint(1, 5))
        program, partner = load_program(text), load_program(other)
        assert trace(program, SHAPE).digest == trace(partner, SHAPE).digest, f"{i}: {names}\n{text}\n{other}"
        assert not differ(literal(program), trace(partner, SHAPE), 1), f"{i}: {names}\n{text}\n{other}"
        if "squash_scores" not in names:
            assert not differ(literal(program), literal(partner), 1), f"{i}: {names}\n{text}\n{other}"
        done.update(names)
    assert done.keys() >= {"swap_commuting", "wrap_scores", "add_dead_code", "unfold_numbers"}


@pytest.mark.parametrize("part", range(PARTS))
def test_different_meanings_have_different_digests(part: int) -> None:
    num_pairs, i = 0, part
    while num_pairs < NUM_PAIRS / PARTS:
        assert i < 5 * NUM_PAIRS, f"only {num_pairs} pairs"
        rng = random.Random(f"other {i}")
        i += PARTS
        text = drawn(rng)
        other, names = rewritten(rng, text, rewriting.OTHER, 1)
        try:
            partner = trace(load_program(other), SHAPE)
        except ProgramError:
            continue
        graph = trace(load_program(text), SHAPE)
        shown = differ(literal(load_program(text)), literal(load_program(other)), 4)
        assert not shown or graph.digest != partner.digest, f"{i}: {names}\n{text}\n{other}"
        num_pairs += shown


AXES = '''from vortex_dsl import *


class Axes(Program):
    """Make axes and name them."""

    def summarize(self, k, v):
        return {{"m": k.mean("token")}}

    def select(self, q, page):
        m = page.m
        {body}
        return topk(s, 4)
'''
TWICE = "a, b = m.rename(dim='{0}'), m.rename(dim='{1}'); "
SPLIT = "x = m.split('dim', {0}=4).split('dim', {1}=4); "
NAMED = (
    TWICE + "s = (a * b).max('{0}').sum('{1}')",
    TWICE + "s = (a - b).max('{0}').min('{1}')",
    TWICE + "s = (a * b).max('{0}').sum('{1}') + (a + b).max('{1}').sum('{0}')",
    TWICE + "s = (exp(a) * b + a).max('{0}').sum('{1}')",
    SPLIT + "s = (x - x.rename({0}='{1}', {1}='{0}')).max('{0}').sum('{1}').min('dim')",
    SPLIT + "y = x.rename({0}='{2}', {1}='{0}'); s = (y * y).max('{0}', 'dim').min('{2}')",
    SPLIT
    + "z = x.rename(dim='{2}'); s = dot(z, q.split('dim', {2}=1).mean('dim'), '{2}').max('head', '{1}').sum('{0}')",
    "s = dot(m.split('dim', {0}=2), matrix([[1, 2], [3, 5]], '{1}', '{0}'), '{0}').max('{1}').sum('dim')",
    "s = m.split('dim', {0}=2).max('{0}').sum('dim') * m.split('dim', {1}=4).sum('{1}').max('dim')",
    "s = m.split('dim', {0}=2).max('{0}').sum('dim') * m.split('dim', {1}=2).max('{1}').sum('dim')",
)


@pytest.mark.parametrize("body", NAMED)
def test_names_of_axes_do_not_matter(body: str) -> None:
    body = body.replace("; ", "\n        ")
    names = [*permutations(("x", "y", "zz"), 3), *permutations(("rank", "part", "a"), 3)]
    texts = [AXES.format(body=body.format(*given)) for given in names]
    assert len({trace(load_program(text), SHAPE).digest for text in texts}) == 1


def test_one_name_for_two_axes_is_as_good_as_two() -> None:
    for body in NAMED[-2:]:
        texts = [AXES.format(body=body.format(*given)) for given in (("a", "b"), ("a", "a"), ("b", "a"))]
        assert len({trace(load_program(text), SHAPE).digest for text in texts}) == 1


def test_axes_that_differ_in_use_are_told_apart() -> None:
    first = AXES.format(body="s = (m.rename(dim='a') - m.rename(dim='b')).max('a').sum('b')")
    second = AXES.format(body="s = (m.rename(dim='a') - m.rename(dim='b')).sum('a').max('b')")
    graphs = [trace(load_program(text), SHAPE) for text in (first, second)]
    assert graphs[0].digest != graphs[1].digest
    assert differ(*graphs, tries=4)
