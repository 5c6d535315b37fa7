"""Recall against counting by hand, and at the ends of its range."""

import math

import pytest
import torch

from search.evaluator.recall.figures import SHARES, Recording, _figures, _take, measure, recordings
from vortex_dsl import Shape, load_program, trace
from vortex_dsl.backends.batched import Batched

SIZE, DIM, SCALE = 16, 8, 0.5

HEAD = "from vortex_dsl import Choice, Int, Program, every_page, reserved_only, topk\n\n\nclass Told(Program):\n"
BY_INDEX = (
    HEAD
    + '''    """The newest candidates."""

    pages = Int(2, 0, 64)
    page_size = Choice(16, (16, 32, 64, 128))

    def select(self, q, page):
        return topk(page.index, self.pages)
'''
)
BY_MASS = (
    HEAD
    + '''    """The candidates of most mass, for one query head."""

    pages = Int(2, 0, 64)

    def select(self, q, page):
        return topk((q * page.k).sum("dim").logsumexp("token").max("head"), self.pages)
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


def graph(text, group=2, **values):
    return trace(load_program(text).with_values(**values), Shape(group=group, head_dim=DIM))


def recording(lengths, group=2, num_kv_heads=2, seed=0, padding=5):
    generator = torch.Generator().manual_seed(seed)
    rows, tokens = len(lengths) * num_kv_heads, max(lengths) + padding

    def normal(*shape):
        return torch.randn(*shape, DIM, generator=generator)

    return Recording(
        q=2 * normal(rows, group),
        k=normal(rows, tokens),
        v=normal(rows, tokens),
        lengths=torch.tensor(lengths).repeat_interleave(num_kv_heads),
        kv_head=torch.arange(num_kv_heads).repeat(len(lengths)),
        layer=1,
        num_layers=2,
        scale=SCALE,
    )


def figures(text, *recorded, group=2, **values):
    return {m.name: m for m in measure(graph(text, group, **values), recorded, seed=0)}


def by_hand(recorded, row, chosen):
    """Count one row's figures for these chosen candidates, sink 1 and window 2."""
    length = int(recorded.lengths[row])
    q, k, v = recorded.q[row], recorded.k[row, :length], recorded.v[row, :length]
    weights = (q @ k.T * SCALE).softmax(-1)
    num_pages = math.ceil(length / SIZE)
    mass = [float(weights[:, i * SIZE : (i + 1) * SIZE].sum(1).mean()) for i in range(num_pages)]
    candidates = range(1, num_pages - 2)
    reserved = [i for i in range(num_pages) if i not in candidates]
    best = sorted(candidates, key=lambda i: -mass[i])[: len(chosen)]
    tokens = [t for t in range(length) if t // SIZE in reserved or t // SIZE in chosen]
    sparse = (q @ k[tokens].T * SCALE).softmax(-1) @ v[tokens]
    dense = weights @ v
    return {
        "mass": sum(mass[i] for i in (*reserved, *chosen)),
        "oracle_mass": sum(mass[i] for i in (*reserved, *best)),
        "random_mass": sum(mass[i] for i in reserved)
        + len(chosen) / len(candidates) * sum(mass[i] for i in candidates),
        "recall": sum(mass[i] for i in chosen) / sum(mass[i] for i in best),
        "output_error": float((sparse - dense).norm() / dense.norm()),
        "pages_attended": len(reserved) + len(chosen),
        "pages_dense": num_pages,
    }


@pytest.mark.parametrize("length", [160, 167])
def test_figures_are_those_counted_by_hand(length):
    recorded = recording([length], num_kv_heads=1)
    num_pages = math.ceil(length / SIZE)
    expected = by_hand(recorded, 0, [num_pages - 4, num_pages - 3])
    found = figures(BY_INDEX, recorded)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-5), name


def test_ragged_rows_are_averaged_over_sequences():
    recorded = recording([160, 121, 300])
    chosen = [[6, 7], [4, 5], [15, 16]]
    rows = [by_hand(recorded, 2 * i + head, chosen[i]) for i in range(3) for head in range(2)]
    found = figures(BY_INDEX, recorded)
    for name in rows[0]:
        assert found[name].value == pytest.approx(sum(row[name] for row in rows) / 6, rel=1e-5), name
        assert found[name].num_samples == 3
        assert 0 <= found[name].low <= found[name].value <= found[name].high
    assert all(found[name].high <= 1 for name in SHARES)


def test_every_page_keeps_everything():
    found = figures(EVERY, recording([200, 90]))
    assert found["mass"].value == pytest.approx(1)
    assert found["recall"].value == pytest.approx(1)
    assert found["output_error"].value == pytest.approx(0, abs=1e-6)
    assert found["pages_attended"].value == found["pages_dense"].value


def test_the_best_choice_has_recall_one():
    recorded = recording([500, 333], group=1)
    scaled = Recording(**{**vars(recorded), "q": recorded.q / SCALE, "scale": SCALE * SCALE})
    same = Recording(**{**vars(recorded), "k": recorded.k * SCALE, "scale": 1.0})
    for each in (same, scaled):
        found = figures(BY_MASS.replace("(q * page.k)", "(q * page.k * self.scale)"), each, group=1)
        assert found["recall"].value == pytest.approx(1, abs=1e-5)
        assert found["mass"].value == pytest.approx(found["oracle_mass"].value, abs=1e-6)
        assert found["mass"].value > found["random_mass"].value
        assert found["output_error"].value < found["random_error"].value


def test_choosing_nothing_recalls_nothing():
    found = figures(NOTHING, recording([300]))
    assert found["recall"].value == 0
    assert found["mass"].value == pytest.approx(found["oracle_mass"].value)


def test_where_nothing_is_to_choose_recall_is_one_and_such_rows_do_not_dilute():
    assert figures(NOTHING, recording([40])).get("recall").value == 1
    both, long = figures(BY_INDEX, recording([300, 40])), figures(BY_INDEX, recording([300, 40]), recording([300, 40]))
    assert both["recall"].num_samples == 1
    assert both["recall"].value < 1
    assert long["recall"].value == pytest.approx(both["recall"].value)


def test_memory_beyond_a_sequence_is_not_seen():
    recorded = recording([200, 77])
    beyond = torch.arange(recorded.k.shape[1]) >= recorded.lengths[:, None]
    dirty = {name: getattr(recorded, name).masked_fill(beyond[..., None], float("nan")) for name in ("k", "v")}
    clean, soiled = figures(BY_MASS, recorded), figures(BY_MASS, Recording(**{**vars(recorded), **dirty}))
    assert clean == soiled


def test_another_page_size_cuts_the_same_tokens_otherwise():
    found = figures(BY_INDEX, recording([300]), page_size=64)
    assert found["pages_dense"].value == 5
    assert found["pages_attended"].value == 5
    assert found["mass"].value == pytest.approx(1)


def test_the_expected_random_mass_is_what_lots_give():
    recorded, told = recording([400], num_kv_heads=1), graph(BY_INDEX)
    expected = _figures(Batched(told), recorded, torch.Generator())["random_mass"]
    from search.evaluator.recall.figures import page_mass

    mass = page_mass(recorded.q, recorded.k[:, :400].unflatten(1, (25, SIZE)), recorded.lengths, SCALE)[0]
    generator = torch.Generator().manual_seed(0)
    lots = [1 + torch.randperm(22, generator=generator)[:2] for _ in range(4000)]
    reserved = mass[0] + mass[-2:].sum()
    drawn = reserved + torch.stack([mass[lot].sum() for lot in lots]).mean()
    assert float(expected) == pytest.approx(float(drawn), rel=0.05)


def test_taking_the_highest_prefers_the_lower_index():
    taken = _take(torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0]]), torch.tensor([1, 3]))
    assert taken.tolist() == [[False, True, False, False], [True, True, True, False]]


def test_rows_of_one_sequence_are_known_by_their_heads():
    assert recording([64, 64, 64]).sequence.tolist() == [0, 0, 1, 1, 2, 2]


def test_what_the_engine_recorded_is_read_as_it_is():
    recorded = recording([64])
    assert recordings([vars(recorded)])[0].layer == 1
    with pytest.raises(ValueError, match="nothing was recorded"):
        measure(graph(EVERY), [], seed=0)
