"""Pictures of what a program attends to: pages counted by hand, and shares that are recall's own."""

import pytest
import torch

from search.evaluator.recall.figures import Dense, rows
from search.evaluator.recall.parts import pictured
from search.evaluator.recall.picture import MAX_CELLS, MAX_DRAWN, MAX_STEPS
from search.evaluator.recall.picturing import picture
from search.evaluator.recall.recordings import Model, Recordings
from vortex_dsl import Shape, load_program, trace, zoo

VALUES = {"dense_layers": 1, "pages": 2}


def recorded(*recordings):
    layers = recordings[0].q.shape[1]
    return Recordings(Model(tuple(range(layers)), layers, 0.5), recordings)


def graph_of(recordings, name="quest", **values):
    program = load_program(zoo.text(name)).with_values(**{**VALUES, **values})
    q = recordings.by_length[0].q
    return trace(program, Shape(q.shape[4], q.shape[5]))


def test_what_is_drawn_is_what_recall_has_of_the_longest_text(drawn):
    found = recorded(drawn(90), drawn(200, names=("b", "c"), seed=1))
    graph = graph_of(found)
    made = picture(graph, found, "Quest", layers=(2,))
    part = pictured(found, MAX_STEPS)
    whole = rows(graph, found.model, Dense(found.model, part))
    assert (made.name, made.text, made.lengths) == ("Quest", "b", (201, 202, 203, 204, 205, 206))
    assert (made.num_pages, made.pages_per_cell, [each.layer for each in made.drawn]) == (13, 1, [2])
    attended = whole.attended[2].transpose(0, 1)
    assert torch.tensor(made.drawn[0].attended).bool().equal(attended)
    assert made.pages_attended == pytest.approx(whole.figures["pages_attended"].mean().item())
    for name in ("mass", "oracle_mass", "random_mass"):
        means = whole.figures[name].mean((1, 2))
        assert [list(getattr(share, name)) for share in made.shares] == [
            pytest.approx(each, abs=1e-5) for each in means.tolist()
        ]


def test_the_oracle_takes_as_many_pages_and_keeps_what_its_share_says(drawn):
    found = recorded(drawn(200))
    graph = graph_of(found)
    made = picture(graph, found, "Quest", layers=(1,))
    dense = Dense(found.model, pictured(found, MAX_STEPS))
    mass = dense.page_mass(graph.page_size)[1].transpose(0, 1)
    attended, oracle, both = (torch.tensor(getattr(made.drawn[0], name)) for name in ("attended", "oracle", "both"))
    assert attended.sum(-1).equal(oracle.sum(-1))
    assert both.equal(attended * oracle)
    kept = (mass * oracle).sum(-1).mean(-1)
    assert made.shares[1].oracle_mass == pytest.approx(kept.tolist(), abs=1e-5)
    assert (mass * attended).sum() < (mass * oracle).sum()


def test_the_best_rule_agrees_with_the_oracle(drawn):
    found = recorded(drawn(200, group=1))  # the rule and the oracle differ in how they average query heads
    made = picture(graph_of(found, "oracle_mass"), found, "OracleMass", layers=(1,))
    assert made.drawn[0].attended == made.drawn[0].oracle == made.drawn[0].both


def test_pictures_are_bounded_and_cells_count_all_pages(drawn):
    found = recorded(drawn(16 * MAX_CELLS + 100, layers=9, heads=6, steps=2 * MAX_STEPS))
    made = picture(graph_of(found), found, "Quest")
    assert (len(made.drawn), made.num_heads, made.heads) == (MAX_DRAWN, 6, (0, 1, 2, 3))
    assert [each.layer for each in made.drawn] == [1, 3, 5, 8], "evenly over the layers that choose"
    counted = torch.tensor(made.drawn[0].attended)
    assert counted.shape == (4, MAX_STEPS, made.num_pages // 2 + made.num_pages % 2)
    assert made.pages_per_cell == 2
    assert counted.sum(-1).unique().tolist() == [5], "two chosen, and three reserved"


def test_a_layer_that_is_not_there_is_told(drawn):
    found = recorded(drawn(90))
    with pytest.raises(LookupError, match="layer 7 is not recorded; there are 0 to 2"):
        picture(graph_of(found), found, "Quest", layers=(7,))
