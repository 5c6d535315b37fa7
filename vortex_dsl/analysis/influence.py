"""What a choice of pages can depend on, as far as the graph alone proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.graph.graph import RAW_PAGES
from vortex_dsl.ops import SCORED
from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.node import Node

_ALIKE = ("sub", "div", "lt", "gt", "le", "ge", "eq", "ne")  # of equal operands they are the same for every page


def aimless(graph: Graph) -> str:
    """Say why a choice by scores cannot be of use: no score tells pages apart, looks at them, or heeds the query.

    Nothing where one may, and where pages are not chosen by a score. What is proven does not depend on any number that
    a model computes; the converse does not hold.
    """
    scores = [node.args[SCORED[node.op]] for node in graph.select_nodes if node.op in SCORED]
    if not scores:
        return ""
    differing = [_leaves(_differing(score)) for score in scores]
    if not any(differing):
        return "it gives every page the same score; let the score depend on what summarize stores of a page"
    contents = [leaves for leaves in differing if any(map(_is_content, leaves))]
    if not contents:
        return "its score does not depend on what a page holds; use a field of summarize, or page.k, in it"
    if not any(_heeds_the_query(graph, score) for score in scores):
        return "its score does not depend on the query; use q in it"
    return ""


def _heeds_the_query(graph: Graph, score: Node) -> bool:
    """Whether the query is among what a score, and every state that it reads, is computed from."""
    written, waiting = dict(graph.updates), [score]
    seen: set[Node] = set()
    while waiting:
        leaves = _leaves(_needed(waiting.pop()))
        if any(leaf.op == "input" and leaf.attr("name") == "q" for leaf in leaves):
            return True
        states = {leaf for leaf in leaves if leaf in written} - seen
        seen |= states
        waiting += [written[state] for state in states]
    return False


def _is_content(leaf: Node) -> bool:
    return leaf.op in ("field", "state") or leaf.attr("name") in RAW_PAGES


def _differing(score: Node) -> set[Node]:
    """Give the nodes whose values may differ from page to page and reach the score as such."""
    return _needed(score, paged=True)


def _needed(root: Node, *, paged: bool = False) -> set[Node]:
    """Give the nodes below a root that may matter to it; with `paged` by way of nodes of the axis `page` alone."""
    seen: set[Node] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node in seen or (paged and PAGE not in node.type.names):
            continue
        seen.add(node)
        waiting += () if node.op == "field" or _is_the_same_for_all(node) else node.args
    return seen


def _is_the_same_for_all(node: Node) -> bool:
    """Whether operands cannot matter: a product with zero, or the comparison of a value with itself."""
    is_nothing = node.op == "mul" and any(arg.number == 0 for arg in node.args)
    return is_nothing or (node.op in _ALIKE and node.args[0] is node.args[1])


def _leaves(nodes: Iterable[Node]) -> set[Node]:
    return {node for node in nodes if node.op in ("input", "field", "state")}
