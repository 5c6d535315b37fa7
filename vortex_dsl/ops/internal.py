"""Operations that no program can write: only passes make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vortex_dsl.ops.codes import reloaded
from vortex_dsl.ops.op import Op, OpKind, Param, refuse
from vortex_dsl.values import Kind, Type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from vortex_dsl.node import Node
    from vortex_dsl.ops.expression import Expr
    from vortex_dsl.ops.frame import Frame
    from vortex_dsl.ops.lowering import Indices, Lowering


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
    ),
)
