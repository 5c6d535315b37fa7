"""How a call's arguments are matched to an operation's parameters, checked and frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vortex_dsl.errors import did_you_mean, quoted
from vortex_dsl.node import Node
from vortex_dsl.ops.op import _OPEN, MISSING, Op, Param, Take, refuse
from vortex_dsl.storage import KINDS
from vortex_dsl.values import Axis, Numbers, float32, float32s

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence


def bind(op: Op, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Match a call's arguments to an operation's parameters, by position, then by name."""
    if op.params and op.params[-1].take in _OPEN:
        return _bind_open(op, args, kwargs)
    if op.params and op.params[0].take is Take.VALUES:
        args = _gathered(op, args, kwargs)
    names = [param.name for param in op.params]
    if len(args) > len(names):
        message = f"'{op.name}' takes {len(names)} arguments and was given {len(args)}; write {op.signature}"
        raise refuse(message)
    bound = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in names or name in bound:
            seen = "is given twice" if name in bound else "is not a parameter"
            message = f"'{name}' {seen} of '{op.name}'; write {op.signature}"
            raise refuse(message)
        bound[name] = value
    for param in op.params:
        if bound.setdefault(param.name, param.default) is MISSING:
            message = f"'{op.name}' needs '{param.name}'; write {op.signature}{op.hint}"
            raise refuse(message)
    return bound


def _gathered(op: Op, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Put the values that a call begins with into one list, which may be given as a list too."""
    num_values = len(args) - sum(param.name not in kwargs for param in op.params[1:])
    values, rest = list(args[: max(num_values, 0)]), args[max(num_values, 0) :]
    if len(values) == 1 and isinstance(values[0], list | tuple):
        values = list(values[0])
    if not values:
        message = f"'{op.name}' needs '{op.params[0].name}'; write {op.signature}"
        raise refuse(message)
    return [values, *rest]


def _bind_open(op: Op, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Bind a call whose last parameter takes all that remains: axis names, or keyword arguments."""
    *fixed, last = op.params
    keywords = last.take is not Take.AXES
    rest = dict(kwargs) if keywords else tuple(args[len(fixed) :])
    misplaced = len(args) != len(fixed) if keywords else bool(kwargs)
    if len(args) < len(fixed) or misplaced or not rest:
        message = f"'{op.name}' was called in a way that it does not take; write {op.signature}"
        raise refuse(message if keywords else _by_axes(op, args, kwargs))
    return dict(zip([param.name for param in fixed], args, strict=False)) | {last.name: rest}


def _by_axes(op: Op, args: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Say how a reduction names its axes, with those of its operand."""
    names = args[0].type.names if isinstance(args[0], Node) else ()
    if not names:
        return f"'{op.name}' of a value without axes; there is nothing to reduce, use the value itself"
    if not named:
        return f"'{op.name}' without an axis; write x.{op.name}({_as_written(names)}), or name some of them"
    name, value = next(iter(named.items()))
    meant = [axis for axis in (*args[1:], value) if axis in names] or names[-1:]
    example = f"x.{op.name}({_as_written(meant)})"
    return f"'{op.name}' with {quoted(name)}; axes are given by position, and go away: write {example}"


def _as_written(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def attribute(op: Op, param: Param, value: Any) -> Hashable:
    """Check a non-operand argument and freeze it."""
    frozen = _FREEZE[param.take](value)
    if frozen is None:
        if param.take is Take.AXES:
            odd = next(axis for axis in value if not _axis(axis))
            raise refuse(f"'{op.name}' over {seen(odd)}; axes have names, write x.{op.name}(\"dim\")")
        near = did_you_mean(value, KINDS) if param.take is Take.STORAGE and isinstance(value, str) else ""
        message = f"'{param.name}' of '{op.name}' must be {param.take.value}, not {seen(value)}"
        raise refuse(message + (near or f"; write {op.signature}"))
    return frozen


def seen(value: Any) -> str:
    """Describe an argument in a message, whatever it is and however long."""
    if isinstance(value, Node):
        return "a value that is not known while tracing"
    return str(value)[:40] if isinstance(value, int | float) else quoted(value)


def is_number(value: Any) -> bool:
    """Whether a value is a known number."""
    return isinstance(value, int | float)


def _integer(value: Any) -> int | None:
    exact = is_number(value) and not isinstance(value, bool) and value == value // 1
    return int(value) if exact else None


def _axis(value: Any) -> str | None:
    return value if isinstance(value, str) and value.isidentifier() and value.isascii() else None


def _axes(value: Any) -> tuple[str, ...] | None:
    return tuple(sorted(value, key=lambda name: Axis(name, None).rank)) if all(map(_axis, value)) else None


def _lengths(value: Mapping[str, Any]) -> Hashable:
    if len(value) != 1:
        return None
    name, length = next(iter(value.items()))
    return (name, _integer(length)) if _axis(name) and _integer(length) else None


def _names(value: Mapping[str, Any]) -> Hashable:
    return tuple(sorted(value.items())) if all(map(_axis, value.values())) else None


def _indices(value: Any) -> Hashable:
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    if isinstance(value, list | tuple | range) and value and all(_integer(i) is not None for i in value):
        return ("list", *(int(i) for i in value))
    return None


def _numbers(value: Any) -> Numbers | None:
    given = isinstance(value, list | tuple | range) and value
    return (
        Numbers(float32s(value))
        if given and all(issubclass(kind, int | float) for kind in {*map(type, value)})
        else None
    )


def _rows(value: Any) -> Numbers | None:
    rows = [_numbers(row) for row in value] if isinstance(value, list | tuple) else []
    return Numbers(rows) if all(rows) and len({len(row) for row in rows if row}) == 1 else None


_FREEZE: dict[Take, Callable[[Any], Hashable]] = {
    Take.NUMBER: lambda value: float32(value) if is_number(value) else None,
    Take.INTEGER: _integer,
    Take.AXIS: _axis,
    Take.NEW_AXIS: _axis,
    Take.AXES: _axes,
    Take.LENGTHS: _lengths,
    Take.NAMES: _names,
    Take.INDICES: _indices,
    Take.NUMBERS: _numbers,
    Take.ROWS: _rows,
    Take.STORAGE: lambda value: value if value in KINDS else None,
}
