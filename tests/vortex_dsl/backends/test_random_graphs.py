"""Random well-typed graphs: the batched backend gives the reference's scores and pages, garbage or not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import torch

from vortex_dsl.backends import reference
from vortex_dsl.backends.batched import Batched, Loaded, Step
from vortex_dsl.graph.builder import Builder
from vortex_dsl.passes.pipeline import finished
from vortex_dsl.storage import KINDS
from vortex_dsl.values import Shape, TypeRuleError

if TYPE_CHECKING:
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.node import Node

SETTINGS = {"sink": 1, "window": 2, "page_size": 16, "dense_layers": 1, "share_layers": 1, "refresh_steps": 1}
LENGTHS = (0, 5, 16 * 4, 16 * 9 + 3, 16 * 12)
PAGES = 12
SMOOTH = ("add", "sub", "mul", "maximum", "minimum")
GENTLE = ("abs", "square", "relu", "sigmoid", "silu", "tanh", "neg")
REDUCTIONS = ("sum", "mean", "max", "min", "var", "norm", "logsumexp")


class Grower:
    """Grows a pool of values by random operations, leaving out those that a type rule refuses."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.builder = Builder(Shape(2, 8), 16)

    def grow(self, pool: list[Node], steps: int) -> list[Node]:
        for _ in range(steps):
            try:
                pool.append(self._one(pool))
            except TypeRuleError:
                continue
        return pool

    def _one(self, pool: list[Node]) -> Node:
        draw, x = self.random, self.random.choice(pool)
        axis = draw.choice(x.type.names or ("dim",))
        other = draw.choice([*pool, draw.uniform(-2, 2)])
        options: list[tuple[str, list[Any], dict[str, Any]]] = [
            (draw.choice(SMOOTH), [x, other], {}),
            (draw.choice(SMOOTH), [x, other], {}),
            (draw.choice(GENTLE), [x], {}),
            (draw.choice(REDUCTIONS), [x, axis], {}),
            (draw.choice(REDUCTIONS), [x, *draw.sample(x.type.names, min(2, len(x.type.names)))], {}),
            ("softmax", [x, axis], {}),
            ("dot", [x, other, axis], {}),
            ("split", [x, axis, *()], {draw.choice("ab"): draw.choice((2, 4))}),
            ("take", [x, axis, draw.choice((slice(0, 2), [1, 0]))], {}),
            ("stack", [x, other, draw.choice("ef")], {}),
            ("rename", [x], {axis: draw.choice(("c", "d"))}),
            ("mul", [self.builder.call("top", [x, axis, 2]), x], {}),
            ("shift", [x, "page", draw.randint(-2, 2)], {"fill": draw.uniform(-1, 1)}),
            ("smooth", [x, "page", [0.25, 0.5, 0.125]], {}),
            ("cumsum", [x, "page"], {}),
            ("clip", [x, -1.0, draw.uniform(0, 2)], {}),
        ]
        made = self.builder.call(*draw.choice(options))
        size = 1
        for made_axis in made.type.axes:
            size *= made_axis.length or PAGES
        return made if size < 20_000 else x

    def graph(self) -> Graph:
        builder, draw = self.builder, self.random
        summary = self.grow([builder.input("k"), builder.input("v")], 8)
        fields = {f"f{i}": builder.call("to", [x, draw.choice([*KINDS][:3])]) for i, x in enumerate(summary[-3:])}
        builder.declare(fields)
        names = ("q", *(f"page.{name}" for name in fields), "page.index", "page.count", "scale", "page.reserved")
        pool = self.grow([builder.input(name) for name in names], 14)
        score = builder.call("mul", [builder.input("page.index"), 1e-3])
        for value in pool[-4:]:
            rest = [axis for axis in value.type.names if axis != "page"]
            squashed = builder.call("tanh", [builder.call("mul", [value, 0.1])])
            score = builder.call("add", [score, builder.call("mean", [squashed, *rest]) if rest else squashed])
        kind, n = draw.choice(("topk", "above", "topp")), draw.randint(0, 6)
        selection = builder.call(kind, [score, n] if kind == "topk" else [score, draw.uniform(-0.2, 1.0), n])
        return finished(builder.raw(fields, selection, SETTINGS))


def one(seed: int) -> None:
    graph = Grower(seed).graph()
    batched = Batched(graph)
    generator = torch.Generator().manual_seed(seed)
    rows = len(LENGTHS)
    k, v = (torch.randn(rows, PAGES, 16, 8, generator=generator) for _ in range(2))
    q, lengths = torch.randn(rows, 2, 8, generator=generator), torch.tensor(LENGTHS)
    complete = torch.arange(PAGES) < (lengths // 16)[:, None]
    k[~complete], v[~complete] = float("nan"), float("nan")
    region = batched.summarize(k.flatten(0, 1), v.flatten(0, 1))
    every = torch.arange(rows * PAGES).reshape(rows, PAGES)
    source = Loaded(PAGES, batched.layout.load(region, every), k, v)
    step = Step(q, batched.page_sets(lengths, PAGES), torch.arange(rows), 0, 1, 0.3, source)
    attended = batched.select(step)
    for row, length in enumerate(LENGTHS):
        whole = [x[row].flatten(0, 1)[:length] for x in (k, v)]
        mine = reference.select(graph, q[row], *whole, reference.Place(0, 1, row, 0.3))
        assert torch.equal(attended[row, : len(mine)], mine), f"seed {seed}, length {length}\n{graph}"


@pytest.mark.parametrize("seed", range(60))
def test_a_random_graph_means_the_same_in_a_batch(seed: int) -> None:
    one(seed)
