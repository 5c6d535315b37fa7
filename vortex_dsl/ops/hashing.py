"""`hash`: numbers that look random and are the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vortex_dsl.ops.frame import Frame, numeric
from vortex_dsl.ops.op import Elementwise, Op, OpKind, Param, Take, require_numeric
from vortex_dsl.values import Type, union_axes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from vortex_dsl.node import Node

MASK32 = 0xFFFFFFFF


def mix32(h: Any) -> Any:
    """Scramble 32 bits (the finalizer of MurmurHash3); integers or int64 tensors holding 0 … 2**32 - 1."""
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & MASK32
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & MASK32
    return h ^ (h >> 16)


def _hash(_frame: Frame, node: Node, x: Tensor) -> Tensor:
    """Mix x as a 32-bit integer, plus the mixed seed; the upper 24 of 32 bits become a number in [0, 1)."""
    whole = numeric(x).floor().nan_to_num(0.0).clamp(-(2.0**31), 2.0**31 - 128).long() & MASK32
    mixed = mix32((whole + mix32(node.attr("seed") & MASK32)) & MASK32)
    return (mixed >> 8).float() * 2.0**-24


def _rule(types: tuple[Type, ...], _attrs: Mapping[str, Any]) -> Type:
    require_numeric("hash", types)
    return Type(union_axes(types))


ENTRIES = (
    Op(
        "hash",
        OpKind.FUNCTION,
        (Param("x"), Param("seed", Take.INTEGER)),
        "a number in [0, 1) that depends on the whole number x and on seed, the same everywhere",
        "hash(page.index, 1)",
        _rule,
        _hash,
        flops=lambda node, size: 12 * size(node.type),
        triton=Elementwise("scatter_bits({0}, {number})", number=lambda node: mix32(node.attr("seed") & MASK32)),
        tape="hash",
    ),
)
