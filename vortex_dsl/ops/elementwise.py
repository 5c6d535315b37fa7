"""Arithmetic, comparisons and elementwise functions."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from vortex_dsl.ops.frame import Frame, numeric
from vortex_dsl.ops.op import Elementwise, Increasing, Op, OpKind, Param, Take, refuse, require_numeric
from vortex_dsl.values import Kind, Type, union_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from vortex_dsl.node import Node

MASK32 = 0xFFFFFFFF


def _rule(name: str, kind: Kind = Kind.FLOAT) -> Callable[..., Type]:
    def rule(types: tuple[Type, ...], _attrs: Mapping[str, Any]) -> Type:
        require_numeric(name, types)
        return Type(union_axes(types), kind)

    return rule


def _boolean_rule(name: str, num_conditions: int, kind: Kind) -> Callable[..., Type]:
    def rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
        if any(given.kind is Kind.FLOAT for given in types[:num_conditions]):
            message = f"'{name}' of a number; it takes booleans, make one by a comparison such as x > 0"
            raise refuse(message)
        return _rule(name, kind)(types, attrs)

    return rule


def _pointwise(function: Callable[..., Tensor], convert: Callable[[Tensor], Tensor] = numeric) -> Callable[..., Tensor]:
    def meaning(frame: Frame, node: Node, *operands: Tensor) -> Tensor:
        pairs = zip(operands, node.args, strict=True)
        return function(*(convert(frame.align(x, arg.type, node.type)) for x, arg in pairs))

    return meaning


def _binary(name: str, doc: str, example: str, function: Callable[..., Any], **more: Any) -> Op:
    params = (Param("a"), Param("b"))
    kind = more.pop("kind", OpKind.OPERATOR)
    fold, triton = more.pop("fold", function), Elementwise(more.pop("triton"))
    return Op(name, kind, params, doc, example, _rule(name), _pointwise(function), fold=fold, triton=triton, **more)


def _comparison(name: str, doc: str, example: str, function: Callable[..., Any], **more: Any) -> Op:
    rule, params, triton = _rule(name, Kind.BOOL), (Param("a"), Param("b")), Elementwise(more.pop("triton"))
    meaning = _pointwise(function)
    return Op(name, OpKind.OPERATOR, params, doc, example, rule, meaning, fold=function, triton=triton, **more)


def _unary(
    name: str,
    doc: str,
    example: str,
    function: Callable[[Tensor], Tensor],
    *,
    fold: Callable[[float], float],
    triton: str,
    **more: Any,
) -> Op:
    rule, meaning, params = _rule(name), _pointwise(function), (Param("x"),)
    return Op(name, OpKind.FUNCTION, params, doc, example, rule, meaning, fold=fold, triton=Elementwise(triton), **more)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _larger(a: float, b: float) -> float:
    """Give the larger of two known numbers; 0.0 is larger than -0.0, as in IEEE 754, whatever the order."""
    return a if a > b or (a == b and math.copysign(1, a) > 0) else b


def _smaller(a: float, b: float) -> float:
    return a if a < b or (a == b and math.copysign(1, a) < 0) else b


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return numeric(a).where(condition, numeric(b))


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


ENTRIES = (
    _binary(
        "add",
        "a + b",
        'dot(q, page.center, "dim").max("head") + page.weight',
        operator.add,
        commutative=True,
        increasing=Increasing((0, 1)),
        keeps_positive=True,
        triton="{0} + {1}",
    ),
    _binary(
        "sub",
        "a - b",
        "page.weight - page.radius",
        operator.sub,
        neutral=0.0,
        increasing=Increasing(),
        triton="{0} - {1}",
    ),
    _binary(
        "mul",
        "a * b",
        'dot(q.mean("head"), page.center, "dim") * page.weight',
        operator.mul,
        commutative=True,
        neutral=1.0,
        increasing=Increasing((0, 1), if_positive=True),
        keeps_positive=True,
        triton="{0} * {1}",
    ),
    _binary(
        "div",
        "a / b",
        'dot(q.mean("head"), page.center, "dim") / page.radius',
        operator.truediv,
        neutral=1.0,
        increasing=Increasing(if_positive=True),
        keeps_positive=True,
        triton="tl.div_rn({0}, {1})",
    ),
    _binary(
        "mod",
        "a % b; the result has the divisor's sign",
        "page.index % 4",
        lambda a, b: a % b,
        triton="modulo({0}, {1})",
    ),
    _binary(
        "pow",
        "a ** b",
        "page.weight - page.radius ** 0.5",
        lambda a, b: a.pow(b),
        fold=math.pow,
        neutral=1.0,
        triton="power({0}, {1})",
    ),
    Op(
        "neg",
        OpKind.OPERATOR,
        (Param("x"),),
        "-x",
        "-page.radius",
        _rule("neg"),
        _pointwise(operator.neg),
        fold=lambda x: -float(x),
        involution=True,
        triton=Elementwise("-({0})"),
    ),
    _comparison("lt", "a < b", "page.index < 8", operator.lt, triton="{0} < {1}"),
    _comparison("le", "a <= b", 'page.radius <= page.radius.mean("page")', operator.le, triton="{0} <= {1}"),
    _comparison(
        "gt", "a > b", 'page.weight > page.weight.mean("page")', operator.gt, mirrored="lt", triton="{0} > {1}"
    ),
    _comparison("ge", "a >= b", "page.index >= page.count - 8", operator.ge, mirrored="le", triton="{0} >= {1}"),
    _comparison("eq", "a == b", "page.index % 8 == 0", operator.eq, commutative=True, triton="{0} == {1}"),
    _comparison("ne", "a != b", "page.index % 8 != 0", operator.ne, commutative=True, triton="{0} != {1}"),
    Op(
        "and",
        OpKind.OPERATOR,
        (Param("a"), Param("b")),
        "a & b, both boolean",
        "(page.index < 8) & (page.radius > 1)",
        _boolean_rule("and", 2, Kind.BOOL),
        _pointwise(operator.and_, lambda x: x),
        fold=lambda a, b: bool(a and b),
        commutative=True,
        idempotent=True,
        triton=Elementwise("both({0}, {1})", conditions=2),
    ),
    Op(
        "or",
        OpKind.OPERATOR,
        (Param("a"), Param("b")),
        "a | b, both boolean",
        "(page.index < 8) | (page.radius > 1)",
        _boolean_rule("or", 2, Kind.BOOL),
        _pointwise(operator.or_, lambda x: x),
        fold=lambda a, b: bool(a or b),
        commutative=True,
        idempotent=True,
        triton=Elementwise("either({0}, {1})", conditions=2),
    ),
    Op(
        "invert",
        OpKind.OPERATOR,
        (Param("x"),),
        "~x, boolean",
        "~(page.index < 8)",
        _boolean_rule("invert", 1, Kind.BOOL),
        _pointwise(operator.invert, lambda x: x),
        fold=lambda x: not x,
        involution=True,
        triton=Elementwise("{0} == 0", conditions=1),
    ),
    _unary(
        "abs",
        "absolute value",
        'abs(q * page.center).sum("dim", "head")',
        lambda x: x.abs(),
        fold=abs,
        triton="tl.abs({0})",
    ),
    _unary(
        "exp",
        "e to the power of x",
        'exp(k).mean("token")',
        lambda x: x.exp(),
        fold=math.exp,
        increasing=Increasing(),
        positive=True,
        triton="tl.exp({0})",
    ),
    _unary(
        "log",
        "natural logarithm",
        "page.weight - log(page.radius)",
        lambda x: x.log(),
        fold=math.log,
        triton="tl.log({0})",
    ),
    _unary(
        "sqrt",
        "square root",
        'sqrt(square(k).mean("token"))',
        lambda x: x.sqrt(),
        fold=math.sqrt,
        triton="tl.sqrt_rn({0})",
    ),
    _unary(
        "rsqrt",
        "1 / sqrt(x)",
        '(k * rsqrt(square(k).sum("dim") + 0.01)).mean("token")',
        lambda x: x.rsqrt(),
        fold=lambda x: 1 / math.sqrt(x),
        triton="tl.div_rn(1.0, tl.sqrt_rn({0}))",
    ),
    _unary("square", "x * x", 'square(k).mean("token")', lambda x: x * x, fold=lambda x: x * x, triton="{0} * {0}"),
    _unary(
        "sign",
        "-1, 0 or 1",
        'dot(sign(q.sum("head")), page.center, "dim")',
        lambda x: x.sign(),
        fold=lambda x: float((x > 0) - (x < 0)),
        triton="sign({0})",
    ),
    _unary(
        "floor",
        "largest whole number not above x",
        "floor(page.index / 4)",
        lambda x: x.floor(),
        fold=math.floor,
        triton="tl.floor({0})",
    ),
    _unary(
        "relu",
        "maximum(x, 0)",
        'relu(q * page.center).sum("dim", "head")',
        lambda x: x.relu(),
        fold=lambda x: max(x, 0.0),
        triton="larger({0}, 0.0)",
    ),
    _unary(
        "sigmoid",
        "1 / (1 + exp(-x))",
        'sigmoid(dot(q, page.center, "dim") * self.scale).max("head")',
        lambda x: x.sigmoid(),
        fold=_sigmoid,
        increasing=Increasing(),
        positive=True,
        triton="sigmoid({0})",
    ),
    _unary(
        "silu",
        "x * sigmoid(x)",
        'silu(dot(q, page.center, "dim")).max("head")',
        lambda x: x * x.sigmoid(),
        fold=lambda x: x * _sigmoid(x),
        triton="{0} * sigmoid({0})",
    ),
    _unary(
        "tanh",
        "hyperbolic tangent",
        "page.weight * tanh(page.index / page.count)",
        lambda x: x.tanh(),
        fold=math.tanh,
        increasing=Increasing(),
        triton="tanh({0})",
    ),
    _binary(
        "maximum",
        "larger of two, per element",
        'maximum(q * page.hi, q * page.lo).sum("dim").max("head")',
        lambda a, b: a.maximum(b),
        fold=_larger,
        commutative=True,
        idempotent=True,
        keeps_positive=True,
        kind=OpKind.FUNCTION,
        triton="larger({0}, {1})",
    ),
    _binary(
        "minimum",
        "smaller of two, per element",
        "minimum(page.radius, 4)",
        lambda a, b: a.minimum(b),
        fold=_smaller,
        commutative=True,
        idempotent=True,
        keeps_positive=True,
        kind=OpKind.FUNCTION,
        triton="smaller({0}, {1})",
    ),
    Op(
        "clip",
        OpKind.FUNCTION,
        (Param("x"), Param("low"), Param("high")),
        "minimum(maximum(x, low), high)",
        'clip(k, -4, 4).mean("token")',
        _rule("clip"),
        _pointwise(lambda x, low, high: x.maximum(low).minimum(high)),
        flops=lambda node, size: 2 * size(node.type),
        fold=lambda x, low, high: _smaller(_larger(x, low), high),
        triton=Elementwise("smaller(larger({0}, {1}), {2})"),
    ),
    Op(
        "where",
        OpKind.FUNCTION,
        (Param("condition"), Param("a"), Param("b")),
        "a where the boolean condition holds, else b",
        "where(page.index < 8, page.radius, page.weight)",
        _boolean_rule("where", 1, Kind.FLOAT),
        _pointwise(_where, lambda x: x),
        fold=lambda condition, a, b: float(a if condition else b),
        triton=Elementwise("tl.where({0}, {1}, {2})", conditions=1),
    ),
    Op(
        "hash",
        OpKind.FUNCTION,
        (Param("x"), Param("seed", Take.INTEGER)),
        "a number in [0, 1) that depends on the whole number x and on seed, the same everywhere",
        "hash(page.index, 1)",
        _rule("hash"),
        _hash,
        flops=lambda node, size: 12 * size(node.type),
        triton=Elementwise("scatter_bits({0}, {number})", number=lambda node: mix32(node.attr("seed") & MASK32)),
    ),
)
