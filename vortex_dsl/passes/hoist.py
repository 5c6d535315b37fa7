"""Hoisting: what select computes from a page alone is computed once, by summarize, where that makes steps cheaper.

Every value that depends on a page alone can be read, as a field, or computed from others. What the query needs of
them is a cut of the graph; the cheapest one is kept. It may drop a field of `dim` numbers for one number.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from vortex_dsl.analysis.cost import CACHE_BYTES, FLOAT_BYTES, cost_of, pages_by_node
from vortex_dsl.analysis.layout import Layout, room_of
from vortex_dsl.analysis.schedule import schedule
from vortex_dsl.analysis.stages import mixes_pages
from vortex_dsl.graph.graph import RAW_PAGES
from vortex_dsl.graph.rewrite import rewritten
from vortex_dsl.node import LEAVES, Node
from vortex_dsl.passes.cut import smallest_cut
from vortex_dsl.values import PAGE, Kind

if TYPE_CHECKING:
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.graph.interner import Interner

TOKENS = 32768  # the length at which bytes and flops are compared


def hoist(graph: Graph) -> Graph:
    """Move what depends on a page alone into summarize, as float32 fields, where that makes a step cheaper."""
    chosen = _values_to_store(graph)
    if not chosen:
        return graph
    hoisted = replace(_stored(graph, chosen), identity=graph.digest)
    return hoisted if _is_cheaper(hoisted, graph) else graph


def _is_cheaper(hoisted: Graph, graph: Graph) -> bool:
    """Whether no more bytes are read to choose pages, and fewer bytes or flops are spent."""
    after, before = cost_of(hoisted, TOKENS), cost_of(graph, TOKENS)
    costs = [(each.select_bytes + each.buffer_bytes, each.select_flops) for each in (after, before)]
    return costs[0][0] <= costs[1][0] and costs[0] != costs[1] and costs[0][1] <= costs[1][1]


def _values_to_store(graph: Graph) -> set[Node]:
    """Give the values that are better read than computed, for each set of pages that stages work on."""
    alone = _page_alone(graph)
    if all(node.op in LEAVES for node in alone):
        return set()
    prices = _prices(graph, alone)
    stages = schedule(graph)
    chosen: set[Node] = set()
    for among in dict.fromkeys(stage.among for stage in stages):
        own = [stage for stage in stages if stage.among is among]
        inside = {node for stage in own for node in (*stage.reads, *stage.nodes) if node in alone}
        price = {node: prices[node] for node in graph.select_nodes if node in inside}
        needed = [arg for stage in own for node in stage.nodes if node not in inside for arg in node.args]
        wanted = dict.fromkeys((*needed, *graph.roots))
        chosen |= smallest_cut(price, [node for node in wanted if node in inside])
    return {node for node in chosen if node.op not in LEAVES}


def _page_alone(graph: Graph) -> set[Node]:
    """Give select's values that differ between pages and depend on nothing but the page itself."""
    alone: set[Node] = set()
    constant: set[Node] = set()
    for node in graph.select_nodes:
        is_leaf = node.op in LEAVES
        if node.type.kind is Kind.SELECTION:
            continue
        if node.op == "field" or (node.op == "input" and node.attr("name") in RAW_PAGES):
            alone.add(node)
        elif node.op == "constant" or (not is_leaf and all(arg in constant for arg in node.args)):
            constant.add(node)
        elif not is_leaf and not mixes_pages(node) and all(arg in alone or arg in constant for arg in node.args):
            alone.add(node)
    return alone


def _prices(graph: Graph, alone: set[Node]) -> dict[Node, float]:
    """Give the bytes that it takes to read each value in one step, infinite for booleans, which no field holds.

    Fields count with the room that they take in a page.
    """
    pages = pages_by_node(graph, TOKENS)
    fields = {field.field.leaf: field.num_bytes for field in Layout(graph).fields}
    no_field = {node: float("inf") for node in alone if node.type.kind is Kind.BOOL}
    return {node: pages[node] * room_of(fields.get(node) or _bytes(node)) for node in alone} | no_field


def _bytes(node: Node) -> int:
    """Bytes of one page's part of a value: a raw one, or one that becomes a field."""
    elements = prod(1 if axis.length is None else axis.length for axis in node.type.axes)
    return elements * (CACHE_BYTES if node.op == "input" else FLOAT_BYTES)


def _stored(graph: Graph, chosen: set[Node]) -> Graph:
    """Give the graph with fields in the place of some values."""

    def visit(interner: Interner, node: Node, _args: tuple[Node, ...]) -> Node | None:
        if node not in chosen:
            return None
        value = _of_one_page(interner, node)
        return interner.field(interner.make("to", (value,), (("storage", "float32"),)))

    return rewritten(graph, visit)


def _of_one_page(interner: Interner, root: Node) -> Node:
    """Compute within summarize what select computes: from the fields as they are stored, and the page's k and v."""
    made: dict[Node, Node] = {}
    stack = [root]
    while stack:
        node = stack[-1]
        if node.op == "field":
            made[node] = _reloaded(interner, node.args[0])
        elif node.op == "input":
            name = RAW_PAGES[node.attr("name")]
            made[node] = interner.leaf("input", node.type.without((PAGE,)), attrs=(("name", name),))
        elif node.op == "constant":
            made[node] = node
        elif all(arg in made for arg in node.args):
            made[node] = interner.make(node.op, tuple(made[arg] for arg in node.args), node.attrs)
        else:
            stack.extend(arg for arg in node.args if arg not in made)
            continue
        stack.pop()
    return made[root]


def _reloaded(interner: Interner, stored: Node) -> Node:
    """Give a field as select would read it."""
    value = stored.args[0]
    exact = stored.attr("storage") == "float32" and value.type.kind is Kind.FLOAT
    return value if exact else interner.make("reload", (stored,))
