"""Recall against counting by hand, and at the ends of its range."""

import math

import pytest
import torch

from search.evaluator.recall.figures import MAX_LAYERS, SHARES, measure
from vortex_dsl import Shape, load_program, trace

SIZE, SCALE = 16, 0.5

HEAD = "from vortex_dsl import Choice, Int, Program, every_page, reserved_only, topk\n\n\nclass Told(Program):\n"
BY_INDEX = (
    HEAD
    + '''    """The newest candidates."""

    pages = Int(2, 0, 64)

    def select(self, q, page):
        return topk(page.index, self.pages)
'''
)
BY_MASS = (
    HEAD
    + '''    """The candidates of most mass, for one query head."""

    pages = Int(2, 0, 64)

    def select(self, q, page):
        return topk((q * page.k * self.scale).sum("dim").logsumexp("token").max("head"), self.pages)
'''
)
EVERY = (
    HEAD
    + '''    """Everything."""

    def select(self, q, page):
        return every_page()
'''
)
NOTHING = (
    HEAD
    + '''    """Reserved pages only."""

    def select(self, q, page):
        return reserved_only()
'''
)


@pytest.fixture
def figures(asking):
    def told(text, *recordings, judged_every=1, **values):
        shape = Shape(*recordings[0].q.shape[4:])
        graph = trace(load_program(text).with_values(**{"dense_layers": 0, **values}), shape)
        return {m.name: m for m in measure(graph, asking(*recordings, judged_every=judged_every))}

    return told


def by_hand(recording, step, layer, text, head, num):
    """Count one row's figures for the newest `num` candidates, sink 1 and window 2."""
    length = recording.num_tokens + step + 1
    q = recording.q[step, layer, text, head]
    k, v = (x[layer, text, head, :length] for x in (recording.k, recording.v))
    weights = (q @ k.T * SCALE).softmax(-1)
    num_pages = math.ceil(length / SIZE)
    mass = [float(weights[:, i * SIZE : (i + 1) * SIZE].sum(1).mean()) for i in range(num_pages)]
    candidates = range(1, num_pages - 2)
    chosen, reserved = [*candidates][-num:], [i for i in range(num_pages) if i not in candidates]
    best = sorted(candidates, key=lambda i: -mass[i])[:num]
    tokens = [t for t in range(length) if t // SIZE in reserved or t // SIZE in chosen]
    sparse, dense = (q @ k[tokens].T * SCALE).softmax(-1) @ v[tokens], weights @ v
    return {
        "mass": sum(mass[i] for i in (*reserved, *chosen)),
        "oracle_mass": sum(mass[i] for i in (*reserved, *best)),
        "random_mass": sum(mass[i] for i in reserved) + num / len(candidates) * sum(mass[i] for i in candidates),
        "recall": sum(mass[i] for i in chosen) / sum(mass[i] for i in best),
        "output_error": float((sparse - dense).norm() / dense.norm()),
        "pages_attended": len(reserved) + num,
        "pages_dense": num_pages,
    }


def averaged(recordings, name):
    """Average rows as the documentation says: first those of a name of texts, over its lengths."""
    means = {}
    for recording in recordings:
        for text, which in enumerate(recording.names):
            rows = [
                by_hand(recording, step, layer, text, head, 2)[name]
                for step in range(recording.num_steps)
                for layer in range(recording.q.shape[1])
                for head in range(recording.q.shape[3])
            ]
            means.setdefault(which, []).append(sum(rows) / len(rows))
    return sum(sum(each) / len(each) for each in means.values()) / len(means)


FIGURES = ("mass", "oracle_mass", "random_mass", "recall", "output_error", "pages_attended", "pages_dense")


def test_figures_are_those_counted_by_hand(drawn, figures):
    """Two names of texts, one of them at two lengths; a page is completed within the run."""
    recordings = drawn(155, ("a", "b"), layers=2, steps=8), drawn(200, ("a",), layers=2, seed=1, steps=8)
    found = figures(BY_INDEX, *recordings)
    for name in FIGURES:
        assert found[name].value == pytest.approx(averaged(recordings, name), rel=1e-5), name
        assert found[name].num_samples == 2
        assert 0 <= found[name].low <= found[name].value <= found[name].high
    assert all(found[name].high <= 1 for name in SHARES)


def test_a_dense_layer_keeps_everything_and_its_pages_count(drawn, figures):
    recorded = drawn(160, layers=2)
    found, sparse = figures(BY_INDEX, recorded, dense_layers=1), figures(BY_INDEX, recorded)
    assert found["mass_layer_0"].value == pytest.approx(1)
    assert found["mass_layer_1"].value == pytest.approx(sparse["mass_layer_1"].value)
    assert found["mass"].value == pytest.approx((1 + sparse["mass_layer_1"].value) / 2)
    assert found["pages_attended"].value == pytest.approx((found["pages_dense"].value + 5) / 2)
    assert found["output_error"].value < sparse["output_error"].value
    assert found["error_layer_0"].value == 0
    assert found["error_layer_1"].value == pytest.approx(sparse["error_layer_1"].value)
    assert found["error_layer_1"].value >= 2 * found["output_error"].value  # a root of mean squares is no mean
    assert figures(BY_INDEX, recorded, dense_layers=8)["recall"].value == 1


def test_every_page_keeps_everything(drawn, figures):
    found = figures(EVERY, drawn(200))
    assert found["mass"].value == pytest.approx(1)
    assert found["recall"].value == pytest.approx(1)
    assert found["output_error"].value == pytest.approx(0, abs=1e-6)
    assert found["pages_attended"].value == found["pages_dense"].value


def test_the_best_choice_has_recall_one(drawn, figures):
    found = figures(BY_MASS, drawn(500, group=1, layers=1))
    assert found["recall"].value == pytest.approx(1, abs=1e-5)
    assert found["mass"].value == pytest.approx(found["oracle_mass"].value, abs=1e-6)
    assert found["mass"].value > found["random_mass"].value
    assert found["output_error"].value < figures(BY_INDEX, drawn(500, group=1, layers=1))["output_error"].value


def test_choosing_nothing_recalls_nothing(drawn, figures):
    found = figures(NOTHING, drawn(300))
    assert found["recall"].value == 0
    assert found["mass"].value == pytest.approx(found["oracle_mass"].value)


def test_where_nothing_is_to_choose_recall_is_one_and_such_rows_do_not_dilute(drawn, figures):
    assert figures(NOTHING, drawn(30))["recall"].value == 1
    long = figures(BY_INDEX, drawn(300))
    both = figures(BY_INDEX, drawn(30, ("b",), seed=1), drawn(300))
    assert both["recall"].num_samples == 1
    assert both["recall"].value == pytest.approx(long["recall"].value)


def test_another_page_size_cuts_the_same_tokens_otherwise(drawn, figures):
    found = figures(BY_INDEX, drawn(300), page_size=64)
    assert found["pages_dense"].value == found["pages_attended"].value == 5
    assert found["mass"].value == pytest.approx(1)


def test_parts_of_the_mass_average_to_it(drawn, figures):
    found = figures(BY_INDEX, drawn(160, layers=3, heads=4), drawn(300, ("b",), layers=3, heads=4))
    for part, num in (("layer", 3), ("head", 4)):
        parts = [found[f"mass_{part}_{i}"].value for i in range(num)]
        assert sum(parts) / num == pytest.approx(found["mass"].value)
    assert (found["mass_160"].value + found["mass_300"].value) / 2 == pytest.approx(found["mass"].value)


def test_a_deep_model_has_a_bounded_number_of_figures(drawn, figures):
    found = figures(BY_INDEX, drawn(60, layers=MAX_LAYERS + 2, heads=1, steps=2))
    named = [name for name in found if name.startswith("mass_layer_")]
    assert named == [f"mass_layer_{i}" for i in range(0, MAX_LAYERS + 2, 2)]


def test_judged_steps_are_every_so_many_and_the_last(drawn, figures, asking):
    recorded = drawn(160, steps=6)
    assert asking(recorded, judged_every=4).dense[0].part.steps == (1, 5)
    assert figures(BY_INDEX, recorded, judged_every=4)["mass"].value != figures(BY_INDEX, recorded)["mass"].value


def test_the_expected_random_mass_is_what_lots_give(drawn, figures, asking):
    recorded = drawn(400, layers=1, heads=1, steps=1)
    mass = asking(recorded).dense[0].page_mass(SIZE)[0, 0, 0]
    generator = torch.Generator().manual_seed(0)
    num_pages = mass.shape[0]
    lots = [1 + torch.randperm(num_pages - 3, generator=generator)[:2] for _ in range(4000)]
    drawn_mass = mass[0] + mass[-2:].sum() + torch.stack([mass[lot].sum() for lot in lots]).mean()
    assert figures(BY_INDEX, recorded)["random_mass"].value == pytest.approx(float(drawn_mass), rel=0.05)
