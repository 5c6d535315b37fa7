"""Values put together along new axes: constants from numbers, and several values as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vortex_dsl.ops.frame import Frame, numeric
from vortex_dsl.ops.op import Op, OpKind, Param, Take, refuse, require_makeable, require_numeric
from vortex_dsl.ops.rearranging import no_flops, require_distinct
from vortex_dsl.values import Axis, Type, ordered, union_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from vortex_dsl.node import Node
    from vortex_dsl.ops.expression import Expr
    from vortex_dsl.ops.lowering import Indices, Lowering

MAX_STACKED = 128


def _constant_rule(name: str) -> Callable[..., Type]:
    def rule(_types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
        values = attrs["values"]
        axes = [attrs["axis"]] if name == "vector" else [attrs["outer"], attrs["inner"]]
        lengths = [len(values)] if name == "vector" else [len(values), len(values[0])]
        require_makeable(name, axes)
        require_distinct(name, axes)
        return Type(ordered(tuple(Axis(axis, length) for axis, length in zip(axes, lengths, strict=True))))

    return rule


def _vector(frame: Frame, node: Node) -> Tensor:
    import torch

    values = torch.tensor(node.attr("values"), dtype=torch.float32)
    return values[(None,) * frame.lead]


def _matrix(frame: Frame, node: Node) -> Tensor:
    return frame.permute(_vector(frame, node), (node.attr("outer"), node.attr("inner")), node.type)


def _stack_rule(types: tuple[Type, ...], attrs: Mapping[str, Any]) -> Type:
    require_numeric("stack", types)
    if len(types) > MAX_STACKED:
        message = f"'stack' of {len(types)} values; stack at most {MAX_STACKED}"
        raise refuse(message)
    axis, axes = attrs["axis"], union_axes(types)
    require_makeable("stack", (axis,))
    require_distinct("stack", (*(each.name for each in axes), axis))
    return Type(ordered((*axes, Axis(axis, len(types)))))


def _stack(frame: Frame, node: Node, *values: Tensor) -> Tensor:
    import torch

    axis = node.attr("axis")
    each = node.type.without((axis,))
    aligned = (frame.align(numeric(x), arg.type, each) for x, arg in zip(values, node.args, strict=True))
    return torch.stack(torch.broadcast_tensors(*aligned), frame.dim(node.type, axis))


# In Triton


def _lower_vector(lower: Lowering, node: Node, at: Indices) -> Expr:
    values = node.attr("values")
    return lower.table(values, (len(values),), [at[node.attr("axis")]])


def _lower_matrix(lower: Lowering, node: Node, at: Indices) -> Expr:
    rows = node.attr("values")
    numbers = tuple(number for row in rows for number in row)
    return lower.table(numbers, (len(rows), len(rows[0])), [at[node.attr("outer")], at[node.attr("inner")]])


def _lower_stack(lower: Lowering, node: Node, at: Indices) -> Expr:
    """Ask for the value that the index along the new axis names, the last where no other is it."""
    *others, chosen = (lower.number(arg, at) for arg in node.args)
    index = at[node.attr("axis")]
    for i, value in reversed(list(enumerate(others, 1))):
        chosen = lower.choose(lower.pool.boolean("index_lt", index, lower.pool.integer(i)), value, chosen)
    return chosen


ENTRIES = (
    Op(
        "vector",
        OpKind.FUNCTION,
        (Param("values", Take.NUMBERS), Param("axis", Take.NEW_AXIS)),
        "a constant with one axis",
        '(k.split("dim", part=2) * vector([0.75, 0.25], "part")).sum("part", "dim").max("token")',
        _constant_rule("vector"),
        _vector,
        no_flops,
        triton=_lower_vector,
        tape="numbers",
    ),
    Op(
        "matrix",
        OpKind.FUNCTION,
        (Param("values", Take.ROWS), Param("outer", Take.NEW_AXIS), Param("inner", Take.NEW_AXIS)),
        "a constant with two axes, from a list of rows",
        'dot(k.split("dim", part=2), matrix([[1, 1], [1, -1]], "row", "part"), "part").norm("row", "dim").max("token")',
        _constant_rule("matrix"),
        _matrix,
        no_flops,
        triton=_lower_matrix,
        tape="numbers",
    ),
    Op(
        "stack",
        OpKind.FUNCTION,
        (Param("values", Take.VALUES), Param("axis", Take.NEW_AXIS)),
        "several values, or a list of them, as one along a new axis, which comes with their common axes",
        'dot(q, stack(page.center, page.hi, page.lo, "part"), "dim").max("part", "head")',
        _stack_rule,
        _stack,
        no_flops,
        triton=_lower_stack,
        tape="pick",
    ),
)
