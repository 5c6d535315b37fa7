"""The order of work in select: what needs no pages, what is page-wise, and what comes after."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from vortex_dsl.graph.graph import RAW_PAGES
from vortex_dsl.node import LEAVES, Node
from vortex_dsl.values import DIM, PAGE, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vortex_dsl.graph.graph import Graph


@dataclass(frozen=True)
class Contraction:
    """A node that sums products of a stored field and of a value without pages over `dim`.

    It can be computed vector by vector where the field lies, without the field ever standing in memory decoded.
    """

    node: Node
    field: Node
    query: Node

    @cached_property
    def vectors(self) -> tuple[str, ...]:
        """Give the axes that tell a page's stored vectors apart."""
        return tuple(name for name in self.field.type.names if name not in (PAGE, DIM))

    @cached_property
    def queries(self) -> tuple[str, ...]:
        """Give the axes that tell a row's queries apart."""
        return tuple(name for name in self.query.type.names if name != DIM)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Give the lengths of `vectors` and `queries`, one after the other."""
        field, query = self.field.type, self.query.type
        return (*(field.length(name) for name in self.vectors), *(query.length(name) for name in self.queries))


@dataclass(frozen=True)
class Stages:
    """Select's nodes, leaves aside, operands first within each stage.

    `before` needs no page at all; `contractions` multiply fields with what does not either; `page_wise` computes each
    page from its own fields, from contractions and from `before`; `after` is all else. `loaded` are the fields and
    raw pages that are needed as they are, `results` what `after` or a state needs of what is known page by page.
    `width` is the number of elements per page of the widest value that stands in memory.
    """

    before: tuple[Node, ...]
    contractions: tuple[Contraction, ...]
    page_wise: tuple[Node, ...]
    after: tuple[Node, ...]
    loaded: tuple[Node, ...]
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
    contractions = tuple(found for node in page_wise if (found := _contraction(node)))
    contracted = {each.node for each in contractions}
    computed = [node for node in page_wise if node not in contracted]
    needed = {arg for node in (*computed, *after) for arg in node.args} | set(graph.roots)
    loaded = tuple(node for node in graph.select_nodes if _is_large(node) and node in needed)
    wanted = {arg for node in after for arg in node.args} | set(graph.roots)
    return Stages(
        before=tuple(before),
        contractions=contractions,
        page_wise=tuple(computed),
        after=tuple(after),
        loaded=loaded,
        results=tuple(node for node in (*page_wise, *loaded) if node in wanted),
        width=max(widest(page_wise), widest(loaded)),
    )


def _contraction(node: Node) -> Contraction | None:
    """Read a node as a contraction, if it is one whose operands share no axis but dim."""
    if node.op != "dot" or node.attr("axis") != DIM:
        return None
    fields = [arg for arg in node.args if arg.op == "field"]
    if len(fields) != 1:
        return None
    query = next(arg for arg in node.args if arg is not fields[0])
    shared = set(query.type.names) & set(fields[0].type.names)
    return Contraction(node, fields[0], query) if shared == {DIM} else None


def _is_large(node: Node) -> bool:
    """Whether a leaf is loaded a few pages at a time: a field, or raw pages."""
    return node.op == "field" or (node.op == "input" and node.attr("name") in RAW_PAGES)


def widest(nodes: Iterable[Node]) -> int:
    """Give the elements of the widest value, per page; at least 1."""
    return max((prod(axis.length for axis in node.type.axes if axis.length is not None) for node in nodes), default=1)
