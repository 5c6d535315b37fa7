"""The pass that drops what cannot change the order of a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.graph.rewrite import rebuilt, rewritten
from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.graph.interner import Interner
    from vortex_dsl.node import Node

_SCORES = {"topk": 0, "refine": 1}  # selections that only see the order of their score, and which operand it is
_INCREASING = ("exp", "sigmoid", "tanh")
_POSITIVE_OF_POSITIVE = ("add", "mul", "div", "maximum", "minimum")
_POSITIVE = ("exp", "sigmoid")
_POSITIVE_INPUTS = ("scale", "page.count", "layer.count")


def strip_increasing_maps(graph: Graph) -> Graph:
    """Drop strictly increasing maps of a final score, judged in exact arithmetic: they keep its order."""

    def visit(interner: Interner, node: Node, args: tuple[Node, ...]) -> Node | None:
        place = _SCORES.get(node.op)
        if place is None:
            return None
        score = _stripped(interner, args[place])
        return rebuilt(interner, node, (*args[:place], score, *args[place + 1 :]), node.attrs)

    return rewritten(graph, visit)


def _stripped(interner: Interner, score: Node) -> Node:
    inner = _under_increasing_map(score)
    while inner is not None:
        score, inner = inner, _under_increasing_map(inner)
    if score.op == "mean" and PAGE not in score.attr("axes"):
        return interner.make("sum", score.args, score.attrs)  # a mean is a sum times a positive constant
    return score


def _under_increasing_map(score: Node) -> Node | None:
    """Give s if the score is a strictly increasing map of s, with the same map for every page."""
    if score.op in _INCREASING or (score.op == "softmax" and score.attr("axis") == PAGE):
        return score.args[0]
    if score.op not in ("add", "sub", "mul", "div"):
        return None
    a, b = score.args
    if score.op == "add" and a is b:
        return a
    swapped = score.op in ("add", "mul") and PAGE in b.type.names
    inner, other = (b, a) if swapped else (a, b)
    keeps_order = score.op in ("add", "sub") or _is_positive(other)
    return inner if keeps_order and PAGE in inner.type.names and PAGE not in other.type.names else None


def _is_positive(root: Node) -> bool:
    """Say whether a value is made of positive ones by what keeps them so. Shared operands are looked at once."""
    seen, waiting = {root}, [root]
    while waiting:
        node = waiting.pop()
        if node.op in _POSITIVE_OF_POSITIVE:
            waiting += [arg for arg in node.args if arg not in seen]
            seen.update(node.args)
        elif not _is_plainly_positive(node):
            return False
    return True


def _is_plainly_positive(node: Node) -> bool:
    if node.op == "input":
        return node.attr("name") in _POSITIVE_INPUTS
    return node.op in _POSITIVE or (node.number is not None and node.number > 0)
