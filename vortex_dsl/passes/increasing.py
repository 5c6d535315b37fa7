"""The pass that drops what cannot change the order of a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.graph.rewrite import rebuilt, rewritten
from vortex_dsl.node import LEAVES
from vortex_dsl.ops import ENTRIES, RANKED
from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.graph.interner import Interner
    from vortex_dsl.node import Node

_POSITIVE_INPUTS = ("scale", "page.count", "layer.count")


def strip_increasing_maps(graph: Graph) -> Graph:
    """Drop strictly increasing maps of a final score, judged in exact arithmetic: they keep its order."""

    def visit(interner: Interner, node: Node, args: tuple[Node, ...]) -> Node | None:
        place = RANKED.get(node.op)
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
    how = ENTRIES[score.op].increasing if score.op not in LEAVES else None
    if how is None or not how.only(score):
        return None
    if len(how.operands) == len(score.args) and len(set(score.args)) == 1 and not how.if_positive:
        return score.args[0]
    for place in how.operands:
        others = [arg for i, arg in enumerate(score.args) if i != place]
        same_for_all = not any(PAGE in other.type.names for other in others)
        if same_for_all and (not how.if_positive or all(map(_is_positive, others))):
            return score.args[place]
    return None


def _is_positive(root: Node) -> bool:
    """Say whether a value is made of positive ones by what keeps them so. Shared operands are looked at once."""
    seen, waiting = {root}, [root]
    while waiting:
        node = waiting.pop()
        if node.op not in LEAVES and ENTRIES[node.op].keeps_positive:
            waiting += [arg for arg in node.args if arg not in seen]
            seen.update(node.args)
        elif not _is_plainly_positive(node):
            return False
    return True


def _is_plainly_positive(node: Node) -> bool:
    if node.op == "input":
        return node.attr("name") in _POSITIVE_INPUTS
    return (node.number is not None and node.number > 0) or (node.op not in LEAVES and ENTRIES[node.op].positive)
