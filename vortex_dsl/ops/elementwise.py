"""Arithmetic, comparisons and elementwise functions."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from vortex_dsl.ops.frame import Frame, numeric
from vortex_dsl.ops.op import Elementwise, Increasing, Op, OpKind, Param, Parts, refuse, require_numeric
from vortex_dsl.values import Kind, Type, union_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from vortex_dsl.node import Node


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
    kind, rule, meaning = more.pop("kind", OpKind.OPERATOR), _rule(name), _pointwise(function)
    fold, triton = more.pop("fold", function), Elementwise(more.pop("triton"))
    return Op(name, kind, params, doc, example, rule, meaning, fold=fold, triton=triton, tape=name, **more)


def _comparison(name: str, doc: str, example: str, function: Callable[..., Any], **more: Any) -> Op:
    rule, params, triton = _rule(name, Kind.BOOL), (Param("a"), Param("b")), Elementwise(more.pop("triton"))
    meaning, kind = _pointwise(function), OpKind.OPERATOR
    return Op(name, kind, params, doc, example, rule, meaning, fold=function, triton=triton, tape=name, **more)


def _unary(
    name: str,
    doc: str,
    example: str,
    function: Callable[[Tensor], Tensor],
    *,
    fold: Callable[[float], float],
    triton: str,
    tape: Parts | None = None,
    **more: Any,
) -> Op:
    rule, meaning, params, kind = _rule(name), _pointwise(function), (Param("x"),), OpKind.FUNCTION
    code = Elementwise(triton)
    return Op(name, kind, params, doc, example, rule, meaning, fold=fold, triton=code, tape=tape or name, **more)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _larger(a: float, b: float) -> float:
    """Give the larger of two known numbers; 0.0 is larger than -0.0, as in IEEE 754, whatever the order."""
    return a if a > b or (a == b and math.copysign(1, a) > 0) else b


def _smaller(a: float, b: float) -> float:
    return a if a < b or (a == b and math.copysign(1, a) < 0) else b


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return numeric(a).where(condition, numeric(b))


# On a CPU's tape


def _parts_of_rsqrt(pool: Any, node: Node) -> Node:
    return pool.make("div", (pool.number(1.0), pool.make("sqrt", node.args)))


def _parts_of_relu(pool: Any, node: Node) -> Node:
    return pool.make("maximum", (node.args[0], pool.number(0.0)))


def _parts_of_sigmoid(pool: Any, node: Node) -> Node:
    power = pool.make("exp", (pool.make("neg", node.args),))
    return pool.make("div", (pool.number(1.0), pool.make("add", (power, pool.number(1.0)))))


def _parts_of_silu(pool: Any, node: Node) -> Node:
    return pool.make("mul", (node.args[0], pool.make("sigmoid", node.args)))


def _parts_of_clip(pool: Any, node: Node) -> Node:
    x, low, high = node.args
    return pool.make("minimum", (pool.make("maximum", (x, low)), high))


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
        tape="neg",
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
        tape="and",
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
        tape="or",
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
        tape="invert",
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
        tape=Parts(_parts_of_rsqrt),
    ),
    _unary(
        "square",
        "x * x",
        'square(k).mean("token")',
        lambda x: x * x,
        fold=lambda x: x * x,
        triton="{0} * {0}",
        tape=Parts(lambda pool, node: pool.make("mul", node.args * 2)),
    ),
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
        tape=Parts(_parts_of_relu),
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
        tape=Parts(_parts_of_sigmoid),
    ),
    _unary(
        "silu",
        "x * sigmoid(x)",
        'silu(dot(q, page.center, "dim")).max("head")',
        lambda x: x * x.sigmoid(),
        fold=lambda x: x * _sigmoid(x),
        triton="{0} * sigmoid({0})",
        tape=Parts(_parts_of_silu),
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
        tape=Parts(_parts_of_clip),
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
        tape="where",
    ),
)
