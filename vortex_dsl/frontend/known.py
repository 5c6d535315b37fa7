"""Arithmetic on numbers that are known while tracing, within bounds."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vortex_dsl.errors import listed, quoted
from vortex_dsl.node import Node
from vortex_dsl.ops.op import MAX_ELEMENTS
from vortex_dsl.values import LARGEST, TypeRuleError

MAX_NAME = 64
_LISTS = (list, tuple, range)

Number = bool | int | float


def _power(base: Number, exponent: Number) -> Number:
    """Raise to a power, without ever making a number that is far out of bounds."""
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    try:
        estimate = float(abs(base)) ** exponent
    except OverflowError:
        estimate = float("inf")
    if estimate > LARGEST * 2.0:
        return estimate
    return base**exponent


def _boolean(name: str, function: Callable[..., bool]) -> Callable[..., bool]:
    def checked(*operands: Number) -> bool:
        if not all(isinstance(operand, bool) for operand in operands):
            message = f"'{name}' of a number; it takes booleans, make one by a comparison such as x > 0"
            raise TypeRuleError(message)
        return function(*operands)

    return checked


_FOLDS: dict[str, Callable[..., object]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "mod": operator.mod,
    "floordiv": operator.floordiv,
    "pow": _power,
    "neg": operator.neg,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": _boolean("&", operator.and_),
    "or": _boolean("|", operator.or_),
    "invert": _boolean("~", operator.not_),
}


def is_known(value: object) -> bool:
    """Say whether a value is a number known while tracing."""
    return isinstance(value, int | float)


def fold(op: str, operands: list[Number]) -> Number:
    """Perform an operator of the table, or `floordiv`, on Python numbers. TypeRuleError when the result is none."""
    try:
        result = _FOLDS[op](*operands)
    except ZeroDivisionError:
        message = f"'{op}' of {operands[0]} divides by zero; change the numbers"
        raise TypeRuleError(message) from None
    except OverflowError:
        result = float("inf")
    return bounded(result)


def bounded(result: object) -> Number:
    """Give a number back if it is real and within bounds."""
    if not isinstance(result, int | float) or not abs(result) <= LARGEST:
        message = "a number is out of bounds; keep numbers, and results on the way, within ±2**31"
        raise TypeRuleError(message)
    return result


@dataclass(frozen=True)
class Receiver:
    """What `self`, `page`, `layer` and `kv_head` stand for: a thing that only has attributes."""

    name: str


def known_condition(value: Any) -> Any:
    """Give a known number back; TypeRuleError for anything else."""
    if not is_known(value):
        message = f"{shown(value)} is no condition; compare numbers"
        raise TypeRuleError(message)
    return value


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        message = f"'{name}' of {shown(value)}; it takes known whole numbers"
        raise TypeRuleError(message)
    return int(bounded(value))


def make_range(given: list[Any]) -> range:
    """Make a range of known whole numbers."""
    bounds = [_whole(value, "range") for value in given]
    if len(bounds) == 3 and bounds[2] == 0:
        message = "'range' with step 0; give another step"
        raise TypeRuleError(message)
    return range(*bounds)


def make_slice(given: list[Any], name: str = "a slice") -> slice:
    """Make a slice of known whole numbers and None."""
    bounds = [None if value is None else _whole(value, name) for value in given]
    if len(bounds) == 3 and bounds[2] == 0:
        message = f"'{name}' with step 0; give another step"
        raise TypeRuleError(message)
    return slice(*bounds)


def checked_argument(op: str, value: Any) -> Any:
    """Check what goes into an operation: at most rows of numbers, 8,192 elements in all, nothing that is no value."""
    if isinstance(value, list | tuple | range):
        return _checked_list(op, value)
    if isinstance(value, str) and len(value) > MAX_NAME:
        message = f"'{op}' of a string with {len(value)} characters; names have at most {MAX_NAME}"
        raise TypeRuleError(message)
    if isinstance(value, dict | Receiver):
        message = f"'{op}' of {shown(value)}; give it a value or a number"
        raise TypeRuleError(message)
    return value


def _checked_list(op: str, value: list[Any] | tuple[Any, ...] | range) -> list[Any]:
    rows = value[: MAX_ELEMENTS + 1]
    if sum(len(row) if isinstance(row, _LISTS) else 1 for row in rows) > MAX_ELEMENTS:
        message = f"'{op}' of a list with more than {MAX_ELEMENTS} elements; a constant has at most {MAX_ELEMENTS}"
        raise TypeRuleError(message)
    result = [list(row) if isinstance(row, _LISTS) else row for row in rows]
    elements = [element for row in result for element in (row if isinstance(row, list) else (row,))]
    if any(isinstance(element, (*_LISTS, dict)) for element in elements):
        message = f"'{op}' of lists in lists in a list; give numbers, or rows of numbers"
        raise TypeRuleError(message)
    return result


def shown(value: Any) -> str:
    """Describe a value in a message, in a few words."""
    if isinstance(value, Node):
        return f"a value with axes [{listed(value.type.names)}]"
    if isinstance(value, Receiver):
        return quoted(value.name)
    if isinstance(value, list | tuple | range | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, slice):
        return "a slice"
    return f"the string {quoted(value)}" if isinstance(value, str) else str(value)
