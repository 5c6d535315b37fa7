"""Arithmetic on numbers that are known while tracing, within bounds."""

from __future__ import annotations

import operator
from collections.abc import Callable

from vortex_dsl.program import LARGEST
from vortex_dsl.values import TypeRuleError

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
