"""What is attended at recorded steps is what `vortex_dsl.decode` attends to."""

import pytest
import torch

from search.evaluator.recall import choices
from search.evaluator.recall.choices import Choices, Stored
from search.evaluator.recall.parts import Part
from search.evaluator.recall.recordings import Model
from vortex_dsl import Shape, decode, load_program, trace, zoo

SCALE = 0.5
BY_HEAD = '''from vortex_dsl import Int, Program, topk
from vortex_dsl import kv_head, layer


class ByHead(Program):
    """Budgets by head and layer."""

    pages = Int(1, 1, 64)
    dense_layers = Int(1, 0, 8)

    def select(self, q, page):
        score = (q * page.k).sum("dim").max("token", "head")
        return topk(score, self.pages + kv_head.index + 2 * layer.index / layer.count)
'''
FEW = {"pages": 2}
CASES = {
    "a plain rule": (zoo.text("quest"), FEW),
    "no dense layer": (zoo.text("centroid"), FEW | {"dense_layers": 0}),
    "all layers dense": (zoo.text("centroid"), FEW | {"dense_layers": 8}),
    "layers that share": (zoo.text("quest"), FEW | {"share_layers": 2, "dense_layers": 0}),
    "a choice kept for steps": (zoo.text("quest"), FEW | {"refresh_steps": 4}),
    "kept and shared": (zoo.text("quest"), FEW | {"refresh_steps": 3, "share_layers": 2}),
    "states": (zoo.text("ema"), FEW),
    "states by page, kept and shared": (zoo.text("h2o"), FEW | {"refresh_steps": 2, "share_layers": 2}),
    "budgets by head and layer": (BY_HEAD, {}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("length", [157, 160])
def test_a_program_attends_to_what_decode_has(case, length, drawn):
    """Pages become complete within the run, and a choice is kept over it or renewed in it."""
    text, values = CASES[case]
    recording, program = drawn(length, ("a", "b")), load_program(text).with_values(**values)
    layers, judged = recording.q.shape[1], (1, 3, 5)
    expected = decode(program, recording.q.flatten(3, 4), recording.k, recording.v, length, SCALE)[1]
    graph = trace(program, Shape(2, recording.q.shape[-1]))
    model, places = Model(tuple(range(layers)), layers, SCALE), tuple(range(layers))
    seen = set()
    for some, found in Choices(graph, model, Part(recording, places, judged)).attended():
        for place in some:
            wanted = torch.stack([expected[i, place].flatten(0, 1) for i in judged])
            present = (
                torch.arange(wanted.shape[-1]) * graph.page_size < length + 1 + torch.tensor(judged)[:, None, None]
            )
            attended = present.expand_as(wanted) if found is None else found
            assert torch.equal(attended, wanted & present), (case, place)
            seen.add(place)
    assert seen == set(range(layers))


HALF_OF_QUEST = """
from vortex_dsl import Int, Program, dot, maximum, topk


class HalfOfQuest(Program):
    \"\"\"Rank pages by their largest and their mean key.\"\"\"

    pages = Int(4, low=1, high=64)

    def summarize(self, k, v):
        return {"top": k.max("token"), "center": k.mean("token")}

    def select(self, q, page):
        return topk(maximum(dot(q, page.top, "dim"), dot(q, page.center, "dim")).max("head"), self.pages)
"""


def test_fields_that_were_stored_before_are_read_again(drawn, monkeypatch):
    """Whatever else a program does and stores; those of another kind, page size or layer are its own."""
    recording, stored, made = drawn(160, ("a", "b"), layers=2), Stored(), []
    part, model = Part(recording, (0, 1), (1, 5)), Model((0, 1), 2, SCALE)
    quest = zoo.text("quest")
    few = {"dense_layers": 0, "pages": 2}
    programs = [
        (quest, few, 4), (quest, few | {"pages": 5}, 0), (zoo.text("quest_int4"), few, 4),
        (quest, few | {"page_size": 32}, 4), (zoo.text("h2o"), few, 0), (HALF_OF_QUEST, few, 2),
        (quest, few | {"pages": 3, "refresh_steps": 2}, 0),
    ]  # fmt: skip
    monkeypatch.setattr(Stored, "field", lambda self, key, make, asked=Stored.field: asked(self, key, noting(make)))

    def noting(make):
        return lambda: made.append(1) or make()

    for text, values, num_new in programs:
        graph = trace(load_program(text).with_values(**values), Shape(2, 8))
        fresh = list(Choices(graph, model, part).attended())
        made.clear()
        again = list(Choices(graph, model, part, stored).attended())
        assert all(some == other and torch.equal(a, b) for (some, a), (other, b) in zip(fresh, again, strict=True))
        assert len(made) == num_new, (text, values)


def test_of_stored_fields_those_asked_for_last_are_kept_within_a_bound(monkeypatch):
    monkeypatch.setattr(choices, "MAX_STORED_BYTES", 250)
    stored = Stored()
    for key in "abac":
        stored.field(key, lambda: torch.zeros(100, dtype=torch.uint8))
    assert list(stored._kept) == ["a", "c"]
    assert stored.field("large", lambda: torch.zeros(999, dtype=torch.uint8)).nbytes == 999
    assert list(stored._kept) == ["large"]


def test_a_choice_that_no_recorded_layer_makes_is_refused(drawn):
    graph = trace(load_program(zoo.text("quest")).with_values(share_layers=2, dense_layers=0), Shape(2, 8))
    with pytest.raises(LookupError, match=r"layer 0, which chooses nothing.*share_layers=1"):
        list(Choices(graph, Model((1, 2), 4, SCALE), Part(drawn(160, layers=2), (0, 1), (5,))).attended())
