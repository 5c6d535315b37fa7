"""What a decode step of a program costs, per sequence, KV head and sparse layer: bytes and flops, stage by stage.

Budgets that depend on what is in the cache count in full (an upper bound); those that depend on the layer are
averaged over a model with 8 groups of layers that share a choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

from vortex_dsl.analysis.budget import Budget
from vortex_dsl.analysis.layout import Layout
from vortex_dsl.analysis.schedule import Cut, schedule
from vortex_dsl.node import LEAVES, Node
from vortex_dsl.ops import ENTRIES
from vortex_dsl.values import MAX_TOKENS, PAGE, Type, check_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.graph.graph import Graph

CACHE_BYTES = 2  # per element of K and V: bfloat16
FLOAT_BYTES = 4  # per element of states and of what one stage leaves for another
NUM_GROUPS = 8
RAW = {"page.k": "k", "page.v": "v"}

StageKind = Literal["summarize", "score", "choose", "remember", "attend"]


@dataclass(frozen=True)
class StageCost:
    """One stage of a decode step, amortised over the steps and layers that it serves.

    `pages`: the pages that it works on; `bytes` read and written.
    """

    name: str
    kind: StageKind
    pages: float
    bytes: float
    flops: float


@dataclass(frozen=True)
class Cost:
    """One decode step of one sparse layer, per sequence and KV head.

    `bytes_per_page`: what the fields add to a page; `pages_read`: attended pages of `pages_dense`;
    `summarize_*`: computing a page's fields, once in `page_size` steps; `select_*`: scoring pages (fields, raw pages
    if read, arithmetic); `buffer_bytes`: what stages of scoring leave for one another; `state_bytes`: states read and
    written; `attend_*`: K and V of attended pages. Choosing pages is divided by `share_layers` and `refresh_steps`.
    """

    tokens: int
    bytes_per_page: int
    pages_dense: int
    pages_read: float
    summarize_bytes: float
    select_bytes: float
    buffer_bytes: float
    state_bytes: float
    attend_bytes: float
    dense_bytes: float
    summarize_flops: float
    select_flops: float
    attend_flops: float
    dense_flops: float
    stages: tuple[StageCost, ...]

    @property
    def bytes(self) -> float:
        """Bytes read and written per decode step."""
        return sum(stage.bytes for stage in self.stages)

    @property
    def flops(self) -> float:
        """Floating-point operations per decode step."""
        return sum(stage.flops for stage in self.stages)

    @property
    def ratio(self) -> float:
        """Bytes that dense attention reads per byte of this program: the ceiling of its attention's speed-up."""
        return self.dense_bytes / self.bytes


def cost_of(graph: Graph, tokens: int) -> Cost:
    """Give the cost of one decode step of a graph at a length of `tokens` tokens, at least 1."""
    check_size("cost: tokens", tokens, MAX_TOKENS)
    group, dim = graph.shape.group, graph.shape.head_dim
    cut, layout = schedule(graph), Layout(graph)
    counts = [_Counts(cut, layout, graph, budget) for budget in _budgets(graph, tokens)]
    attend, summarize = _attend(graph, counts, tokens), _summarize(graph)
    chosen = tuple(_average(column, graph) for column in zip(*(count.stages for count in counts), strict=True))
    return Cost(
        tokens=tokens,
        bytes_per_page=layout.bytes_per_page,
        pages_dense=counts[0].budget.num_pages,
        pages_read=attend.pages,
        summarize_bytes=summarize.bytes,
        select_bytes=_amortised([count.field_bytes for count in counts], graph),
        buffer_bytes=_amortised([count.buffer_bytes for count in counts], graph),
        state_bytes=_amortised([count.state_bytes for count in counts], graph),
        attend_bytes=attend.bytes,
        dense_bytes=tokens * dim * 2 * CACHE_BYTES,
        summarize_flops=summarize.flops,
        select_flops=sum(stage.flops for stage in chosen),
        attend_flops=attend.flops,
        dense_flops=tokens * group * dim * 4,
        stages=(*([summarize] if graph.fields else []), *chosen, attend),
    )


def _budgets(graph: Graph, tokens: int) -> list[Budget]:
    """Give what is known in the layers that choose."""
    num_pages = -(-tokens // graph.page_size)
    reserved = min(num_pages, graph.sink + graph.window)
    first, share = graph.dense_layers, graph.share_layers
    last = first + NUM_GROUPS * share
    return [Budget(num_pages, reserved, layer, last) for layer in range(first, last, share)]


def pages_by_node(graph: Graph, tokens: int) -> dict[Node, float]:
    """Say on how many pages each node of select works, leaves included, where it works at all."""
    pages: dict[Node, float] = {}
    budget = _budgets(graph, tokens)[0]
    for stage in schedule(graph):
        worked = budget.num_pages if stage.among is None else budget.chosen(stage.among)
        for node in (*stage.reads, *stage.nodes):
            pages[node] = max(pages.get(node, 0), worked)
    return pages


class _Counts:
    """Counts of one layer that chooses, not amortised."""

    def __init__(self, cut: tuple[Cut, ...], layout: Layout, graph: Graph, budget: Budget) -> None:
        self.budget = budget
        self.field_bytes = self.buffer_bytes = self.state_bytes = 0.0
        self._graph = graph
        self._fields: Mapping[Node, int] = {field.field.leaf: field.num_bytes for field in layout.fields}
        self._kept = _kept(cut)
        self.stages = [self._stage(stage, name) for stage, name in zip(cut, _names(cut), strict=True)]

    def _stage(self, stage: Cut, name: str) -> StageCost:
        pages = self.budget.num_pages if stage.among is None else self.budget.chosen(stage.among)
        size = _Size(pages)
        fields = sum(pages * (self._fields.get(node, 0) + self._raw_bytes(node)) for node in stage.reads)
        states = sum(FLOAT_BYTES * size(node.type) for node in stage.reads if node.op == "state")
        if stage.kind == "remember":
            states = sum(FLOAT_BYTES * size(state.type) for state in self._graph.states)
        buffers = sum(FLOAT_BYTES * size(node.type) for node in (*stage.reads, *stage.nodes) if node in self._kept)
        self.field_bytes, self.buffer_bytes = self.field_bytes + fields, self.buffer_bytes + buffers
        self.state_bytes += states
        flops = sum(ENTRIES[node.op].flops(node, size) for node in stage.nodes)
        return StageCost(name, stage.kind, pages, fields + buffers + states, flops)

    def _raw_bytes(self, node: Node) -> int:
        raw = node.op == "input" and node.attr("name") in RAW
        return prod((CACHE_BYTES, self._graph.page_size, self._graph.shape.head_dim)) if raw else 0


def _kept(stages: tuple[Cut, ...]) -> set[Node]:
    """Give the results that differ between pages and that one stage leaves for another."""
    made = {node for stage in stages if stage.kind == "score" for node in stage.nodes if PAGE in node.type.names}
    return made & {node for stage in stages for node in stage.reads}


def _names(stages: tuple[Cut, ...]) -> list[str]:
    """Name the stages: numbered scores, and what chooses."""
    names: list[str] = []
    for stage in stages:
        number = 1 + sum(name.startswith("score") for name in names)
        names.append(f"score {number}" if stage.kind == "score" else stage.nodes[0].op if stage.nodes else stage.kind)
    return names


def _amortised(each: list[float], graph: Graph) -> float:
    """Spread what the layers that choose do, on average, over the layers and the steps that use the choice."""
    return sum(each) / len(each) / graph.share_layers / graph.refresh_steps


def _average(column: tuple[StageCost, ...], graph: Graph) -> StageCost:
    """Give one stage's cost over all layers."""
    num_bytes, flops = (_amortised([getattr(each, name) for each in column], graph) for name in ("bytes", "flops"))
    return StageCost(column[0].name, column[0].kind, sum(each.pages for each in column) / len(column), num_bytes, flops)


def _attend(graph: Graph, counts: list[_Counts], tokens: int) -> StageCost:
    group, dim = graph.shape.group, graph.shape.head_dim
    chosen = sum(count.budget.chosen(graph.selection) for count in counts) / len(counts)
    pages = counts[0].budget.reserved + chosen
    attended = min(pages * graph.page_size, tokens)
    return StageCost("attend", "attend", pages, attended * dim * 2 * CACHE_BYTES, attended * group * dim * 4)


def _summarize(graph: Graph) -> StageCost:
    """Count one page's fields, which are computed once in `page_size` steps: keys and values read, bytes written."""
    read = {node.attr("name") for node in graph.summary_nodes if node.op == "input"}
    num_bytes = len(read) * graph.page_size * graph.shape.head_dim * CACHE_BYTES + Layout(graph).bytes_per_page
    work = [node for node in graph.summary_nodes if node.op not in LEAVES]
    flops = sum(ENTRIES[node.op].flops(node, _Size(1)) for node in work)
    share = 1 / graph.page_size
    return StageCost("summarize", "summarize", share, num_bytes * share, flops * share)


@dataclass(frozen=True)
class _Size:
    """Elements of a value whose `page` axis has this length."""

    pages: float

    def __call__(self, type_: Type) -> float:
        return prod(self.pages if axis.length is None else axis.length for axis in type_.axes)
