"""The judge of backends: strict where sums are exact or scores far apart, lenient beside the cut and nowhere else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vortex_dsl import Shape, load_program, trace
from vortex_dsl.backends import reference

spec = importlib.util.spec_from_file_location("judge", Path(__file__).parent / "judge.py")
assert spec is not None
assert spec.loader is not None
judging: Any = importlib.util.module_from_spec(spec)
sys.modules["judge"] = judging
spec.loader.exec_module(judging)

PLACE = reference.Place(0, 1, 0, 1.0)


def graph_of(select: str, fields: str = '"c": k.mean("token").to("float32")') -> Any:
    text = f"""from vortex_dsl import *

class Judged(Program):
    "Choose."
    sink = Int(0, 0, 16)
    window = Int(1, 1, 64)

    def summarize(self, k, v):
        return {{{fields}}}

    def select(self, q, page):
        s = dot(q, page.c, "dim").max("head")
        return {select}
"""
    return trace(load_program(text), Shape(1, 2))


def row_of(scores: list[float]) -> Any:
    """Make a row whose candidates have these scores; one more page is reserved."""
    k = torch.tensor([*scores, 0.0]).repeat_interleave(16)[:, None].repeat(1, 2)
    return judging.Row(torch.tensor([[1.0, 0.0]]), k, torch.zeros_like(k), PLACE)


def verdict(select: str, scores: list[float]) -> tuple[list[int], list[int]]:
    given = judging.judge(graph_of(select), row_of(scores))
    return given.must[:-1].int().tolist(), given.may[:-1].int().tolist()


def test_exact_sums_leave_no_doubt_and_ties_go_to_the_lower_index() -> None:
    assert verdict("topk(s, 2)", [1.0, 3.0, 1.0, 1.0]) == ([1, 1, 0, 0], [1, 1, 0, 0])


@pytest.mark.parametrize(("gap", "doubtful"), [(1e-6, True), (1e-3, False)])
@pytest.mark.parametrize(
    "select",
    [
        "topk(exp(s) * s, 1)",
        "refine(topk(sqrt(abs(s)), 3), s, 1)",
        "union(reserved_only(), topk(exp(s) * s, 1))",
        'above(sqrt(s), sqrt(s).max("page") - 0.0001, limit=1)',
    ],
)
def test_only_pages_beside_the_cut_are_in_doubt(select: str, gap: float, doubtful: bool) -> None:
    must, may = verdict(select, [0.5, 1.0, 1.0 + gap])
    assert may == ([0, 1, 1] if doubtful else [0, 0, 1])
    assert must == ([0, 0, 0] if doubtful else [0, 0, 1])


def test_a_mass_that_ends_at_a_page_leaves_that_page_in_doubt() -> None:
    must, may = verdict("topp(s, 0.5, limit=4)", [0.0, 20.0, 20.0])
    assert must == [0, 0, 0]
    assert may == [0, 1, 1]


def test_a_wrong_choice_is_named() -> None:
    graph = graph_of("topk(s, 1)")
    given = judging.judge(graph, row_of([1.0, 3.0, 2.0]))
    right = torch.tensor([False, True, False, True])
    assert given.objection(graph, right) == ""
    wrong = torch.tensor([True, False, False, True])
    assert given.objection(graph, wrong) == "without pages [1], with pages [0]"
    assert given.objection(graph, torch.tensor([False, True, False, False])) == "without pages [3]"


def test_states_are_carried_from_one_verdict_to_the_next() -> None:
    text = """from vortex_dsl import *

class Rotates(Program):
    "Take a page off after it was chosen."
    past = State(axes=("page",))
    window = Int(1, 1, 64)
    sink = Int(0, 0, 16)

    def summarize(self, k, v):
        return {"c": k.mean("token").to("float32")}

    def select(self, q, page):
        s = dot(q, page.c, "dim").max("head") - 3 * page.past
        return topk(s, 1).remember(past=where(s == s.max("page"), 1.0, page.past))
"""
    graph = trace(load_program(text), Shape(1, 2))
    row = row_of([1.0, 3.0, 2.0])
    first = judging.judge(graph, row)
    second = judging.judge(graph, judging.Row(row.q, row.k, row.v, PLACE, first.states))
    assert first.must.int().tolist() == [0, 1, 0, 0]
    assert second.must.int().tolist() == [0, 0, 1, 0]
