"""The order of work in select: what needs no pages, what is page-wise, and what comes after."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from vortex_dsl.node import LEAVES, Node
from vortex_dsl.values import PAGE, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vortex_dsl.graph import Graph


@dataclass(frozen=True)
class Stages:
    """Select's nodes, leaves aside, operands first within each stage.

    `before` needs no page at all; `page_wise` computes each page from its own fields and from `before`;
    `after` is all else. `results` are the page-wise nodes, fields and raw pages that `after` or a state needs.
    `width` is the number of elements per page of the widest page-wise value.
    """

    before: tuple[Node, ...]
    page_wise: tuple[Node, ...]
    after: tuple[Node, ...]
    results: tuple[Node, ...]
    width: int


def mixes_pages(node: Node) -> bool:
    """Whether a page's result depends on other pages."""
    attrs: dict[str, Any] = dict(node.attrs) if node.op not in LEAVES else {}
    return attrs.get("axis") == PAGE or PAGE in attrs.get("axes", ())


def stages_of(graph: Graph) -> Stages:
    """Sort select's nodes into stages."""
    early = {node for node in graph.select_nodes if node.op in LEAVES}
    before: list[Node] = []
    page_wise: list[Node] = []
    after: list[Node] = []
    for node in graph.select_nodes:
        if node.op in LEAVES:
            continue
        if node.type.kind is Kind.SELECTION or mixes_pages(node) or not early.issuperset(node.args):
            after.append(node)
            continue
        early.add(node)
        (page_wise if PAGE in node.type.names else before).append(node)
    needed = {arg for node in after for arg in node.args} | set(graph.roots)
    return Stages(
        before=tuple(before),
        page_wise=tuple(page_wise),
        after=tuple(after),
        results=tuple(node for node in (*page_wise, *filter(_is_large, graph.select_nodes)) if node in needed),
        width=max(widest(page_wise), widest(filter(_is_large, graph.select_nodes))),
    )


def _is_large(node: Node) -> bool:
    """Whether a leaf is loaded a few pages at a time: a field, or raw pages."""
    return node.op == "field" or (node.op == "input" and node.attr("name") in ("page.k", "page.v"))


def widest(nodes: Iterable[Node]) -> int:
    """Give the elements of the widest value, per page; at least 1."""
    return max((prod(axis.length for axis in node.type.axes if axis.length is not None) for node in nodes), default=1)
