"""Larger moves: what they give is a program on any shape, and means what it says."""

import random
import re

import pytest
import torch

from search.agents.changing.larger.budgets import WAYS, spread_budget
from search.agents.changing.larger.channels import pick_channels, rotate, two_levels
from search.agents.changing.larger.points import every_key, represent, subdivide
from search.agents.changing.larger.sharing import share_and_spend
from search.agents.changing.larger.stages import look_closer, widen
from search.agents.changing.larger.terms import recenter, spread, tighten
from search.agents.changing.larger.values import weigh_values
from search.agents.changing.source import Source
from search.agents.drawing.draft import field_bytes_limit
from vortex_dsl import Shape, attend, load_program, trace, zoo
from vortex_dsl.analysis.layout import Layout

SHAPES = (Shape(3, 64), Shape(1, 32), Shape(8, 128), Shape(2, 80))
# The least number of published rules that a move applies to.
MOVES = {
    spread: 10, tighten: 5, recenter: 10, represent: 10, subdivide: 10, every_key: 10, rotate: 12, pick_channels: 12,
    two_levels: 12, look_closer: 20, widen: 1, weigh_values: 25, spread_budget: 25, share_and_spend: 10,
}  # fmt: skip


def moved(move, name, seed, head_dim=64):
    source = Source.parse(zoo.text(name), head_dim)
    return source if move(source, random.Random(f"{name} {seed}")) else None


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_a_move_gives_programs_on_every_shape(move):
    applied, small = set(), []
    for i, name in enumerate(zoo.names()):
        shape = SHAPES[i % len(SHAPES)]
        source = moved(move, name, i, shape.head_dim)
        if source is None:
            continue
        graph = trace(load_program(source.text()), shape)
        again = Source.parse(source.text(), shape.head_dim).text()
        assert trace(load_program(again), shape).digest == graph.digest
        applied.add(name)
        small.append(Layout(graph).bytes_per_page <= field_bytes_limit(shape.head_dim))
    assert len(applied) >= MOVES[move]
    assert sum(small) >= 0.75 * len(small)


def attended(text, head_dim=64, seed=0):
    """Pages that a program attends to on random keys, with fields as exact as they can be stored."""
    rng = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, n, *size, head_dim, generator=rng) for n, size in ((4, ()), (2, (640,)), (2, (640,))))
    exact = re.sub(r"\.to\('\w+'\)", "", text)
    fields = re.search(r"return \{(.*)\}", exact)
    exact = exact.replace(fields[1], re.sub(r"(, '\w+':|$)", r".to('float32')\1", fields[1])) if fields else exact
    return attend(load_program(exact).with_values(pages=6), q, k, v, backend="torch")[1]


@pytest.mark.parametrize("head_dim", [32, 64, 80, 128])
def test_a_rotation_keeps_every_product(head_dim):
    source = None
    for seed in range(20):
        source = moved(rotate, "centroid_gqa", seed, head_dim)
        if "sign" not in source.text():
            break
    assert "TURN_" in source.text()
    assert (
        attended(source.text(), head_dim) == attended(Source.parse(zoo.text("centroid_gqa"), 64).text(), head_dim)
    ).all()


def test_an_envelope_that_is_reached_out_to_whole_is_the_bound():
    texts = [moved(tighten, "quest", seed).text() for seed in range(8)]
    text = next(text for text in texts if "mean" not in text)
    whole = re.sub(r"slack = Float\([\d.]+", "slack = Float(1.0", text).replace("high=0.9", "high=1.0")
    plain = Source.parse(zoo.text("quest"), 64).text()
    assert (attended(whole) == attended(plain)).all()
    assert (attended(text) != attended(plain)).any()


def test_who_looks_closely_at_all_pages_chooses_as_the_oracle_does():
    texts = [moved(look_closer, "centroid", seed).text() for seed in range(30)]
    text = next(text for text in texts if "page.k" in text and "max('token', 'head')" in text and "first" not in text)
    wide = re.sub(r"wider = Float\([\d.]+", "wider = Float(6.0", text)
    oracle = Source.parse(zoo.text("oracle_max"), 64).text()
    assert (attended(wide) == attended(oracle)).all()
    assert (attended(Source.parse(zoo.text("centroid"), 64).text()) != attended(oracle)).any()


def test_representatives_find_a_key_that_a_mean_hides():
    """One key in one page is what the query asks for; its page's mean key is nothing special."""
    q, k = torch.zeros(1, 1, 64), torch.randn(1, 1, 640, 64, generator=torch.Generator().manual_seed(1)) * 0.3
    q[..., 0], k[:, :, 100, 0], k[:, :, 320:336, 0] = 1.0, 4.0, 0.5
    texts = [moved(represent, "centroid", seed).text() for seed in range(12)]
    for text in [Source.parse(zoo.text("centroid"), 64).text(), *texts]:
        pages = attend(load_program(text).with_values(pages=1), q, k, k, backend="torch")[1][0, 0]
        assert bool(pages[100 // 16]) == ("point" in text)


def test_the_bands_of_channels_hold_a_channel_with_the_one_it_turns_with():
    for seed in range(6):
        text = moved(pick_channels, "centroid", seed).text()
        taken = re.search(r"\[i \+ 32 \* j for j in range\(2\) for i in range\((\d+), (\d+), (\d)\)\]", text)
        start, stop, step = map(int, taken.groups())
        assert 0 <= start < stop <= 32
        assert step in (1, 2)


def test_budgets_differ_between_layers_or_heads():
    names = [way.__name__ for way, _ in WAYS]
    assert names == ["sloping", "arched", "first_layers", "one_layer_in", "by_head"]
    for seed in range(10):
        text = moved(spread_budget, "quest", seed).text()
        assert "layer.index" in text


def test_sharing_spends_what_it_saves():
    for seed in range(10):
        source = moved(share_and_spend, "centroid", seed)
        assert {"share_layers", "refresh_steps"} & set(source.tunables)
        assert len(source.text()) > len(Source.parse(zoo.text("centroid"), 64).text()) + 60
