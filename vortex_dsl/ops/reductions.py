"""Reductions over named axes, normalisation along one, contraction of two values."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from vortex_dsl.ops.frame import Frame, numeric
from vortex_dsl.ops.op import Op, OpKind, Param, Take, require_axes, require_numeric
from vortex_dsl.values import PAGE, Type, union_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from vortex_dsl.node import Node

INFINITY = float("inf")


def _rule(name: str) -> Callable[..., Type]:
    def rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
        require_numeric(name, types)
        require_axes(name, types[0], attrs["axes"])
        return types[0].without(attrs["axes"])

    return rule


def _reduction(name: str, doc: str, example: str, meaning: Callable[..., Tensor], work: int = 1) -> Op:
    params = (Param("x"), Param("axes", Take.AXES))
    return Op(
        name,
        OpKind.METHOD,
        params,
        doc,
        example,
        _rule(name),
        meaning,
        lambda node, size: work * size(node.args[0].type),
    )


def _filled(reduce: Callable[[Tensor, tuple[int, ...]], Tensor], fill: float) -> Callable[..., Tensor]:
    """Make a meaning that first puts the neutral element on pages that do not count."""

    def meaning(frame: Frame, node: Node, x: Tensor) -> Tensor:
        type_, axes = node.args[0].type, node.attr("axes")
        x = numeric(x)
        x = frame.masked(x, type_, fill) if PAGE in axes else x
        return reduce(x, frame.dims(type_, axes))

    return meaning


_sum = _filled(lambda x, dims: x.sum(dims), 0.0)


def _mean(frame: Frame, node: Node, x: Tensor) -> Tensor:
    total = _sum(frame, node, x)
    axes = node.attr("axes")
    count = prod(node.args[0].type.length(name) for name in axes if name != PAGE)
    if PAGE not in axes:
        return total / count
    pages = frame.num_pages(total) * count
    return total / pages.reshape(pages.shape + (1,) * (total.dim() - pages.dim()))


def _var(frame: Frame, node: Node, x: Tensor) -> Tensor:
    type_, mean = node.args[0].type, _mean(frame, node, x)
    return _mean(frame, node, (numeric(x) - frame.align(mean, node.type, type_)).square())


def _softmax(frame: Frame, node: Node, x: Tensor) -> Tensor:
    type_, axis = node.args[0].type, node.attr("axis")
    x = frame.masked(numeric(x), type_, -INFINITY) if axis == PAGE else numeric(x)
    return x.softmax(frame.dim(type_, axis))


def _normalize(frame: Frame, node: Node, x: Tensor) -> Tensor:
    type_, axis = node.args[0].type, node.attr("axis")
    x = frame.masked(numeric(x), type_, 0.0) if axis == PAGE else numeric(x)
    return x / x.sum(frame.dim(type_, axis), keepdim=True)


def _along(name: str, doc: str, example: str, meaning: Callable[..., Tensor], work: int) -> Op:
    def rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
        require_numeric(name, types)
        require_axes(name, types[0], (attrs["axis"],))
        return Type(types[0].axes)

    params = (Param("x"), Param("axis", Take.AXIS))
    return Op(name, OpKind.METHOD, params, doc, example, rule, meaning, lambda node, size: work * size(node.type))


def _dot_rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
    require_numeric("dot", types)
    for given in types:
        require_axes("dot", given, (attrs["axis"],))
    return Type(union_axes(types)).without((attrs["axis"],))


def _dot(frame: Frame, node: Node, a: Tensor, b: Tensor) -> Tensor:
    import torch

    axis = node.attr("axis")
    a, b = numeric(a), numeric(b)
    if axis == PAGE:
        a, b = (frame.masked(x, arg.type, 0.0) for x, arg in zip((a, b), node.args, strict=True))
    places = {name: 1 + i for i, name in enumerate((*node.type.names, axis))}
    lead = [0] * frame.lead
    subscripts = [[*lead, *(places[name] for name in arg.type.names)] for arg in node.args]
    # Pages last: a few rows times a long matrix is several times faster on a CPU than the transpose of it.
    names = sorted(
        node.type.names, key=lambda name: any(name in arg.type.names and PAGE in arg.type.names for arg in node.args)
    )
    product = torch.einsum(a, subscripts[0], b, subscripts[1], [*lead, *(places[name] for name in names)])
    return frame.permute(product, tuple(names), node.type)


ENTRIES = (
    _reduction("sum", "sum over the axes", '(q * page.center).sum("dim", "head")', _sum),
    _reduction("mean", "mean over the axes", 'k.mean("token")', _mean),
    _reduction(
        "max",
        "largest over the axes",
        'dot(q, page.center, "dim").max("head")',
        _filled(lambda x, dims: x.amax(dims), -INFINITY),
    ),
    _reduction("min", "smallest over the axes", 'k.min("token")', _filled(lambda x, dims: x.amin(dims), INFINITY)),
    _reduction("var", "variance of the population over the axes", 'k.var("token")', _var, work=3),
    _reduction(
        "norm",
        "Euclidean norm over the axes",
        '(k - k.mean("token")).norm("dim").max("token")',
        _filled(lambda x, dims: x.square().sum(dims).sqrt(), 0.0),
        work=2,
    ),
    _reduction(
        "logsumexp",
        "log of the sum of exp over the axes",
        '(dot(q, page.k, "dim") * self.scale).logsumexp("head", "token")',
        _filled(lambda x, dims: x.logsumexp(dims), -INFINITY),
        work=3,
    ),
    _along(
        "softmax",
        "exp(x), divided by its sum along the axis",
        '(dot(q, page.center, "dim") * self.scale).softmax("page").max("head")',
        _softmax,
        4,
    ),
    _along("normalize", "x divided by its sum along the axis", 'page.weight.normalize("page")', _normalize, 2),
    Op(
        "dot",
        OpKind.FUNCTION,
        (Param("a"), Param("b"), Param("axis", Take.AXIS)),
        "sum of a * b over the axis, which both have",
        'dot(q.mean("head"), page.center, "dim")',
        _dot_rule,
        _dot,
        lambda node, size: 2 * size(Type(union_axes((node.args[0].type, node.args[1].type)))),
        commutative=True,
    ),
)
