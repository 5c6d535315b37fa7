"""The pass that turns sums of products into contractions, which every backend computes as a matrix product.

A bound by envelopes, sum_d max(q·a, q·b), is two of them: q = relu(q) - relu(-q), and a non-negative factor leaves
the larger of two numbers the larger, so it equals sum_d relu(q)·max(a, b) - sum_d relu(-q)·min(a, b).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.graph.rewrite import rewritten
from vortex_dsl.storage import is_float
from vortex_dsl.values import PAGE

if TYPE_CHECKING:
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.graph.interner import Interner
    from vortex_dsl.node import Node

_OPPOSITE = {"maximum": "minimum", "minimum": "maximum"}


def contract(graph: Graph) -> Graph:
    """Turn sums of products, and of the larger of two products, into contractions."""

    def visit(interner: Interner, node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op != "sum" or len(node.attr("axes")) > 1 or node.attr("axes") == (PAGE,):
            return None
        axis, inner = node.attr("axes")[0], args[0]
        return _envelope(interner, inner, axis) if inner.op in _OPPOSITE else _product(interner, inner, axis)

    return rewritten(graph, visit)


def _product(interner: Interner, inner: Node, axis: str) -> Node | None:
    """Give sum(a * b) over the axis as a contraction."""
    if inner.op != "mul" or not _only_shares(axis, inner.args[0], inner.args[1]):
        return None
    return interner.make("dot", inner.args, (("axis", axis),))


def _envelope(interner: Interner, inner: Node, axis: str) -> Node | None:
    """Give sum(maximum(x * a, x * b)), or of minimum, over the axis as two contractions."""
    if any(product.op != "mul" for product in inner.args):
        return None
    first, second = (product.args for product in inner.args)
    x = next((factor for factor in first if factor in second), None)
    if x is None:
        return None
    a, b = (product[1] if product[0] is x else product[0] for product in (first, second))
    if not (_only_shares(axis, x, a) and _only_shares(axis, x, b)) or a.type != b.type:
        return None
    outer, opposite = (_extreme(interner, op, a, b) for op in (inner.op, _OPPOSITE[inner.op]))
    positive, negative = interner.make("relu", (x,)), interner.make("relu", (interner.make("neg", (x,)),))
    parts = (interner.make("dot", pair, (("axis", axis),)) for pair in ((positive, outer), (negative, opposite)))
    return interner.make("sub", tuple(parts))


def _extreme(interner: Interner, op: str, a: Node, b: Node) -> Node:
    """Give the larger (or smaller) of a and b; where they are a page's envelope it is known which one that is."""
    upper = next((x for x, y in ((a, b), (b, a)) if _is_envelope(x, y)), None)
    if upper is None:
        return interner.make(op, (a, b))
    lower = b if upper is a else a
    return upper if op == "maximum" else lower


def _is_envelope(upper: Node, lower: Node) -> bool:
    """Say whether these are fields that hold the largest and the smallest of the same values.

    Rounding to a floating-point kind keeps their order; the integer kinds scale each vector by its own largest.
    """
    if upper.op != "field" or lower.op != "field":
        return False
    stored = (upper.args[0], lower.args[0])
    if not all(is_float(each.attr("storage")) for each in stored) or stored[0].attrs != stored[1].attrs:
        return False
    most, least = (each.args[0] for each in stored)
    return (most.op, least.op) == ("max", "min") and most.args == least.args and most.attrs == least.attrs


def _only_shares(axis: str, a: Node, b: Node) -> bool:
    return set(a.type.names) & set(b.type.names) == {axis}
