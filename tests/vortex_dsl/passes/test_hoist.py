"""Hoisting: a page's own arithmetic is done once, fields shrink, and the same pages are chosen."""

from __future__ import annotations

import pytest
import torch

from vortex_dsl import Shape, attend, decode, load_program
from vortex_dsl.analysis.cost import cost_of
from vortex_dsl.analysis.layout import Layout
from vortex_dsl.backends import reference
from vortex_dsl.backends.batched import Batched, Loaded, Step
from vortex_dsl.backends.contract import BACKENDS
from vortex_dsl.frontend.trace import trace, traced
from vortex_dsl.node import LEAVES
from vortex_dsl.passes.cut import smallest_cut
from vortex_dsl.passes.hoist import hoist
from vortex_dsl.passes.pipeline import CANONICAL
from vortex_dsl.storage import KINDS

SHAPE = Shape(group=2, head_dim=16)
WIDE = Shape(group=2, head_dim=64)
PAGES = 24
TOKENS = PAGES * 16
TEXT = '''from vortex_dsl import *


class P(Program):
    """What may be hoisted."""

    def summarize(self, k, v):
        return {summary}

    def select(self, q, page):
        return {result}
'''
CENTER = '{"c": k.mean("token")}'
EXACT = '{"c": k.mean("token").to("float32")}'
BEST = 'dot(q, page.c, "dim").max("head")'


def program(result, summary=CENTER):
    return load_program(TEXT.replace("{summary}", summary).replace("{result}", result))


def both(result, summary=CENTER, shape=SHAPE):
    """Give the canonical graph and the hoisted one."""
    graph = traced(program(result, summary), shape)
    for each in CANONICAL:
        graph = each.run(graph)
    return graph, hoist(graph)


def ops(graph):
    return [node.op for node in graph.select_nodes if node.op not in LEAVES]


SHRINKING = {
    "a norm instead of its vector": ('topk(page.c.norm("dim"), 5)', CENTER),
    "two numbers instead of one vector": ('above(page.c.norm("dim"), page.c.sum("dim").max("page"), limit=5)', CENTER),
    "some channels": ('topk(dot(q.take("dim", [3, 1]), page.c.take("dim", [3, 1]), "dim").max("head"), 5)', CENTER),
    "raw values": ('topk(page.v.norm("dim").max("token"), 5)', "{}"),
    "raw keys in a refinement": (f'refine(topk({BEST}, 8), page.k.max("token").sum("dim"), 5)', CENTER),
    "one of two fields": (
        'topk(dot(q, page.c, "dim").max("head") * page.d.norm("dim"), 5)',
        '{"c": k.mean("token"), "d": v.max("token")}',
    ),
    "where, whose condition no field holds": ('topk(where(page.c > 0, page.c, 2).sum("dim"), 5)', CENTER),
    "with a constant vector": ('topk(dot(page.c, vector(range(16), "dim"), "dim"), 5)', CENTER),
    "before pages are mixed": ('topk(page.c.sum("dim").smooth("page", [1, 2, 1]), 5)', CENTER),
}
STAYING = {
    "what the query enters": (f"topk({BEST}, 5)", CENTER),
    "a field that is read anyway": (f'topk({BEST} * page.c.norm("dim"), 5)', CENTER),
    "what would be larger": ('topk(dot(q, exp(page.c), "dim").max("head"), 5)', CENTER),
    "what mixes pages": ('topk((page.c / page.c.sum("page")).norm("dim"), 5)', CENTER),
    "what knows the page's place": ('topk((page.c * page.index).norm("dim"), 5)', CENTER),
    "a threshold's part of a field that is read": (f'above({BEST}, page.c.min("dim").max("page"), limit=5)', CENTER),
    "another name for an axis": ('topk(dot(q.rename(dim="x"), page.c.rename(dim="x"), "x").max("head"), 5)', EXACT),
    "larger sides of int4 fields": (
        'topk(maximum(q * page.a, q * page.b).sum("dim").max("head"), 5)',
        '{"a": k.max("token").to("int4"), "b": k.min("token").to("int4")}',
    ),
}


@pytest.mark.parametrize("case", SHRINKING)
def test_a_step_gets_cheaper_and_the_digest_stays(case):
    before, after = both(*SHRINKING[case])
    assert after is not before
    assert after.digest == before.digest
    old, new = cost_of(before, 32768), cost_of(after, 32768)
    assert new.select_bytes + new.buffer_bytes <= old.select_bytes + old.buffer_bytes
    assert (new.select_bytes, new.select_flops) < (old.select_bytes, old.select_flops)
    assert new.bytes_per_page == Layout(after).bytes_per_page
    assert len(ops(after)) < len(ops(before))


@pytest.mark.parametrize("case", STAYING)
def test_what_would_not_be_cheaper_stays(case):
    before, after = both(*STAYING[case])
    assert after is before


def test_a_vector_becomes_one_number():
    before, after = both(*SHRINKING["a norm instead of its vector"])
    assert [field.type.names for field in before.fields] == [("dim",)]
    assert [(field.type.names, field.storage) for field in after.fields] == [((), "float32")]
    assert after.inputs <= before.inputs
    assert ops(after) == ["topk"]


def test_raw_pages_are_no_longer_read():
    before, after = both(*SHRINKING["raw values"])
    assert "page.v" in before.inputs
    assert not after.inputs
    assert cost_of(after, 32768).select_bytes < cost_of(before, 32768).select_bytes / 100


def dyadic(*shape, generator):
    """Small multiples of 1/4: sums and products of a few are exact in float32, rounding to int8 and int4 too."""
    return torch.randint(-8, 9, shape, generator=generator) / 4


def inputs(exact, seed=0, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    draw = dyadic if exact else torch.randn
    return tuple(draw(n, shape.head_dim, generator=generator) for n in (shape.group, TOKENS, TOKENS))


def chosen(graph, q, k, v):
    return reference.choose(graph, q, k, v, reference.Place(0, 1, 0, 0.25)).pages


@pytest.mark.parametrize("exact", [True, False], ids=["dyadic", "normal"])
@pytest.mark.parametrize("case", SHRINKING)
def test_the_reference_chooses_the_same_pages(case, exact):
    before, after = both(*SHRINKING[case])
    for seed in range(3):
        assert torch.equal(chosen(before, *inputs(exact, seed)), chosen(after, *inputs(exact, seed)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_hoisted_value_sees_fields_as_they_are_stored(kind):
    """Rounding decides here: one number is far larger than what distinguishes pages."""
    summary = f'{{"c": (k + 100 * v).max("token").to("{kind}")}}'
    before, after = both('topk((page.c * page.c).sum("dim"), 5)', summary, WIDE)
    assert after is not before
    q, k, v = inputs(exact=False, shape=WIDE)
    assert torch.equal(chosen(before, q, k, v), chosen(after, q, k, v))
    if kind not in ("float32", "float16"):
        exact, _ = both('topk((page.c * page.c).sum("dim"), 5)', summary.replace(kind, "float32"), WIDE)
        scores = [score(graph, k, v) for graph in (before, exact)]
        assert not torch.equal(*scores)


def score(graph, k, v):
    """Give the score of the root's topk."""
    from vortex_dsl.backends.interpreter import evaluate
    from vortex_dsl.ops.frame import Frame

    pages = [x.unflatten(0, (PAGES, 16)) for x in (k, v)]
    fields = [reference.summarize(graph, *page) for page in zip(*pages, strict=True)]
    env = {field.leaf: torch.stack([each[field.leaf] for each in fields]) for field in graph.fields}
    nodes = [node for node in graph.select_nodes if node is not graph.selection]
    evaluate(nodes, env, Frame(0), torch.device("cpu"))
    return env[graph.selection.args[0]]


@pytest.mark.parametrize("kind", KINDS)
def test_hoisted_scores_are_the_unhoisted_ones_bit_for_bit(kind):
    """Elementwise work and a maximum have no order of summation that could differ."""
    summary = f'{{"c": (k + 100 * v).max("token").to("{kind}")}}'
    before, after = both('topk((page.c * 3 - 1).max("dim"), 5)', summary, WIDE)
    _, k, v = inputs(exact=False, shape=WIDE)
    assert after is not before
    assert torch.equal(score(before, k, v), score(after, k, v))


@pytest.mark.parametrize("case", ["some channels", "raw keys in a refinement", "one of two fields"])
def test_a_batch_chooses_as_the_reference(case):
    _, after = both(*SHRINKING[case])
    batched = Batched(after)
    q, k, v = (x[None] for x in inputs(exact=True))
    k, v = (x.unflatten(1, (PAGES, 16)) for x in (k, v))
    region = batched.summarize(k[0], v[0])
    fields = batched.layout.load(region, torch.arange(PAGES)[None])
    sets = batched.page_sets(torch.tensor([TOKENS]), PAGES)
    step = Step(q, sets, torch.tensor([0]), 0, 1, 0.25, Loaded(PAGES, fields, k, v))
    assert torch.equal(batched.choose(step).pages[0], chosen(after, q[0], k[0].flatten(0, 1), v[0].flatten(0, 1)))


def test_the_graph_that_is_traced_is_hoisted_and_keeps_its_digest_across_shapes():
    text = program('topk(page.c.norm("dim"), 5)')
    graphs = [trace(text, Shape(1, head_dim)) for head_dim in (1, 64, 128)]
    assert len({graph.digest for graph in graphs}) == 1
    assert [len(graph.fields[0].type.axes) for graph in graphs[1:]] == [0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_backend_runs_a_hoisted_program(kind):
    text = program('topk((page.c * 3 - 1).max("dim"), 5)', f'{{"c": (k + 100 * v).max("token").to("{kind}")}}')
    assert [field.storage for field in trace(text, WIDE).fields] == ["float32"]
    q, k, v = inputs(exact=False, shape=WIDE)
    given = (q[None], k[None, None, :200], v[None, None, :200])
    attended = [attend(text, *given, backend=backend)[1] for backend in BACKENDS]
    assert all(torch.equal(pages, attended[0]) for pages in attended)


def test_the_cheapest_cut_is_the_one_nearest_to_what_is_wanted():
    graph, _ = both('topk(exp(page.c).sum("dim"), 5)')
    by_op = {node.op: node for node in graph.select_nodes}
    price = {by_op["field"]: 5.0, by_op["exp"]: 5.0, by_op["sum"]: 7.0}
    assert smallest_cut(price, [by_op["sum"]]) == {by_op["exp"]}
    assert smallest_cut(price | {by_op["sum"]: 5.0}, [by_op["sum"]]) == {by_op["sum"]}
    assert smallest_cut(price, [by_op["sum"], by_op["field"]]) == {by_op["field"]}
    assert smallest_cut(price | {by_op["exp"]: float("inf")}, [by_op["exp"]]) == {by_op["field"]}


def test_what_a_state_is_given_is_hoisted_too():
    stateful = TEXT.replace('"""What may be hoisted."""', '"""Numbers remembered."""\n\n    h = State()')
    stateful = stateful.replace("{summary}", CENTER).replace(
        "{result}", 'topk(page.h + q.sum("head", "dim"), 3).remember(h=page.c.norm("dim") + 0.5 * page.h)'
    )
    graph = trace(load_program(stateful), SHAPE)
    assert [field.type.names for field in graph.fields] == [()]
    generator = torch.Generator().manual_seed(1)
    qs = torch.randn(3, 2, 1, 2, 16, generator=generator)
    ks, vs = (torch.randn(2, 1, 1, 153, 16, generator=generator) for _ in range(2))
    attended = [decode(load_program(stateful), qs, ks, vs, 150, backend=each)[1] for each in ("reference", "torch")]
    assert torch.equal(*attended)
