"""The cost model against the plan that Triton is given: what is charged is what emitted kernels read and write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vortex_dsl.analysis.budget import Budget
from vortex_dsl.analysis.cost import cost_of
from vortex_dsl.analysis.layout import Layout
from vortex_dsl.analysis.schedule import schedule
from vortex_dsl.codegen.emit import emit_stage
from vortex_dsl.codegen.plan import make_plan
from vortex_dsl.frontend.load import load_program
from vortex_dsl.frontend.trace import trace
from vortex_dsl.values import Shape
from vortex_dsl.zoo import names, text

if TYPE_CHECKING:
    from vortex_dsl.codegen.plan import Launch, Plan

TOKENS = 4096
SHAPE = Shape(group=2, head_dim=128)
READ_TWICE = ("diverse",)  # at the page and at the one before, which the kernel finds in a cache and the model charges


def pages_of(plan: Plan, stage: Launch) -> int:
    """Give the pages that a stage works on, at most."""
    graph, num_pages = plan.graph, TOKENS // plan.graph.page_size
    if stage.among is None:
        return num_pages
    budget = Budget(num_pages, graph.sink + graph.window, graph.dense_layers, graph.dense_layers + graph.share_layers)
    (among,) = {cut.among for cut in schedule(graph) if cut.among is not None}
    return budget.chosen(among)


def planned_bytes(plan: Plan) -> int:
    """Give the bytes of fields and raw pages that the emitted stages read at one choice."""
    return sum(pages_of(plan, stage) * emit_stage(plan, stage).page_bytes(plan.layout, 2) for stage in plan.stages)


@pytest.mark.parametrize("name", names())
def test_what_is_charged_of_fields_and_keys_is_what_the_emitted_kernels_read(name: str) -> None:
    graph = trace(load_program(text(name)), SHAPE)
    cost = cost_of(graph, TOKENS, graph.dense_layers + graph.share_layers)
    uses = graph.share_layers * graph.refresh_steps  # of one choice
    reads = 2 if name in READ_TWICE else 1
    assert cost.select_bytes * uses == pytest.approx(reads * planned_bytes(make_plan(graph)), rel=1e-9)


@pytest.mark.parametrize("name", names())
def test_a_page_holds_no_byte_that_is_neither_charged_nor_padding(name: str) -> None:
    graph = trace(load_program(text(name)), SHAPE)
    layout = Layout(graph)
    assert (
        0 <= layout.bytes_per_page - sum(field.num_bytes for field in layout.fields) < 16 * max(len(layout.fields), 1)
    )
