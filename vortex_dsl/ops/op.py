"""What an entry of the operation table is, and how a call is matched to its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any

from vortex_dsl.errors import quoted
from vortex_dsl.node import Node
from vortex_dsl.values import Axis, Kind, Type, TypeRuleError, float32, show_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

MISSING = object()
MAX_ELEMENTS = 8192


class OpKind(StrEnum):
    """How a program writes the operation."""

    METHOD = "method"
    FUNCTION = "function"
    OPERATOR = "operator"
    SELECTION = "selection"  # a function, allowed as select's result only


class Take(Enum):
    """What a parameter takes. VALUE parameters become operands, all others become attributes."""

    VALUE = "a value"
    SELECTION = "a selection"
    NUMBER = "a known number"
    INTEGER = "a known integer"
    AXIS = "an axis name"
    AXES = "axis names"  # all remaining positional arguments
    LENGTHS = "name=length"  # one keyword argument
    NAMES = "old=new"  # keyword arguments
    INDICES = "a slice or a list of integers"
    NUMBERS = "a list of numbers"
    ROWS = "a list of lists of numbers"
    STATES = "state=value"  # keyword arguments; each becomes two operands, the state and the value
    STORAGE = "a storage kind such as 'bfloat16', 'int8' or 'int4'"


_OPEN = {Take.AXES: "*axes", Take.LENGTHS: "axis=length", Take.NAMES: "old=new", Take.STATES: "state=value"}
STORAGE_KINDS = ("bfloat16", "float16", "float32", "fp8_e4m3", "int8", "int4", "sign")


@dataclass(frozen=True)
class Param:
    """A parameter of an operation."""

    name: str
    take: Take = Take.VALUE
    default: Any = MISSING

    def __str__(self) -> str:
        if self.take in _OPEN:
            return _OPEN[self.take]
        return self.name if self.default is MISSING else f"{self.name}={self.default}"


@dataclass(frozen=True)
class Elementwise:
    """What Triton computes of each element: {0}, {1}, … are the operands, {number} is what `number` gives.

    The first `conditions` operands are booleans, the others are numbers (a boolean counts as 0 or 1).
    """

    code: str
    conditions: int = 0
    number: Callable[[Node], float] | None = None


@dataclass(frozen=True)
class Op:
    """One operation: all that any part of the system knows about it.

    `example` is an expression: over k and v a field with no other axis than dim, else a score with exactly the
    axis page, or a selection. Beside q it may read the page's center, hi, lo [dim], keys [token, dim], radius,
    weight and the state last, and self.pages.
    `rule` gives the result's type from the operands' types and the attributes, or raises TypeRuleError.
    `meaning(frame, node, *tensors)` computes it in torch; a tensor's dimensions are the frame's leading
    ones, then the type's axes in canonical order. `flops` counts from the node and a size function.
    `fold` computes it on known numbers, where the tracer may.
    `triton` says how it is compiled: element by element; or `triton(lower, node, indices)` gives it at one index
    per axis from its operands' expressions (see lower.py); or, of a selection, `triton(pages, parts, *values)`
    says what to take by score (`kernels.selection.Ranking`), or gives the chosen pages, int8 [rows, max_pages].
    """

    name: str
    kind: OpKind
    params: tuple[Param, ...]
    doc: str
    example: str
    rule: Callable[[tuple[Type, ...], Mapping[str, Any]], Type]
    meaning: Callable[..., Any]
    flops: Callable[[Node, Callable[[Type], float]], float] = lambda node, size: size(node.type)
    fold: Callable[..., float | bool] | None = None
    commutative: bool = False
    triton: Elementwise | Callable[..., Any] | None = None

    @property
    def signature(self) -> str:
        """Give the operation as a program writes it."""
        names = [str(param) for param in self.params]
        if self.kind is OpKind.OPERATOR:
            return f"{names[0]} {self.name} {names[1]}" if len(names) > 1 else f"{self.name} {names[0]}"
        if self.kind is OpKind.METHOD:
            return f"{names[0]}.{self.name}({', '.join(names[1:])})"
        return f"{self.name}({', '.join(names)})"


def refuse(message: str) -> TypeRuleError:
    """Make the error of a type rule."""
    return TypeRuleError(message)


def suggest(name: str, known: Sequence[str]) -> str:
    """Give `; did you mean 'x'?` when a known name is near."""
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{near[0]}'?" if near else ""


def require_axes(op: str, type_: Type, names: Sequence[str]) -> None:
    """Refuse axes that a value does not have, or that are named twice."""
    for name in names:
        if name not in type_.names:
            message = f"'{op}' over axis '{name}', but the value has axes {show_axes(type_)}"
            raise refuse(message + (suggest(name, type_.names) or "; name one that it has"))
    if len(set(names)) != len(names):
        message = f"'{op}' names an axis twice; name each axis once"
        raise refuse(message)


def require_numeric(op: str, types: tuple[Type, ...]) -> None:
    """Refuse operands that are stored values or selections."""
    for given in types:
        if given.kind is Kind.STORED:
            message = f"'{op}' of a value after '.to(...)'; '.to' must be the last thing done to a field"
            raise refuse(message)
        if given.kind in (Kind.SELECTION, Kind.REMEMBERED):
            message = f"'{op}' of a selection; a selection can only be returned, or go into union or refine"
            raise refuse(message)


def bind(op: Op, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Match a call's arguments to an operation's parameters, by position, then by name."""
    if op.params and op.params[-1].take in _OPEN:
        return _bind_open(op, args, kwargs)
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
            message = f"'{op.name}' needs '{param.name}'; write {op.signature}"
            raise refuse(message)
    return bound


def _bind_open(op: Op, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Bind a call whose last parameter takes all that remains: axis names, or keyword arguments."""
    *fixed, last = op.params
    keywords = last.take is not Take.AXES
    rest = dict(kwargs) if keywords else tuple(args[len(fixed) :])
    misplaced = len(args) != len(fixed) if keywords else bool(kwargs)
    if len(args) < len(fixed) or misplaced or not rest:
        message = f"'{op.name}' was called in a way that it does not take; write {op.signature}"
        raise refuse(message)
    return dict(zip([param.name for param in fixed], args, strict=False)) | {last.name: rest}


def attribute(op: Op, param: Param, value: Any) -> Hashable:
    """Check a non-operand argument and freeze it."""
    frozen = _FREEZE[param.take](value)
    if frozen is None:
        near = suggest(value, STORAGE_KINDS) if param.take is Take.STORAGE and isinstance(value, str) else ""
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


def _numbers(value: Any) -> Hashable:
    given = isinstance(value, list | tuple | range) and value and all(map(is_number, value))
    return tuple(float32(number) for number in value) if given else None


def _rows(value: Any) -> Hashable:
    given = isinstance(value, list | tuple) and value and all(_numbers(row) for row in value)
    same = given and len({len(row) for row in value}) == 1
    return tuple(_numbers(row) for row in value) if same else None


_FREEZE: dict[Take, Callable[[Any], Hashable]] = {
    Take.NUMBER: lambda value: float32(value) if is_number(value) else None,
    Take.INTEGER: _integer,
    Take.AXIS: _axis,
    Take.AXES: _axes,
    Take.LENGTHS: _lengths,
    Take.NAMES: _names,
    Take.INDICES: _indices,
    Take.NUMBERS: _numbers,
    Take.ROWS: _rows,
    Take.STORAGE: lambda value: value if value in STORAGE_KINDS else None,
}
