"""The passes one by one: what each does, that the choice stays, that a second run changes nothing."""

from __future__ import annotations

import pytest
import torch

from vortex_dsl import Shape, load_program, trace
from vortex_dsl.analysis.schedule import schedule
from vortex_dsl.backends import reference
from vortex_dsl.frontend.trace import traced
from vortex_dsl.graph.verify import VerifierError
from vortex_dsl.passes.pipeline import CANONICAL, PASSES, finished, steps
from vortex_dsl.zoo import names, text

SHAPE = Shape(group=2, head_dim=16)
TOKENS = 16 * 14 + 5
TEXT = '''from vortex_dsl import *


class P(Program):
    """One idea."""

    pages = Int(4, 1, 64)
    seen = State()
    other = State(axes=("page",), init=0.5)

    def summarize(self, k, v):
        return {"c": k.mean("token"), "d": v.max("token"), "unread": v.min("token")}

    def select(self, q, page):
        score = dot(q, page.c, "dim").max("head")
        {body}
        return {result}
'''
CASES = {
    "dead": ("unused = exp(page.d)", "topk(score, 4)"),
    "a dead state": ("a = 1", "topk(score, 4).remember(other=score, seen=page.seen + score)"),
    "a live state": ("a = 1", "topk(score + page.other, 4).remember(seen=page.seen + 1, other=score)"),
    "equal": ("a = q * page.c + page.c * q", 'topk((a + (page.c * q) * (q * page.c)).sum("head", "dim"), 4)'),
    "a comparison": ("a = where(score > 0, score, 0) + where(0 < score, 1, 0)", "topk(a, 4)"),
    "known": ("n = maximum(2, 3) * 2", "topk(score * 1 - (-(-score)) / 2, n)"),
    "a neutral number": ("a = maximum(score, score)", "above(a * 1 - 0, 0.5, limit=6)"),
    "increasing": ("a = 2 * sigmoid(score / 64) + 3", "topk(a, 4)"),
    "a product": ("a = maximum(q * page.d, q * page.c)", 'topk(a.sum("dim").max("head"), 4)'),
    "an axis": (
        'a = q.split("dim", part=4)',
        'topk((a * page.c.split("dim", part=4)).max("part").sum("dim", "head"), 4)',
    ),
    "hoisted": ("a = 1", 'topk(page.d.norm("dim"), 4)'),
    "refined": ("a = 1", 'refine(topk(score, 8), dot(q, page.k, "dim").max("head", "token"), 4)'),
    "mixed": ("a = score / score.sum('page')", 'topk(a.smooth("page", [1, 2, 1]), 4)'),
}
EXPECTED = {
    "dead": "drop_dead_code",
    "a dead state": "drop_dead_code",
    "a live state": "merge_states",
    "equal": "merge_equal_operations",
    "a comparison": "merge_equal_operations",
    "known": "fold_known_numbers",
    "a neutral number": "fold_known_numbers",
    "increasing": "strip_increasing_maps",
    "a product": "contract",
    "an axis": "name_axes",
    "hoisted": "hoist",
}


def program(case):
    body, result = CASES[case]
    return load_program(TEXT.replace("{body}", body).replace("{result}", result))


def made(case):
    """Give the graph as traced, and after each pass by name."""
    raw = traced(program(case), SHAPE)
    return {"": raw, **{each.name: graph for each, graph in steps(raw)}}


def chosen(graph, seed):
    """Choose on small multiples of 1/4, so that sums have no rounding."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randint(-8, 9, (n, 16), generator=generator) / 4 for n in (2, TOKENS, TOKENS))
    return reference.choose(graph, q, k, v, reference.Place(0, 1, 0, 0.25)).pages


def test_the_passes_have_names_and_say_what_they_do():
    assert [each.name for each in PASSES] == [
        "drop_dead_code",
        "merge_equal_operations",
        "fold_known_numbers",
        "strip_increasing_maps",
        "contract",
        "name_axes",
        "merge_states",
        "hoist",
    ]
    assert all(each.doc.endswith((".", ").")) and len(each.doc) > 20 for each in PASSES)


@pytest.mark.parametrize("case", CASES)
def test_every_pass_chooses_the_same_pages(case):
    graphs = list(made(case).values())
    for seed in range(4):
        expected = chosen(graphs[0], seed)
        assert all(torch.equal(chosen(graph, seed), expected) for graph in graphs[1:])


@pytest.mark.parametrize("case", EXPECTED)
def test_each_pass_has_something_to_do(case):
    graphs = made(case)
    order = list(graphs)
    before = graphs[order[order.index(EXPECTED[case]) - 1]]
    assert graphs[EXPECTED[case]] is not before
    assert graphs[EXPECTED[case]].listing != before.listing


@pytest.mark.parametrize("case", CASES)
def test_a_second_run_changes_nothing(case):
    graph = finished(traced(program(case), SHAPE))
    assert [each.name for each in PASSES if each.run(graph) is not graph] == []


@pytest.mark.parametrize("name", names())
def test_a_program_of_the_zoo_is_canonical_after_one_run(name):
    graph = traced(load_program(text(name)), SHAPE)
    for each in CANONICAL:
        graph = each.run(graph)
    digest = graph.digest
    for each in CANONICAL:
        again = each.run(graph)
        assert again.digest == digest, each.name
        graph = again


def test_dead_code_is_recorded_and_left_out():
    graphs = made("dead")
    assert "never needed:" in graphs[""].listing
    assert "exp" in graphs[""].listing
    assert "never needed:" not in graphs["drop_dead_code"].listing
    assert {node.op for node in graphs[""].dead} >= {"exp", "max", "min", "to"}
    assert len(graphs["drop_dead_code"].fields) == 1


def test_a_state_that_only_states_read_is_dead():
    graphs = made("a live state")
    assert len(graphs[""].states) == 2
    assert [state.init for state in graphs["drop_dead_code"].states] == [0.5]


def test_merging_orders_operands():
    graphs = made("equal")
    before, after = (
        [node.op for node in graphs[name].select_nodes].count("mul") for name in ("", "merge_equal_operations")
    )
    assert (before, after) == (3, 2)


def test_folding_computes_known_numbers():
    graphs = made("known")
    assert graphs[""].selection.args[1].op == "mul"
    assert graphs["merge_equal_operations"].selection.args[1].number is None
    assert graphs["fold_known_numbers"].selection.args[1].number == 6.0


@pytest.mark.parametrize(("op", "most"), [("maximum", 0.0), ("minimum", -0.0)])
def test_folding_knows_signed_zeros_whatever_the_order(op, most):
    from vortex_dsl.graph.interner import Interner

    interner = Interner()
    zeros = [interner.number(0.0), interner.number(-0.0)]
    folded = {interner.make(op, tuple(pair)).number for pair in (zeros, zeros[::-1])}
    assert [str(number) for number in folded] == [str(most)]


def test_the_verifier_looks_at_what_each_pass_makes(monkeypatch):
    from dataclasses import replace

    from vortex_dsl.passes import pipeline as passes

    def broken(graph):
        """Give a graph whose root is no selection."""
        return replace(graph, selection=graph.selection.args[0])

    monkeypatch.setattr(passes, "PASSES", (passes.Pass(broken),))
    with pytest.raises(VerifierError, match=r"after the pass 'broken' .* the root is a selection"):
        finished(traced(program("known"), SHAPE))


def test_stages_end_where_pages_are_mixed():
    mixed, refined = (schedule(finished(traced(program(case), SHAPE))) for case in ("mixed", "refined"))
    assert [[node.op for node in stage.nodes] for stage in mixed] == [
        ["dot", "max", "sum"],
        ["div", "smooth"],
        ["topk"],
    ]
    assert [stage.kind for stage in refined] == ["score", "choose", "score", "choose"]
    assert [stage.among and stage.among.op for stage in refined] == [None, None, "topk", "topk"]


def test_every_node_of_select_is_in_one_stage():
    for name in names():
        graph = trace(load_program(text(name)), SHAPE)
        staged = [node for stage in schedule(graph) for node in stage.nodes]
        assert len(staged) == len(set(staged))
        computed = {node for node in graph.select_nodes if node.args and node.op != "field"}
        assert computed <= set(staged)
        seen: set = set()
        for stage in schedule(graph):
            for node in stage.nodes:
                assert all(arg in seen or arg not in staged for arg in node.args)
                seen.add(node)
