"""Numbers that are known while tracing: arithmetic on them within bounds, and lists of them that are made once.

A text makes its lists by comprehensions, anew at each trace; they are kept beside it. Whoever is given one pays for it
as if it had been made anew, so that the bounds of an evaluation are what they were.
"""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from vortex_dsl.errors import listed, quoted
from vortex_dsl.frontend.meter import MAX_STEPS, Spent
from vortex_dsl.frontend.vocabulary import BUILT_IN
from vortex_dsl.node import Node
from vortex_dsl.ops import ENTRIES
from vortex_dsl.ops.op import MAX_ELEMENTS
from vortex_dsl.values import LARGEST, Kind, Type, TypeRuleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Key = tuple[ast.ListComp, tuple[str, ...]]

MAX_NAME = 64
LEAST_STEPS = 64  # what takes fewer is made about as fast as it is found
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
    elements = [element for row in result for element in (row if isinstance(row, list) else (row,))]
    if any(isinstance(element, (*_LISTS, dict)) for element in elements):
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


class Kept(NamedTuple):
    """A list, which nothing in the language can change, and what it took to make it."""

    numbers: list[Any]
    spent: Spent


class _Reads(NamedTuple):
    """What a comprehension reads: names, and of `self`."""

    names: tuple[str, ...]
    own: tuple[str, ...]


@dataclass
class KnownLists:
    """The lists of one text, as many as one evaluation can make; what does not fit lets go of all others.

    Several threads may use it: they find the same, and only count amiss how much there is.
    """

    _kept: dict[Key, Kept] = field(default_factory=dict)
    _reads: dict[ast.ListComp, _Reads | None] = field(default_factory=dict)
    _constants: dict[str, bool] = field(default_factory=dict)  # whether nothing but numbers is in them
    _num_steps: int = 0

    def key(
        self, node: ast.ListComp, scope: Mapping[str, Any], constants: Mapping[str, Any], own: Mapping[str, Any]
    ) -> Key | None:
        """Give what a comprehension's result depends on; None where that may be more than known numbers.

        `own`: the numbers of `self`. A text's constants are the same at each trace.
        """
        if node not in self._reads:
            self._reads[node] = _reads_of(node)
        reads = self._reads[node]
        if reads is None or any(name not in own for name in reads.own):
            return None
        told = [f"self.{name}={own[name]!r}" for name in reads.own]
        for name in reads.names:
            value = scope.get(name, constants.get(name))
            if name in constants and value is constants[name]:  # and no variable of another comprehension
                if not self._is_plain(name, value):
                    return None
                told.append(name)
            elif name in scope:
                if not isinstance(value, int | float | Receiver):
                    return None
                told.append(f"{name}={value!r}")  # which tells 1, 1.0, True and -0.0, 0.0 apart
        return node, tuple(told)

    def _is_plain(self, name: str, constant: Any) -> bool:
        if name not in self._constants:
            self._constants[name] = _is_plain(constant)
        return self._constants[name]

    def get(self, key: Key) -> Kept | None:
        """Give a list that was made before, if it is there."""
        return self._kept.get(key)

    def keep(self, key: Key, numbers: list[Any], spent: Spent) -> None:
        """Keep a list that is worth it, unless there is something else than numbers in it."""
        if spent.num_steps < LEAST_STEPS or not _is_plain(numbers):
            return
        if self._num_steps + spent.num_steps > MAX_STEPS:
            self._kept.clear()
            self._num_steps = 0
        self._num_steps += spent.num_steps
        self._kept[key] = Kept(numbers, spent)


def _reads_of(node: ast.ListComp) -> _Reads | None:
    """Give what a comprehension reads; None where it calls a function, or reads what only a graph knows."""
    names: dict[str, None] = {}
    own: dict[str, None] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and not (isinstance(part.func, ast.Name) and part.func.id in BUILT_IN):
            return None
        if isinstance(part, ast.Attribute):
            if not (isinstance(part.value, ast.Name) and part.value.id == "self"):
                return None
            own[part.attr] = None
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            names[part.id] = None
    return _Reads(tuple(names), tuple(own))


def _is_plain(value: Any) -> bool:
    """Say whether a value is a known number, a string or a list of such; one that is in it often is looked at once."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | tuple):
            waiting += each if id(each) not in seen else ()
            seen.add(id(each))
        elif not (is_known(each) or isinstance(each, str | range)):
            return False
    return True
