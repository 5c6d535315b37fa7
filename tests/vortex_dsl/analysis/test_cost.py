"""What a decode step costs, against counts by hand."""

from __future__ import annotations

import pytest
import torch

from vortex_dsl.analysis.advice import warnings
from vortex_dsl.analysis.cost import NUM_LAYERS, cost_of, ratio_without_pages
from vortex_dsl.analysis.devices import Device, device, roofline
from vortex_dsl.api import attend, cost
from vortex_dsl.frontend.load import load_program
from vortex_dsl.frontend.trace import trace
from vortex_dsl.values import Shape
from vortex_dsl.zoo import names, text

SHAPE = Shape(group=4, head_dim=128)
TOKENS = 32768
PAGES = TOKENS // 16


def program(result: str, summary: str = "{}") -> str:
    return (
        'from vortex_dsl import *\n\n\nclass P(Program):\n    """A cost."""\n\n'
        f"    def summarize(self, k, v):\n        return {summary}\n\n"
        f"    def select(self, q, page):\n        return {result}\n"
    )


def of(text_: str, **values: int):
    return cost(load_program(text_).with_values(**values), SHAPE, tokens=TOKENS)


def test_dense_reads_everything_and_streaming_the_reserved_pages() -> None:
    dense, streaming = of(text("dense")), of(text("streaming"))
    assert dense.bytes == dense.dense_bytes == TOKENS * 128 * 2 * 2
    assert dense.ratio == 1.0
    assert dense.attend_flops == dense.dense_flops == TOKENS * 128 * 4 * 4
    assert streaming.pages_read == 3
    assert streaming.dense_bytes / streaming.bytes == pytest.approx(PAGES / 3)


def test_quest_reads_two_vectors_per_page_and_its_budget() -> None:
    quest = of(text("quest"), pages=61)
    assert quest.bytes_per_page == 512
    assert quest.pages_read == 64
    assert quest.select_bytes == PAGES * 512
    assert quest.attend_bytes == 64 * 16 * 128 * 4
    assert quest.select_flops > PAGES * 4 * 128 * 4


def test_raw_pages_are_charged_in_full() -> None:
    assert of(text("oracle_mass")).select_bytes == TOKENS * 128 * 2


def test_every_program_of_the_zoo_reads_no_more_than_dense_and_the_raw_pages() -> None:
    for name in names():
        if name != "dense":
            assert of(text(name)).ratio > 1.0


def test_no_budget_reads_less_than_no_page() -> None:
    for name in names():
        rule = load_program(text(name))
        for pages in (1, 20, 1000) if rule.budget == "pages" else ():
            graph = trace(rule.with_values(pages=pages), SHAPE)
            assert 0 < cost_of(graph, TOKENS).ratio <= ratio_without_pages(graph, TOKENS)


def test_budgets_may_depend_on_the_length_and_the_layer() -> None:
    by_length = of(program("topk(page.index, maximum(8, 0.05 * page.count))"))
    assert by_length.pages_read == 3 + int(0.05 * PAGES)
    by_layer = of(program("topk(page.index, 8 * (layer.index + 1))"))
    assert by_layer.pages_read == 3 + 8 * sum(range(2, NUM_LAYERS + 1)) / (NUM_LAYERS - 1)
    unknown = of(program('topk(page.index, q.max("head", "dim"))'))
    assert unknown.pages_read == PAGES


@pytest.mark.parametrize(
    ("budget", "pages_read"),
    [
        ("where(kv_head.index < 1, 1, 9999)", PAGES),
        ("where(kv_head.index % 2 == 1, 40, 8)", 3 + 40),
        ("8 + kv_head.index * q.max('head', 'dim')", PAGES),
        ("where(kv_head.index < 1, 8 / kv_head.index, 8)", PAGES),
        ("log(0 - kv_head.index) + 8", PAGES),
    ],
)
def test_budgets_that_depend_on_the_kv_head_count_as_the_largest(budget: str, pages_read: int) -> None:
    assert of(program(f"topk(page.index, {budget})")).pages_read == pages_read


@pytest.mark.parametrize(
    "condition",
    [
        "page.count + 0.00000001 == page.count",
        "(page.count + 1) * 16777216 - page.count * 16777216 - 16777216 == 0",
        "page.count + 16777217 == page.count + 16777216",
        "page.count * 0.1 * 10 == page.count",
    ],
)
def test_a_budget_is_computed_as_what_serves_computes_it(condition: str) -> None:
    """In numbers that are more exact some would be another one, and cost what nobody reads."""
    rule = load_program(program(f"topk(page.index, where({condition}, 20, 1))"))
    for tokens in (1600, 1616, 2000):
        k = torch.ones(1, 1, tokens, SHAPE.head_dim)
        attended = attend(rule, torch.ones(1, SHAPE.group, SHAPE.head_dim), k, k, backend="torch")[1]
        assert cost(rule, SHAPE, tokens=tokens).pages_read == attended.sum()


def test_a_page_wise_refinement_reads_only_the_pages_it_refines() -> None:
    summary = '{"c": k.mean("token"), "keys": k.to("int8")}'
    coarse = 'topk(dot(q.sum("head"), page.c, "dim"), 32)'
    fine = 'dot(q, page.keys, "dim").max("head", "token")'
    field_bytes = 16 * 128 + 16 * 4
    refined = of(program(f"refine({coarse}, {fine}, 8)", summary))
    assert refined.select_bytes == PAGES * 256 + 32 * field_bytes
    assert refined.pages_read == 11
    mixing = of(program(f'refine({coarse}, {fine}.softmax("page").cumsum("page"), 8)', summary))
    assert mixing.select_bytes == PAGES * (256 + field_bytes)


def test_two_refinements_pay_for_the_pages_of_each() -> None:
    summary = '{"c": k.mean("token"), "keys": k.to("int8")}'
    coarse = [f'topk({sign}dot(q.sum("head"), page.c, "dim"), {n})' for sign, n in (("", 32), ("-", 64))]
    fine = 'dot(q, page.keys, "dim").max("head", "token")'
    both = of(program(f"union(refine({coarse[0]}, {fine}, 8), refine({coarse[1]}, {fine}, 8))", summary))
    assert both.select_bytes == PAGES * 256 + (32 + 64) * (16 * 128 + 16 * 4)


def test_selections_never_exceed_the_candidates() -> None:
    both = of(program("union(topk(page.index, 2000), topk(-page.index, 2000))"))
    assert both.pages_read == PAGES
    assert of(program("topk(page.index, 3)"), sink=16, window=64).pages_read == 83
    short = cost(load_program(text("quest")), SHAPE, tokens=20)
    assert (short.pages_read, short.pages_dense) == (2, 2)
    with pytest.raises(ValueError, match="tokens is 0; give a whole number from 1 to"):
        cost(load_program(text("quest")), SHAPE, tokens=0)


def test_stages_add_up_and_come_in_the_order_of_work() -> None:
    quest = of(text("quest"))
    assert [stage.name for stage in quest.stages] == ["summarize", "score 1", "topk", "attend"]
    assert quest.bytes == sum(stage.bytes for stage in quest.stages)
    parts = (quest.summarize_bytes, quest.select_bytes, quest.buffer_bytes, quest.state_bytes, quest.attend_bytes)
    assert quest.bytes == pytest.approx(sum(parts))
    assert quest.flops == pytest.approx(quest.summarize_flops + quest.select_flops + quest.attend_flops)


def test_scoring_is_cut_where_pages_are_mixed_and_what_lies_between_is_written_and_read() -> None:
    score = 'dot(q, page.c, "dim").max("head")'
    plain, mixed = (
        of(program(f"topk({each}, 8)", '{"c": k.mean("token")}'))
        for each in (score, f'{score}.smooth("page", [1, 2, 1])')
    )
    assert [stage.name for stage in plain.stages] == [stage.name for stage in mixed.stages]
    smoothed = of(program(f'topk({score}.smooth("page", [1, 2, 1]) + page.index, 8)', '{"c": k.mean("token")}'))
    assert [stage.kind for stage in smoothed.stages] == ["summarize", "score", "score", "choose", "attend"]
    assert plain.buffer_bytes == 2 * 4 * PAGES
    assert smoothed.buffer_bytes == 4 * 4 * PAGES


def test_summarize_is_paid_once_per_page() -> None:
    quest = of(text("quest"))
    assert quest.summarize_bytes == (16 * 128 * 2 + 512) / 16
    assert of(text("value_gated")).summarize_bytes == (2 * 16 * 128 * 2 + 256 + 16) / 16
    assert of(text("oracle_mass")).summarize_bytes == 0


@pytest.mark.parametrize("setting", ["share_layers", "refresh_steps"])
def test_a_choice_that_is_used_several_times_is_paid_once(setting: str) -> None:
    once, often = of(text("quest")), of(text("quest"), **{setting: 4})
    uses = 4 if setting == "refresh_steps" else (NUM_LAYERS - 1) / 8  # the last of 31 layers' groups is short
    assert often.select_bytes == pytest.approx(once.select_bytes / uses)
    assert often.select_flops == pytest.approx(once.select_flops / uses)
    assert (often.attend_bytes, often.summarize_bytes) == (once.attend_bytes, once.summarize_bytes)


def test_budgets_by_layer_are_those_of_the_layers_that_choose() -> None:
    by_layer = of(program("topk(page.index, 8 * (layer.index + 1))"), share_layers=2, dense_layers=3)
    pairs, alone = range(3, NUM_LAYERS - 1, 2), NUM_LAYERS - 1  # the last layer has nobody to share with
    assert by_layer.pages_read == 3 + 8 * (sum(2 * (i + 1) for i in pairs) + alone + 1) / (NUM_LAYERS - 3)


def test_every_layer_of_the_model_counts_the_dense_ones_as_dense() -> None:
    streaming = load_program(text("streaming"))
    for num_layers, dense in ((2, 1), (30, 1), (30, 8), (8, 8)):
        spent = cost(streaming.with_values(dense_layers=dense), SHAPE, TOKENS, num_layers)
        pages = dense * PAGES + (num_layers - dense) * 3
        assert spent.ratio == pytest.approx(num_layers * PAGES / pages)
        assert (spent.layers.num, spent.layers.num_dense) == (num_layers, dense)
    assert cost(streaming.with_values(dense_layers=8), SHAPE, TOKENS, num_layers=2).ratio == 1.0
    with pytest.raises(ValueError, match="num_layers is 0; give a whole number from 1 to 4,096"):
        cost(streaming, SHAPE, TOKENS, num_layers=0)


def test_budgets_that_cannot_tell_layers_apart_cost_the_same_counted_once_or_in_each() -> None:
    """Where a budget mentions the layer all of them are counted, and it may still be the same everywhere."""
    alike = program("topk(page.index, 8 + 0 * layer.count)", "{}")
    assert "layer.count" in trace(load_program(alike), SHAPE).listing
    for values in ({}, {"share_layers": 4}, {"share_layers": 4, "refresh_steps": 2, "dense_layers": 2}):
        for num_layers in (3, 30, 31):
            once, each = (
                cost(load_program(one).with_values(**values), SHAPE, TOKENS, num_layers)
                for one in (program("topk(page.index, 8)"), alike)
            )
            assert each.bytes == pytest.approx(once.bytes)


def test_a_choice_that_few_layers_share_at_the_end_costs_them_more() -> None:
    """Of five layers after a dense one that share by four, the last chooses for itself."""
    spent = cost(load_program(text("quest")).with_values(share_layers=4), SHAPE, TOKENS, num_layers=6)
    assert spent.select_bytes == PAGES * 512 * 2 / 5


def test_states_are_read_and_written_in_float32() -> None:
    body = 'topk(page.index + page.h, 8).remember(h=0.5 * page.h + dot(q, page.c, "dim").max("head"))'
    stateful = program(body, '{"c": k.mean("token")}').replace(
        '    """A cost."""\n', '    """A cost."""\n\n    h = State()\n'
    )
    cost_ = of(stateful)
    assert cost_.state_bytes == 2 * 4 * PAGES
    assert cost_.stages[-2].name == "remember"
    assert cost_.select_bytes == PAGES * 256


def test_a_field_that_is_hoisted_is_counted_as_it_is_stored() -> None:
    narrow = of(program('topk(page.c.norm("dim"), 8)', '{"c": k.mean("token")}'))
    assert narrow.bytes_per_page == 16
    assert narrow.select_bytes == PAGES * 4


def test_a_roofline_takes_the_longer_of_bytes_and_arithmetic() -> None:
    quest = of(text("quest"))
    h200 = device("H200")
    roof = roofline(quest, h200)
    assert roof.dense_s == quest.dense_bytes / 4.8e12
    assert roof.stages_s == tuple(stage.bytes / 4.8e12 for stage in quest.stages)
    assert roof.speedup == pytest.approx(quest.ratio)
    assert roof.speedup < roof.dense_s / roof.sparse_s  # the first layer is dense
    assert roof.sparse_s == pytest.approx(quest.bytes / 4.8e12)
    slow = Device("slow", bytes_per_s=1e30, matrix_flops_per_s=2.0, flops_per_s=1.0)
    arithmetic = roofline(quest, slow)
    assert arithmetic.dense_s == quest.dense_flops / 2
    assert arithmetic.sparse_s == pytest.approx(quest.flops - quest.attend_flops / 2)


def test_devices_are_known_by_name_and_this_cpu_is_measured() -> None:
    order = [device(name).bytes_per_s for name in ("H100", "H200", "B200")]
    assert order == sorted(order)
    cpu = device("cpu")
    assert 1e8 < cpu.bytes_per_s < order[0]
    assert 1e8 < cpu.flops_per_s < 1e15
    with pytest.raises(LookupError, match="no device 'A100'; its peaks are known for H100, H200, B200, cpu"):
        device("A100")


WARNED = {
    "it attends to every page": (text("dense"), {}),
    "cover all 2,048 pages": (program("topk(page.index, 4000)"), {}),
    "only known from the cache": (program('topk(page.index, q.sum("head", "dim"))'), {}),
    "it cannot be faster": (program("topk(page.index, 4000)"), {}),
    "reads page.k of every page": (text("oracle_mass"), {}),
    "reads page.k and page.v of every page": (
        program('topk((dot(q, page.k, "dim") * dot(q, page.v, "dim")).max("head", "token"), 4)'),
        {},
    ),
    "its fields take 8,192 bytes per page": (
        program('topk(dot(q, page.c, "dim").max("head", "token"), 4)', '{"c": k.to("float32")}'),
        {},
    ),
    "choosing pages takes": (
        program('topk(exp(exp(exp(q * page.k))).sum("head", "token", "dim"), 4)'),
        {},
    ),
}


@pytest.mark.parametrize("sentence", WARNED)
def test_a_program_that_cannot_beat_dense_is_warned_of(sentence: str) -> None:
    given, values = WARNED[sentence]
    graph = trace(load_program(given).with_values(**values), SHAPE)
    assert any(sentence in warning for warning in warnings(graph, cost_of(graph, TOKENS)))


@pytest.mark.parametrize("name", ["quest", "centroid", "streaming", "twilight", "two_stage", "quest_int4"])
def test_no_warning_without_a_reason(name: str) -> None:
    graph = trace(load_program(text(name)), SHAPE)
    assert warnings(graph, cost_of(graph, TOKENS)) == ()


def test_a_modelled_step_is_bytes_and_launches():
    from vortex_dsl.analysis.devices import LAUNCH_S, REACHED, device, modelled_s, roofline

    cost, card = cost_of(trace(load_program(text("quest")), Shape(2, 128)), 32768), device("H200")
    roof = roofline(cost, card)
    sparse_s, dense_s = modelled_s(cost, card, rows=256, num_launches=3)
    assert sparse_s == pytest.approx(3 * LAUNCH_S + 256 * roof.sparse_s / REACHED)
    assert dense_s == pytest.approx(LAUNCH_S + 256 * roof.dense_s / REACHED)
    few = modelled_s(cost, card, rows=1, num_launches=3)
    # Launches weigh most where there is little to read.
    assert few[1] / few[0] < dense_s / sparse_s < roof.dense_s / roof.sparse_s
