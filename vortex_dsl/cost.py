"""What a decode step of a program costs, per sequence, KV head and sparse layer: bytes read and flops.

Budgets that depend on what is in the cache count in full (an upper bound); those that depend on the layer are
averaged over a model of 8 layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from vortex_dsl.layout import Layout
from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.ops import OPS
from vortex_dsl.stages import mixes_pages
from vortex_dsl.values import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.graph import Graph
    from vortex_dsl.program import Program
    from vortex_dsl.values import Shape, Type

CACHE_BYTES = 2  # per element of K and V: bfloat16
NUM_LAYERS = 8


@dataclass(frozen=True)
class Cost:
    """One decode step of one sparse layer, per sequence and KV head.

    `bytes_per_page`: what the fields add to a page; `pages_read`: attended pages of `pages_dense`;
    `select_*`: scoring pages (fields, raw pages if read, arithmetic); `attend_*`: K and V of attended pages.
    """

    tokens: int
    bytes_per_page: int
    pages_dense: int
    pages_read: float
    select_bytes: float
    attend_bytes: float
    dense_bytes: float
    select_flops: float
    attend_flops: float
    dense_flops: float

    @property
    def bytes(self) -> float:
        """Bytes read per decode step."""
        return self.select_bytes + self.attend_bytes

    @property
    def flops(self) -> float:
        """Floating-point operations per decode step."""
        return self.select_flops + self.attend_flops

    @property
    def ratio(self) -> float:
        """Bytes that dense attention reads per byte of this program: the ceiling of its attention's speed-up."""
        return self.dense_bytes / self.bytes


def cost(program: Program, shape: Shape, tokens: int = 32768) -> Cost:
    """Give the cost of one decode step of `program` at a length of `tokens` tokens, at least 1."""
    from vortex_dsl.trace import trace

    return cost_of(trace(program, shape), tokens)


def cost_of(graph: Graph, tokens: int) -> Cost:
    """Give the cost of one decode step of a graph at a length of `tokens` tokens, at least 1."""
    if tokens < 1:
        message = f"cost: tokens is {tokens}; give a length of at least 1"
        raise ValueError(message)
    group, dim, size = graph.shape.group, graph.shape.head_dim, graph.page_size
    num_pages = -(-tokens // size)
    reserved = min(num_pages, graph.sink + graph.window)
    steps = [_Step(graph, num_pages, reserved, layer) for layer in range(NUM_LAYERS)]
    read = reserved + sum(step.chosen(graph.selection) for step in steps) / NUM_LAYERS
    attended = min(read * size, tokens)
    return Cost(
        tokens=tokens,
        bytes_per_page=Layout(graph).bytes_per_page,
        pages_dense=num_pages,
        pages_read=read,
        select_bytes=sum(step.select_bytes() for step in steps) / NUM_LAYERS,
        attend_bytes=attended * dim * 2 * CACHE_BYTES,
        dense_bytes=tokens * dim * 2 * CACHE_BYTES,
        select_flops=sum(step.select_flops() for step in steps) / NUM_LAYERS,
        attend_flops=attended * group * dim * 4,
        dense_flops=tokens * group * dim * 4,
    )


class _Step:
    """Counts for one layer: how many pages each node of select works on."""

    def __init__(self, graph: Graph, num_pages: int, reserved: int, layer: int) -> None:
        self._graph = graph
        self._candidates = num_pages - reserved
        self._known: Mapping[str, float] = {
            "page.count": num_pages,
            "layer.index": layer,
            "layer.count": NUM_LAYERS,
            "kv_head.index": 0,
        }
        self._pages: dict[Node, float] = {}
        self._visit(graph.selection, num_pages)

    def chosen(self, selection: Node) -> float:
        """Give the candidates that a selection chooses, at most."""
        if selection.op == "reserved_only":
            return 0.0
        parts = [self.chosen(arg) for arg in selection.args if arg.type.kind is Kind.SELECTION]
        if selection.op == "union":
            return min(sum(parts), self._candidates)
        limit = self._number(selection.args[-1]) if selection.args else None
        limits = [] if limit is None else [float(max(int(limit), 0))]
        return min([self._candidates, *parts, *limits])

    def _number(self, node: Node) -> float | None:
        """Give a scalar's value, None if it depends on what is in the cache."""
        if node.op == "input":
            return self._known.get(node.attr("name"))
        if node.op in LEAVES:
            return node.number
        fold, numbers = OPS[node.op].fold, [self._number(arg) for arg in node.args]
        if fold is None or any(number is None for number in numbers):
            return None
        try:
            return fold(*numbers)
        except (ArithmeticError, ValueError):
            return None

    def _visit(self, selection: Node, num_pages: float) -> None:
        """Note on how many pages each node below a selection works: on a refined selection's only, where it may."""
        for arg in selection.args:
            if arg.type.kind is Kind.SELECTION:
                self._visit(arg, num_pages)
                continue
            below = reachable((arg,), stop="field")
            refines = selection.op == "refine" and not any(map(mixes_pages, below))
            pages = self.chosen(selection.args[0]) if refines else num_pages
            for node in below:
                self._pages[node] = max(pages, self._pages.get(node, 0.0))
        self._pages[selection] = num_pages

    def select_bytes(self) -> float:
        """Bytes of fields and raw pages that are read to score pages."""
        fields = {field.field.leaf: field.num_bytes for field in Layout(self._graph).fields}
        return sum(pages * fields.get(node, self._raw_bytes(node)) for node, pages in self._pages.items())

    def _raw_bytes(self, node: Node) -> int:
        raw = node.op == "input" and node.attr("name") in ("page.k", "page.v")
        return prod((CACHE_BYTES, self._graph.page_size, self._graph.shape.head_dim)) if raw else 0

    def select_flops(self) -> float:
        """Floating-point operations to score and choose pages."""
        work = [(node, pages) for node, pages in self._pages.items() if node.op not in LEAVES]
        return sum(OPS[node.op].flops(node, _Size(pages)) for node, pages in work)


@dataclass(frozen=True)
class _Size:
    """Elements of a value whose `page` axis has this length."""

    pages: float

    def __call__(self, type_: Type) -> float:
        return prod(self.pages if axis.length is None else axis.length for axis in type_.axes)
