"""Splitting, taking and renaming axes; choosing channels; moving along pages; storage kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vortex_dsl.errors import listed
from vortex_dsl.ops.expression import FURTHEST_PAGE, PAGE_LOOP, Source
from vortex_dsl.ops.frame import Frame, numeric
from vortex_dsl.ops.op import (
    InTorch,
    Op,
    OpKind,
    Param,
    Take,
    refuse,
    require_axes,
    require_makeable,
    require_movable,
    require_numeric,
)
from vortex_dsl.values import DIM, PAGE, Axis, Kind, Type, ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from vortex_dsl.node import Node
    from vortex_dsl.ops.expression import Expr
    from vortex_dsl.ops.lowering import Indices, Lowering


def no_flops(_node: Node, _size: Callable[[Type], float]) -> float:
    """Count nothing: it only says what is read where."""
    return 0


def require_distinct(op: str, names: Sequence[str]) -> None:
    """Refuse two axes of one name."""
    if len(set(names)) != len(names):
        raise refuse(f"'{op}' gives a value two axes of one name: [{listed(names)}]; choose another name")


def _split_rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
    axis, (outer, length) = attrs["axis"], attrs["outer"]
    require_movable("split", types[0], (axis,))
    require_makeable("split", (outer,))
    require_distinct("split", (*types[0].names, outer))
    whole = types[0].length(axis)
    if length < 1 or whole % length:
        raise refuse(f"'split' of axis '{axis}' of length {whole} into {length}; choose a number that divides it")
    rest = types[0].without((axis,)).axes
    return Type(ordered((*rest, Axis(outer, length), Axis(axis, whole // length))), types[0].kind)


def _split(frame: Frame, node: Node, x: Tensor) -> Tensor:
    type_, axis, (outer, length) = node.args[0].type, node.attr("axis"), node.attr("outer")
    names = [name for old in type_.names for name in ((outer, old) if old == axis else (old,))]
    return frame.permute(x.unflatten(frame.dim(type_, axis), (length, -1)), tuple(names), node.type)


def taken(indices: tuple[Any, ...], length: int) -> list[int]:
    """Give the positions that `take` keeps of an axis of this length; refuses those outside."""
    how, *given = indices
    try:
        kept = list(range(length))[slice(*given)] if how == "slice" else [range(length)[i] for i in given]
    except (IndexError, TypeError, ValueError):
        kept = []
    if not kept:
        seen = listed(map(str, given))
        message = f"'take' of [{seen}] from an axis of length {length}; keep at least one, and only existing ones"
        raise refuse(message)
    return kept


def _take_rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
    axis = attrs["axis"]
    require_movable("take", types[0], (axis,))
    kept = Axis(axis, len(taken(attrs["indices"], types[0].length(axis))))
    return Type(tuple(kept if old.name == axis else old for old in types[0].axes), types[0].kind)


def _take(frame: Frame, node: Node, x: Tensor) -> Tensor:
    type_, axis = node.args[0].type, node.attr("axis")
    kept, dim = taken(node.attr("indices"), type_.length(axis)), frame.dim(type_, axis)
    if kept == list(range(kept[0], kept[0] + len(kept))):
        return x.narrow(dim, kept[0], len(kept))
    return x.index_select(dim, x.new_tensor(kept).long())


def _rename_rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
    names = dict(attrs["names"])
    require_movable("rename", types[0], tuple(names))
    require_makeable("rename", tuple(names.values()))
    axes = tuple(Axis(names.get(axis.name, axis.name), axis.length) for axis in types[0].axes)
    require_distinct("rename", [axis.name for axis in axes])
    return Type(ordered(axes), types[0].kind)


def _rename(frame: Frame, node: Node, x: Tensor) -> Tensor:
    names = dict(node.attr("names"))
    return frame.permute(x, tuple(names.get(name, name) for name in node.args[0].type.names), node.type)


def _top_rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
    axis = attrs["axis"]
    require_numeric("top", types)
    require_axes("top", types[0], (axis,))
    if axis == PAGE:
        raise refuse("'top' over pages; return topk(score, n) to choose pages")
    if attrs["n"] < 0:
        raise refuse(f"'top' of {attrs['n']} elements; n must be at least 0")
    return Type(types[0].axes, Kind.BOOL)


def _top(frame: Frame, node: Node, x: Tensor) -> Tensor:
    dim = frame.dim(node.type, node.attr("axis"))
    x = numeric(x)
    order = x.where(~x.isnan(), -float("inf")).sort(dim=dim, descending=True, stable=True).indices
    chosen = x.new_zeros(x.shape, dtype=order.dtype).bool()
    return chosen.scatter(dim, order.narrow(dim, 0, min(node.attr("n"), x.shape[dim])), value=True)


def _page_rule(name: str) -> Callable[..., Type]:
    def rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
        require_numeric(name, types)
        require_axes(name, types[0], (attrs["axis"],))
        if attrs["axis"] != PAGE:
            raise refuse(f"'{name}' along axis '{attrs['axis']}'; it only moves along 'page'")
        if len(attrs.get("weights", (0,))) % 2 == 0:
            seen = f"'smooth' with {len(attrs['weights'])} weights"
            raise refuse(f"{seen}; give an odd number, the middle one for the page itself")
        return Type(types[0].axes)

    return rule


def _shifted(x: Tensor, dim: int, n: int, fill: float) -> Tensor:
    """Let element i be element i - n, `fill` where there is none."""
    import torch

    length = x.shape[dim]
    n = max(-length, min(n, length))
    edge = x.new_full((*x.shape[:dim], abs(n), *x.shape[dim + 1 :]), fill)
    kept = x.narrow(dim, max(-n, 0), length - abs(n))
    return torch.cat((edge, kept) if n >= 0 else (kept, edge), dim)


def _shift(frame: Frame, node: Node, x: Tensor) -> Tensor:
    fill = node.attr("fill")
    return _shifted(frame.masked(numeric(x), node.type, fill), frame.dim(node.type, PAGE), node.attr("n"), fill)


def _smooth(frame: Frame, node: Node, x: Tensor) -> Tensor:
    x, weights, dim = frame.masked(numeric(x), node.type, 0.0), node.attr("weights"), frame.dim(node.type, PAGE)
    terms = [_shifted(x, dim, len(weights) // 2 - j, 0.0) * weight for j, weight in enumerate(weights)]
    return sum(terms[1:], terms[0])


def _cumsum(frame: Frame, node: Node, x: Tensor) -> Tensor:
    return frame.masked(numeric(x), node.type, 0.0).cumsum(frame.dim(node.type, PAGE))


def _to_rule(types: tuple[Type, ...], _attrs: Mapping[str, Any]) -> Type:
    require_numeric("to", types)
    return Type(types[0].axes, Kind.STORED)


def _to(_frame: Frame, node: Node, x: Tensor) -> Tensor:
    from vortex_dsl.storage import round_trip

    return round_trip(numeric(x), node.attr("storage"), along_dim=DIM in node.type.names)


# In Triton: other indices, or the page's neighbours


def _lower_split(lower: Lowering, node: Node, at: Indices) -> Expr:
    axis, (outer, _) = node.attr("axis"), node.attr("outer")
    start = lower.pool.index_mul(at[outer], node.type.length(axis))
    return lower.at(node.args[0], {**at, axis: lower.pool.index_add(start, at[axis])})


def _lower_take(lower: Lowering, node: Node, at: Indices) -> Expr:
    axis = node.attr("axis")
    kept = taken(node.attr("indices"), node.args[0].type.length(axis))
    step = kept[1] - kept[0] if len(kept) > 1 else 1
    if step > 0 and kept == list(range(kept[0], kept[0] + step * len(kept), step)):
        index = lower.pool.index_add(lower.pool.index_mul(at[axis], step), lower.pool.integer(kept[0]))
    else:
        index = lower.load(Source("lookup", tuple(kept), (len(kept),)), [at[axis]])
    return lower.at(node.args[0], {**at, axis: index})


def _lower_rename(lower: Lowering, node: Node, at: Indices) -> Expr:
    names = dict(node.attr("names"))
    return lower.at(node.args[0], {name: at[names.get(name, name)] for name in node.args[0].type.names})


def _lower_top(lower: Lowering, node: Node, at: Indices) -> Expr:
    """Count the elements that come before this one in the order of choice: fewer than n, and it is chosen."""
    pool, axis = lower.pool, node.attr("axis")
    loop = lower.fresh(axis, node.type.length(axis), at)
    other = {**at, axis: pool.loop(loop)}
    mine, its = (_nan_last(lower, lower.number(node.args[0], indices)) for indices in (at, other))
    earlier = pool.boolean("index_lt", other[axis], at[axis])
    tie = pool.boolean("and", pool.boolean("eq", its, mine), earlier)
    before = pool.boolean("or", pool.boolean("gt", its, mine), tie)
    rank = lower.reduce("sum", pool.numeric(before), [loop])
    return pool.boolean("lt", rank, pool.number(float(node.attr("n"))))


def _nan_last(lower: Lowering, x: Expr) -> Expr:
    return lower.choose(lower.pool.boolean("eq", x, x), x, lower.pool.number(-float("inf")))


def _lower_shift(lower: Lowering, node: Node, at: Indices) -> Expr:
    n = max(-FURTHEST_PAGE, min(node.attr("n"), FURTHEST_PAGE))
    return _at_page(lower, node, at, lower.pool.integer(-n), node.attr("fill"))


def _at_page(lower: Lowering, node: Node, at: Indices, offset: Expr, fill: float) -> Expr:
    """Ask for the operand at the page `offset` further on; `fill` where there is no complete one."""
    page = lower.pool.index_add(at[PAGE], offset)
    x = lower.pool.make("moved", (_of_own_page(lower, node, at), page))
    return lower.choose(lower.exists(page), x, lower.pool.number(float(fill)))


def _of_own_page(lower: Lowering, node: Node, at: Indices) -> Expr:
    return lower.number(node.args[0], {**at, PAGE: lower.pool.loop(PAGE_LOOP)})


def _lower_smooth(lower: Lowering, node: Node, at: Indices) -> Expr:
    pool, weights = lower.pool, node.attr("weights")
    loop = lower.offset(node, len(weights))
    offset = pool.index_add(pool.loop(loop), pool.integer(-(len(weights) // 2)))
    weight = lower.table(weights, (len(weights),), [pool.loop(loop)])
    return lower.reduce("sum", pool.make("mul", (_at_page(lower, node, at, offset, 0.0), weight)), [loop])


def _lower_cumsum(lower: Lowering, node: Node, at: Indices) -> Expr:
    return lower.pool.make("scan", (_of_own_page(lower, node, at), at[PAGE]))


_X, _AXIS = Param("x"), Param("axis", Take.AXIS)

ENTRIES = (
    Op(
        "split",
        OpKind.METHOD,
        (_X, _AXIS, Param("outer", Take.LENGTHS)),
        "an axis as `outer` groups of neighbours: x.split('token', sub=4) has 'sub' of length 4 and a shorter 'token'",
        'k.split("token", sub=4).mean("token").max("sub")',
        _split_rule,
        _split,
        no_flops,
        triton=_lower_split,
        tape="pick",
    ),
    Op(
        "take",
        OpKind.METHOD,
        (_X, _AXIS, Param("indices", Take.INDICES)),
        "the elements of an axis that a slice or a list of indices names",
        'k.take("token", slice(-4, None)).mean("token")',
        _take_rule,
        _take,
        no_flops,
        triton=_lower_take,
        tape="pick",
    ),
    Op(
        "rename",
        OpKind.METHOD,
        (_X, Param("names", Take.NAMES)),
        "new names for axes",
        'dot(k, k.rename(token="other"), "dim").min("token", "other")',
        _rename_rule,
        _rename,
        no_flops,
        triton=_lower_rename,
        tape="pick",
    ),
    Op(
        "top",
        OpKind.METHOD,
        (_X, _AXIS, Param("n", Take.INTEGER)),
        "boolean, true for the n largest along the axis, ties to the lower index",
        'dot(q.sum("head") * abs(q).sum("head").top("dim", 8), page.center, "dim")',
        _top_rule,
        _top,
        lambda node, size: 8 * size(node.type),
        hint=" along another axis than page; pages are chosen by topk(score, n)",
        triton=_lower_top,
        tape="top",
    ),
    Op(
        "shift",
        OpKind.METHOD,
        (_X, _AXIS, Param("n", Take.INTEGER), Param("fill", Take.NUMBER, 0.0)),
        "page i gets page i - n, `fill` beyond the ends",
        'page.radius - page.radius.shift("page", 1)',
        _page_rule("shift"),
        _shift,
        no_flops,
        triton=_lower_shift,
        tape="shift",
    ),
    Op(
        "smooth",
        OpKind.METHOD,
        (_X, _AXIS, Param("weights", Take.NUMBERS)),
        "page i gets the sum of weights[j] times page i + j - len(weights) // 2, 0 beyond the ends",
        'page.weight.smooth("page", [0.25, 0.5, 0.25])',
        _page_rule("smooth"),
        _smooth,
        lambda node, size: 2 * len(node.attr("weights")) * size(node.type),
        triton=_lower_smooth,
        tape="smooth",
    ),
    Op(
        "cumsum",
        OpKind.METHOD,
        (_X, _AXIS),
        "running sum along pages",
        'page.weight.cumsum("page")',
        _page_rule("cumsum"),
        _cumsum,
        triton=_lower_cumsum,
        tape="cumsum",
    ),
    Op(
        "to",
        OpKind.METHOD,
        (_X, Param("storage", Take.STORAGE)),
        "how summarize's result is stored: bfloat16, float16, float32, fp8_e4m3, int8, int4 or sign",
        'k.max("token").to("int4")',
        _to_rule,
        _to,
        tape=InTorch("summarize does, at a page's last token"),
    ),
)
