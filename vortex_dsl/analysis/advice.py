"""Warnings about programs that cannot beat dense attention, or that pay more than they need to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.analysis.budget import depends_on_the_cache
from vortex_dsl.analysis.cost import CACHE_BYTES
from vortex_dsl.graph.graph import RAW_PAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vortex_dsl.analysis.cost import Cost
    from vortex_dsl.graph.graph import Graph


def warnings(graph: Graph, cost: Cost) -> tuple[str, ...]:
    """Say what stands in the way of beating dense attention at the cost's length, one sentence each."""
    return (*_of_budget(graph, cost), *_of_bytes(graph, cost), *_of_arithmetic(cost))


def _of_budget(graph: Graph, cost: Cost) -> Iterator[str]:
    if graph.selection.op == "every_page":
        yield "it attends to every page, as dense attention does; return a selection such as topk(score, self.pages)"
    elif cost.pages_read >= cost.pages_dense and depends_on_the_cache(graph):
        yield (
            f"how many pages are chosen is only known from the cache and may be all {cost.pages_dense:,}, "
            "which is what the cost counts; give a smaller limit"
        )
    elif cost.pages_read >= cost.pages_dense:
        yield (
            f"its budget and the reserved pages cover all {cost.pages_dense:,} pages of {cost.tokens:,} tokens; "
            "choose fewer pages, or use it for longer sequences"
        )


def _of_bytes(graph: Graph, cost: Cost) -> Iterator[str]:
    if cost.ratio <= 1 and graph.selection.op != "every_page":
        yield (
            f"it moves {cost.bytes:,.0f} bytes per step where dense attention reads {cost.dense_bytes:,.0f}: "
            "it cannot be faster; read narrower fields or attend to fewer pages"
        )
    raw = [name for name in RAW_PAGES if name in graph.inputs]
    everywhere = [stage for stage in cost.stages if stage.kind == "score" and stage.pages >= cost.pages_dense]
    half = cost.dense_bytes / 2 / graph.share_layers / graph.refresh_steps
    if raw and everywhere and cost.select_bytes >= half:
        yield (
            f"it reads {' and '.join(raw)} of every page to choose some, half of dense attention's bytes for each; "
            "summarize the pages, or read them in refine only"
        )
    page_bytes = 2 * CACHE_BYTES * graph.page_size * graph.shape.head_dim
    if cost.bytes_per_page * 2 >= page_bytes:
        yield (
            f"its fields take {cost.bytes_per_page:,} bytes per page beside {page_bytes:,} of keys and values; "
            "store them in fewer bits, or fewer channels of them"
        )


def _of_arithmetic(cost: Cost) -> Iterator[str]:
    choosing = cost.flops - cost.attend_flops
    if choosing > cost.dense_flops:
        yield (
            f"choosing pages takes {choosing:,.0f} flops where dense attention takes {cost.dense_flops:,.0f}; "
            "reduce over dim or token earlier"
        )
