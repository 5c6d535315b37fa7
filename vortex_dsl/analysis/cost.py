"""What a decode step of a program costs, per sequence and KV head: bytes and flops, stage by stage and over all layers.

Budgets that depend on what is in the cache count in full (an upper bound); those that depend on the layer are counted
in each layer of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from operator import mul
from typing import TYPE_CHECKING, Literal

from vortex_dsl.analysis.budget import Budget, NoPages
from vortex_dsl.analysis.layout import Layout
from vortex_dsl.analysis.schedule import Cut, schedule
from vortex_dsl.graph.graph import RAW_PAGES
from vortex_dsl.node import LEAVES, Node
from vortex_dsl.ops import ENTRIES
from vortex_dsl.values import MAX_LAYERS, MAX_TOKENS, PAGE, Type, check_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.graph.graph import Graph

CACHE_BYTES = 2  # per element of K and V: bfloat16
FLOAT_BYTES = 4  # per element of states and of what one stage leaves for another
NUM_LAYERS = 32  # of a model whose number of layers is not told
OF_LAYERS = ("layer.index", "layer.count")  # what a budget may tell layers apart by

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
class Layers:
    """How many layers a model has, and how many of them, the first ones, attend to everything."""

    num: int
    num_dense: int

    def times(self, dense: float, sparse: float) -> float:
        """Give how many times as much dense attention takes over all layers.

        `dense` and `sparse`: what a layer takes that attends to everything, and one that chooses, on average.
        """
        return self.num * dense / (self.num_dense * dense + (self.num - self.num_dense) * sparse)


@dataclass(frozen=True)
class Cost:
    """One decode step of a sparse layer, on average over the sparse layers of a model, per sequence and KV head.

    `bytes_per_page`: what the fields add to a page; `pages_read`: attended pages of `pages_dense`;
    `summarize_*`: computing a page's fields, once in `page_size` steps; `select_*`: scoring pages (fields, raw pages
    if read, arithmetic); `buffer_bytes`: what stages of scoring leave for one another; `state_bytes`: states read and
    written; `attend_*`: K and V of attended pages. Choosing pages is spread over the layers and the steps that use the
    choice (`share_layers`, `refresh_steps`). Where all layers are dense, one more is told of that would be sparse.
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
    layers: Layers

    @property
    def bytes(self) -> float:
        """Bytes read and written per decode step of a sparse layer."""
        return sum(stage.bytes for stage in self.stages)

    @property
    def flops(self) -> float:
        """Floating-point operations per decode step of a sparse layer."""
        return sum(stage.flops for stage in self.stages)

    @property
    def ratio(self) -> float:
        """Bytes of dense attention per byte of this program, over all layers: the ceiling of attention's speed-up."""
        return self.layers.times(self.dense_bytes, self.bytes)


def cost_of(graph: Graph, tokens: int, num_layers: int = NUM_LAYERS) -> Cost:
    """Give the cost of one decode step of a graph at a length of `tokens` tokens in a model of `num_layers` layers.

    Both are at least 1.
    """
    return _cost_of(graph, tokens, num_layers, Budget)


def ratio_without_pages(graph: Graph, tokens: int, num_layers: int = NUM_LAYERS) -> float:
    """Give the cost ratio as if no page were chosen beside those that always are: no budget brings a graph above it."""
    return _cost_of(graph, tokens, num_layers, NoPages).ratio


def _cost_of(graph: Graph, tokens: int, num_layers: int, kind: type[Budget]) -> Cost:
    check_size("cost: tokens", tokens, MAX_TOKENS)
    check_size("cost: num_layers", num_layers, MAX_LAYERS)
    group, dim = graph.shape.group, graph.shape.head_dim
    layout = Layout(graph)
    choices, stages = _choices(graph, tokens, num_layers, kind), _Stages(graph, layout)
    counts = [_Counts(stages, each) for each in choices]
    mean = _Mean(counts, graph.refresh_steps)
    attend, summarize = _attend(graph, counts, tokens), _summarize(graph)
    chosen = tuple(mean.stage(column) for column in zip(*(count.stages for count in counts), strict=True))
    return Cost(
        tokens=tokens,
        bytes_per_page=layout.bytes_per_page,
        pages_dense=choices[0].budget.num_pages,
        pages_read=attend.pages,
        summarize_bytes=summarize.bytes,
        select_bytes=mean([count.field_bytes for count in counts]),
        buffer_bytes=mean([count.buffer_bytes for count in counts]),
        state_bytes=mean([count.state_bytes for count in counts]),
        attend_bytes=attend.bytes,
        dense_bytes=tokens * dim * 2 * CACHE_BYTES,
        summarize_flops=summarize.flops,
        select_flops=sum(stage.flops for stage in chosen),
        attend_flops=attend.flops,
        dense_flops=tokens * group * dim * 4,
        stages=(*([summarize] if graph.fields else []), *chosen, attend),
        layers=Layers(num_layers, min(graph.dense_layers, num_layers)),
    )


@dataclass(frozen=True)
class _Choice:
    """What is known in layers that choose alike: so many choices, used in so many layers."""

    budget: Budget
    num_choices: int
    num_layers: int


def _choices(graph: Graph, tokens: int, num_layers: int, kind: type[Budget] = Budget) -> list[_Choice]:
    """Give the choices of all sparse layers; one for all of them where no budget can tell layers apart."""
    num_pages = -(-tokens // graph.page_size)
    reserved = min(num_pages, graph.sink + graph.window)
    first, share = graph.dense_layers, graph.share_layers
    last = max(num_layers, first + 1)
    starts = range(first, last, share)
    if not any(node.op == "input" and node.attr("name") in OF_LAYERS for node in graph.select_nodes):
        return [_Choice(kind(num_pages, reserved, first, last), len(starts), last - first)]
    return [_Choice(kind(num_pages, reserved, at, last), 1, min(share, last - at)) for at in starts]


def pages_by_node(graph: Graph, tokens: int) -> dict[Node, float]:
    """Say on how many pages each node of select works, leaves included, where it works at all."""
    pages: dict[Node, float] = {}
    budget = _choices(graph, tokens, NUM_LAYERS)[0].budget
    for stage in schedule(graph):
        worked = budget.num_pages if stage.among is None else budget.chosen(stage.among)
        for node in (*stage.reads, *stage.nodes):
            pages[node] = max(pages.get(node, 0), worked)
    return pages


@dataclass(frozen=True)
class _Counted:
    """One stage in one layer, not amortised, and of its bytes those of fields, of buffers and of states."""

    cost: StageCost
    field_bytes: float
    buffer_bytes: float
    state_bytes: float


class _Stages:
    """What the stages take by the number of pages that they work on, told once of layers that are alike."""

    def __init__(self, graph: Graph, layout: Layout) -> None:
        self.cut = schedule(graph)
        self._graph, self._names, self._kept = graph, _names(self.cut), _kept(self.cut)
        self._fields: Mapping[Node, int] = {field.field.leaf: field.num_bytes for field in layout.fields}
        self._known: dict[tuple[int, float], _Counted] = {}

    def at(self, place: int, pages: float) -> _Counted:
        """Count a stage, by its place, on so many pages."""
        if (place, pages) not in self._known:
            self._known[place, pages] = self._count(self.cut[place], self._names[place], pages)
        return self._known[place, pages]

    def _count(self, stage: Cut, name: str, pages: float) -> _Counted:
        size = _Size(pages)
        fields = sum(pages * (self._fields.get(node, 0) + self._raw_bytes(node)) for node in stage.reads)
        states = sum(FLOAT_BYTES * size(node.type) for node in stage.reads if node.op == "state")
        if stage.kind == "remember":
            states = sum(FLOAT_BYTES * size(state.type) for state in self._graph.states)
        buffers = sum(FLOAT_BYTES * size(node.type) for node in (*stage.reads, *stage.nodes) if node in self._kept)
        flops = sum(ENTRIES[node.op].flops(node, size) for node in stage.nodes)
        cost = StageCost(name, stage.kind, pages, fields + buffers + states, flops)
        return _Counted(cost, fields, buffers, states)

    def _raw_bytes(self, node: Node) -> int:
        raw = node.op == "input" and node.attr("name") in RAW_PAGES
        return prod((CACHE_BYTES, self._graph.page_size, self._graph.shape.head_dim)) if raw else 0


class _Counts:
    """Counts of one layer that chooses, not amortised."""

    def __init__(self, stages: _Stages, choice: _Choice) -> None:
        self.choice, self.budget = choice, choice.budget
        counted = [stages.at(place, self._pages(stage)) for place, stage in enumerate(stages.cut)]
        self.stages = [each.cost for each in counted]
        self.field_bytes = sum(each.field_bytes for each in counted)
        self.buffer_bytes = sum(each.buffer_bytes for each in counted)
        self.state_bytes = sum(each.state_bytes for each in counted)

    def _pages(self, stage: Cut) -> float:
        return self.budget.num_pages if stage.among is None else self.budget.chosen(stage.among)


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


class _Mean:
    """What the layers that choose do, spread over the layers and the steps that use the choice."""

    def __init__(self, counts: list[_Counts], refresh_steps: int) -> None:
        self._choices = [count.choice.num_choices for count in counts]
        self._uses = sum(count.choice.num_layers for count in counts) * refresh_steps

    def __call__(self, each: list[float]) -> float:
        return sum(map(mul, each, self._choices)) / self._uses

    def stage(self, column: tuple[StageCost, ...]) -> StageCost:
        """Give one stage's cost, and the pages that it works on where it works."""
        num_bytes, flops = (self([getattr(each, name) for each in column]) for name in ("bytes", "flops"))
        pages = sum(map(mul, (each.pages for each in column), self._choices)) / sum(self._choices)
        return StageCost(column[0].name, column[0].kind, pages, num_bytes, flops)


def _attend(graph: Graph, counts: list[_Counts], tokens: int) -> StageCost:
    group, dim = graph.shape.group, graph.shape.head_dim
    read = [count.budget.reserved + count.budget.chosen(graph.selection) for count in counts]
    used = [count.choice.num_layers for count in counts]
    pages = sum(map(mul, read, used)) / sum(used)
    attended = sum(min(each * graph.page_size, tokens) * n for each, n in zip(read, used, strict=True)) / sum(used)
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
