"""What a decode step costs, against counts by hand."""

from __future__ import annotations

import pytest

from vortex_dsl.cost import NUM_GROUPS, cost
from vortex_dsl.load import load_program
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
    assert streaming.ratio == pytest.approx(PAGES / 3)


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


def test_budgets_may_depend_on_the_length_and_the_layer() -> None:
    by_length = of(program("topk(page.index, maximum(8, 0.05 * page.count))"))
    assert by_length.pages_read == 3 + int(0.05 * PAGES)
    by_layer = of(program("topk(page.index, 8 * (layer.index + 1))"))
    assert by_layer.pages_read == 3 + 8 * sum(layer + 1 for layer in range(1, 1 + NUM_GROUPS)) / NUM_GROUPS
    unknown = of(program('topk(page.index, q.max("head", "dim"))'))
    assert unknown.pages_read == PAGES


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


def test_selections_never_exceed_the_candidates() -> None:
    both = of(program("union(topk(page.index, 2000), topk(-page.index, 2000))"))
    assert both.pages_read == PAGES
    assert of(program("topk(page.index, 3)"), sink=16, window=64).pages_read == 83
    short = cost(load_program(text("quest")), SHAPE, tokens=20)
    assert (short.pages_read, short.pages_dense) == (2, 2)
    with pytest.raises(ValueError, match="at least 1"):
        cost(load_program(text("quest")), SHAPE, tokens=0)
