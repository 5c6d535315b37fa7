"""Reductions over named axes, normalisation along one, contraction of two values."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from vortex_dsl.ops.frame import Frame, numeric
from vortex_dsl.ops.op import Increasing, Op, OpKind, Param, Parts, Take, require_axes, require_numeric
from vortex_dsl.values import PAGE, Type, union_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from vortex_dsl.node import Node
    from vortex_dsl.ops.expression import Expr, Loop
    from vortex_dsl.ops.lowering import Indices, Lowering

INFINITY = float("inf")


def _rule(name: str) -> Callable[..., Type]:
    def rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
        require_numeric(name, types)
        require_axes(name, types[0], attrs["axes"])
        return types[0].without(attrs["axes"])

    return rule


def _reduction(name: str, doc: str, example: str, meaning: Callable[..., Tensor], **more: Any) -> Op:
    params, work = (Param("x"), Param("axes", Take.AXES)), more.pop("work", 1)
    more.setdefault("tape", name)
    return Op(
        name,
        OpKind.METHOD,
        params,
        doc,
        example,
        _rule(name),
        meaning,
        lambda node, size: work * size(node.args[0].type),
        **more,
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


def _along(name: str, doc: str, example: str, meaning: Callable[..., Tensor], **more: Any) -> Op:
    def rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
        require_numeric(name, types)
        require_axes(name, types[0], (attrs["axis"],))
        return Type(types[0].axes)

    params, work = (Param("x"), Param("axis", Take.AXIS)), more.pop("work")
    flops = lambda node, size: work * size(node.type)  # noqa: E731
    return Op(name, OpKind.METHOD, params, doc, example, rule, meaning, flops, **more)


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


# In Triton


def _lower_plain(lower: Lowering, node: Node, at: Indices) -> Expr:
    return lower.reduce(node.op, *lower.inside(node.args[0], node.attr("axes"), at))


def _lower_mean(lower: Lowering, node: Node, at: Indices) -> Expr:
    return lower.average(*lower.inside(node.args[0], node.attr("axes"), at))


def _lower_var(lower: Lowering, node: Node, at: Indices) -> Expr:
    x, loops = lower.inside(node.args[0], node.attr("axes"), at)
    distance = lower.pool.make("sub", (x, lower.average(x, loops)))
    return lower.average(lower.pool.make("square", (distance,)), loops)


def _lower_norm(lower: Lowering, node: Node, at: Indices) -> Expr:
    x, loops = lower.inside(node.args[0], node.attr("axes"), at)
    return lower.pool.make("sqrt", (lower.reduce("sum", lower.pool.make("square", (x,)), loops),))


def _lower_logsumexp(lower: Lowering, node: Node, at: Indices) -> Expr:
    x, loops = lower.inside(node.args[0], node.attr("axes"), at)
    top = _finite(lower, lower.reduce("max", x, loops))
    total = lower.reduce("sum", _exp_of_difference(lower, x, top), loops)
    return lower.pool.make("add", (lower.pool.make("log", (total,)), top))


def _finite(lower: Lowering, top: Expr) -> Expr:
    """Give what to subtract before exp: 0 where the maximum is infinite."""
    infinite = lower.pool.boolean("eq", lower.pool.make("abs", (top,)), lower.pool.number(INFINITY))
    return lower.choose(infinite, lower.pool.number(0.0), top)


def _exp_of_difference(lower: Lowering, x: Expr, top: Expr) -> Expr:
    return lower.pool.make("exp", (lower.pool.make("sub", (x, top)),))


def _lower_softmax(lower: Lowering, node: Node, at: Indices) -> Expr:
    x, loops = lower.inside(node.args[0], (node.attr("axis"),), at)
    top = lower.reduce("max", x, loops)
    total = lower.reduce("sum", _exp_of_difference(lower, x, top), loops)
    return lower.pool.make("div", (_exp_of_difference(lower, lower.number(node.args[0], at), top), total))


def _lower_normalize(lower: Lowering, node: Node, at: Indices) -> Expr:
    total = lower.reduce("sum", *lower.inside(node.args[0], (node.attr("axis"),), at))
    return lower.pool.make("div", (lower.number(node.args[0], at), total))


def _lower_dot(lower: Lowering, node: Node, at: Indices) -> Expr:
    (a, loops), (b, _) = (lower.inside(arg, (node.attr("axis"),), at) for arg in node.args)
    (a, scale), (b, other) = (_without_scale(x, loops[0]) for x in (a, b))
    found = lower.pool.make("dot", (a, b), (loops[0],))
    for factor in (scale, other):
        found = found if factor is None else lower.pool.make("mul", (found, factor))
    return found


def _without_scale(x: Expr, loop: Loop) -> tuple[Expr, Expr | None]:
    """Take a factor apart that is one for a whole vector, as the scale of its codes: the sum is multiplied, once."""
    if x.op != "mul" or loop not in x.args[0].loops or loop in x.args[1].loops:
        return x, None
    return x.args[0], x.args[1]


# On a CPU's tape


def _parts_of_mean(pool: Any, node: Node) -> Node:
    x, axes = node.args[0], node.attr("axes")
    count = pool.number(float(prod(x.type.length(name) for name in axes if name != PAGE)))
    if PAGE in axes:
        complete = pool.leaf("input", Type(), attrs=(("name", "page.complete"),))
        count = pool.make("mul", (complete, count))
    return pool.make("div", (pool.make("sum", (x,), node.attrs), count))


def _parts_of_var(pool: Any, node: Node) -> Node:
    distance = pool.make("sub", (node.args[0], pool.make("mean", node.args, node.attrs)))
    return pool.make("mean", (pool.make("mul", (distance, distance)),), node.attrs)


def _parts_of_norm(pool: Any, node: Node) -> Node:
    x = node.args[0]
    return pool.make("sqrt", (pool.make("sum", (pool.make("mul", (x, x)),), node.attrs),))


def _parts_of_logsumexp(pool: Any, node: Node) -> Node:
    x, top = node.args[0], pool.make("max", node.args, node.attrs)
    infinity = pool.leaf("constant", Type(), attrs=(("values", (INFINITY,)),))  # beyond what programs may write
    infinite = pool.make("eq", (pool.make("abs", (top,)), infinity))
    least = pool.make("where", (infinite, pool.number(0.0), top))
    powers = pool.make("exp", (pool.make("sub", (x, least)),))
    return pool.make("add", (pool.make("log", (pool.make("sum", (powers,), node.attrs),)), least))


def _parts_of_softmax(pool: Any, node: Node) -> Node:
    axes = (("axes", (node.attr("axis"),)),)
    powers = pool.make("exp", (pool.make("sub", (node.args[0], pool.make("max", node.args, axes))),))
    return pool.make("div", (powers, pool.make("sum", (powers,), axes)))


def _parts_of_normalize(pool: Any, node: Node) -> Node:
    return pool.make("div", (node.args[0], pool.make("sum", node.args, (("axes", (node.attr("axis"),)),))))


ENTRIES = (
    _reduction("sum", "sum over the axes", '(q * page.center).sum("dim", "head")', _sum, triton=_lower_plain),
    _reduction("mean", "mean over the axes", 'k.mean("token")', _mean, triton=_lower_mean, tape=Parts(_parts_of_mean)),
    _reduction(
        "max",
        "largest over the axes",
        'dot(q, page.center, "dim").max("head")',
        _filled(lambda x, dims: x.amax(dims), -INFINITY),
        triton=_lower_plain,
    ),
    _reduction(
        "min",
        "smallest over the axes",
        'k.min("token")',
        _filled(lambda x, dims: x.amin(dims), INFINITY),
        triton=_lower_plain,
    ),
    _reduction(
        "var",
        "variance of the population over the axes",
        'k.var("token")',
        _var,
        work=3,
        triton=_lower_var,
        tape=Parts(_parts_of_var),
    ),
    _reduction(
        "norm",
        "Euclidean norm over the axes",
        '(k - k.mean("token")).norm("dim").max("token")',
        _filled(lambda x, dims: x.square().sum(dims).sqrt(), 0.0),
        work=2,
        triton=_lower_norm,
        tape=Parts(_parts_of_norm),
    ),
    _reduction(
        "logsumexp",
        "log of the sum of exp over the axes",
        '(dot(q, page.k, "dim") * self.scale).logsumexp("head", "token")',
        _filled(lambda x, dims: x.logsumexp(dims), -INFINITY),
        work=3,
        triton=_lower_logsumexp,
        tape=Parts(_parts_of_logsumexp),
    ),
    _along(
        "softmax",
        "exp(x), divided by its sum along the axis",
        '(dot(q, page.center, "dim") * self.scale).softmax("page").max("head")',
        _softmax,
        work=4,
        increasing=Increasing(only=lambda node: node.attr("axis") == PAGE),
        triton=_lower_softmax,
        tape=Parts(_parts_of_softmax),
    ),
    _along(
        "normalize",
        "x divided by its sum along the axis",
        'page.weight.normalize("page")',
        _normalize,
        work=2,
        triton=_lower_normalize,
        tape=Parts(_parts_of_normalize),
    ),
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
        triton=_lower_dot,
        tape="dot",
    ),
)
