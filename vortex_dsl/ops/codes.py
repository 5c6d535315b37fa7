"""Stored vectors as expressions: what becomes of an element (storage.py has the codes).

And `reload`, an operation that no program can write: only passes make it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vortex_dsl.ops.op import InTorch, Op, OpKind, Param, refuse
from vortex_dsl.storage import CODED, KINDS
from vortex_dsl.values import DIM, Kind, Type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from vortex_dsl.node import Node
    from vortex_dsl.ops.expression import Expr
    from vortex_dsl.ops.frame import Frame
    from vortex_dsl.ops.lowering import Indices, Lowering


def value_of(lower: Lowering, node: Node, at: Mapping[str, Expr]) -> Expr:
    """Give what is to be stored: a value even if it is a known number, which Triton could not round."""
    value = lower.number(node, at)
    known = "number" in (value.op, *(arg.op for arg in value.args if value.op == "to_float"))
    return lower.pool.make("scalar", (value,)) if known else value


def scale_of(lower: Lowering, node: Node, at: Mapping[str, Expr], kind: str) -> Expr:
    """Give the scale of the vector in which an element lies."""
    pool, most = lower.pool, lower.pool.number(float(KINDS[kind].largest_code))
    if DIM not in node.type.names:
        return pool.make("div", (pool.make("abs", (value_of(lower, node, at),)), most))
    vector = {name: index for name, index in at.items() if name != DIM}
    loop = lower.fresh(DIM, node.type.length(DIM), vector)
    size = pool.make("abs", (value_of(lower, node, {**vector, DIM: pool.loop(loop)}),))
    return pool.make("div", (lower.reduce("max", size, [loop]), most))


def code_of(lower: Lowering, node: Node, at: Mapping[str, Expr], kind: str) -> Expr:
    """Give the code of an element, as a number; for fp8 the element itself."""
    x = value_of(lower, node, at)
    if kind == "fp8_e4m3":
        return x
    if kind == "sign":
        negative = lower.pool.boolean("lt", x, lower.pool.number(0.0))
        return lower.pool.numeric(lower.pool.boolean("invert", negative))
    return lower.pool.make("code", (x, scale_of(lower, node, at, kind)), (float(KINDS[kind].largest_code),))


def reloaded(lower: Lowering, node: Node, at: Mapping[str, Expr], kind: str) -> Expr:
    """Give what is left of an element that is stored and read back."""
    pool, code = lower.pool, code_of(lower, node, at, kind) if kind in CODED else None
    if code is None or kind == "fp8_e4m3":
        return pool.make(f"round_{kind}", (value_of(lower, node, at),))
    if kind == "sign":
        return pool.make("sub", (pool.make("mul", (code, pool.number(2.0))), pool.number(1.0)))
    return pool.make("mul", (code, scale_of(lower, node, at, kind)))


def _reload_rule(types: tuple[Type, ...], _attrs: Mapping[str, Any]) -> Type:
    if types[0].kind is not Kind.STORED:
        message = "'reload' of a value that is not stored; it takes the result of 'to'"
        raise refuse(message)
    return Type(types[0].axes)


def _reload(_frame: Frame, _node: Node, x: Tensor) -> Tensor:
    """Give what `to` gives: its meaning is the round trip already."""
    return x


def _lower_reload(lower: Lowering, node: Node, at: Indices) -> Expr:
    stored = node.args[0]
    return reloaded(lower, stored.args[0], at, stored.attr("storage"))


ENTRIES = (
    Op(
        "reload",
        OpKind.FUNCTION,
        (Param("x"),),
        "what select would read of a stored value, within summarize: rounded as its storage kind rounds",
        "reload(x)",
        _reload_rule,
        _reload,
        triton=_lower_reload,
        tape=InTorch("summarize does, at a page's last token"),
    ),
)
