"""Numbers that are known while tracing, and lists of them: arithmetic within bounds, and what is no operand."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from vortex_dsl.errors import listed, quoted
from vortex_dsl.node import Node
from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.op import MAX_ELEMENTS
from vortex_dsl.values import LARGEST, Kind, Type, TypeRuleError

MAX_NAME = 64
_FOR_LISTS = {"add": "join lists with [x for part in [a, b] for x in part]", "mul": "repeat with [x for i in range(n)]"}
_AS_A_VALUE = ', or make numbers a value with vector(numbers, "dim")'
_LISTS = (list, tuple, range)

Number = bool | int | float
_DIVIDES_BY_ZERO = "'{}' of {} divides by zero; change the numbers"


def is_known(value: object) -> bool:
    """Say whether a value is a number known while tracing."""
    return isinstance(value, int | float)


def fold(op: str, operands: list[Number]) -> Number:
    """Perform an operator of the table, or `floordiv`, on Python numbers. TypeRuleError when the result is none."""
    try:
        result = operator.floordiv(*operands) if op == "floordiv" else _by_the_table(op, operands)
    except ZeroDivisionError:
        raise TypeRuleError(_DIVIDES_BY_ZERO.format(op, operands[0])) from None
    except OverflowError:
        result = float("inf")
    except ValueError:  # of `pow` alone
        if operands[0] == 0:
            raise TypeRuleError(_DIVIDES_BY_ZERO.format(op, operands[0])) from None
        message = (
            f"'pow' of {operands[0]} and {operands[1]} is no real number; raise numbers of at least 0 to a fraction"
        )
        raise TypeRuleError(message) from None
    return bounded(result)


def _by_the_table(op: str, operands: list[Number]) -> Number:
    """Check and compute as the table says. What is whole in Python stays whole, for it may index; no quotient is."""
    entry = ENTRIES[op]
    entry.rule(tuple(Type((), Kind.BOOL if isinstance(each, bool) else Kind.FLOAT) for each in operands), {})
    assert entry.fold is not None, "each operator is computed on known numbers"
    result = entry.fold(*operands)
    whole = op != "div" and all(isinstance(each, int) for each in operands)
    return int(result) if whole and isinstance(result, float) and result.is_integer() else result


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
    kinds = {kind for row in result for kind in ({*map(type, row)} if isinstance(row, list) else (type(row),))}
    if any(issubclass(kind, (*_LISTS, dict)) for kind in kinds):
        message = f"'{op}' of lists in lists in a list; give numbers, or rows of numbers"
        raise TypeRuleError(message)
    return result


def no_operand(op: str, value: Any) -> str:
    """Say that a list, a string or a receiver is no operand of an operator, and what to write for what it seems."""
    remedy = "use values and numbers"
    if isinstance(value, list | tuple | range):
        remedy = _FOR_LISTS.get(op, "go through its elements with a comprehension") + _AS_A_VALUE
    return f"{shown(value)} is no operand of an operator; {remedy}"


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
