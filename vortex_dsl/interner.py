"""Hash-consing: the one place where nodes are made, typed, ordered and folded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vortex_dsl.node import LEAVES, Node
from vortex_dsl.ops import ENTRIES
from vortex_dsl.values import PAGE, Axis, Kind, Type, TypeRuleError, float32

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_OPERATIONS = 512
_MIRRORED = {"gt": "lt", "ge": "le"}  # a > b is b < a, NaN included
_NEUTRAL_RIGHT = {"sub": 0.0, "div": 1.0, "pow": 1.0}  # exact in float32, signed zeros and NaN included
_IDEMPOTENT = ("and", "or", "maximum", "minimum", "union")

Attrs = tuple[tuple[str, "Hashable"], ...]


class Interner:
    """Makes nodes. Equal operations on equal operands give one node."""

    def __init__(self, max_operations: int | None = MAX_OPERATIONS) -> None:
        self._max_operations = max_operations
        self._nodes: dict[tuple[str, tuple[Node, ...], str], Node] = {}
        self._num_operations = 0

    def leaf(self, op: str, type_: Type, args: tuple[Node, ...] = (), attrs: Attrs = ()) -> Node:
        """Give an input, a field or a constant."""
        return self._intern(op, args, attrs, type_)

    def number(self, value: float) -> Node:
        """Lift a known number: a float32 scalar, or a boolean one."""
        is_bool = isinstance(value, bool)
        type_ = Type(kind=Kind.BOOL if is_bool else Kind.FLOAT)
        return self.leaf("constant", type_, attrs=(("values", (value if is_bool else float32(value),)),))

    def field(self, stored: Node) -> Node:
        """Give what select reads of a stored value: the same axes, and `page`."""
        return self.leaf("field", Type((Axis(PAGE, None), *stored.type.axes)), args=(stored,))

    def state(self, type_: Type, init: float, index: int) -> Node:
        """Give what select reads of a state; `index` tells states apart, in an order that names do not decide."""
        return self.leaf("state", type_, attrs=(("axes", type_.names), ("init", float32(init)), ("index", index)))

    def make(self, op: str, args: tuple[Node, ...], attrs: Attrs = ()) -> Node:
        """Type, fold, order and merge one operation. Raises TypeRuleError."""
        type_ = ENTRIES[op].rule(tuple(arg.type for arg in args), dict(attrs))
        if op in _MIRRORED:
            op, args = _MIRRORED[op], args[::-1]
        if ENTRIES[op].commutative:
            args = tuple(sorted(args, key=lambda arg: arg.digest))
        folded = self._folded(op, args, type_.kind)
        return folded or _simplified(op, args, type_) or self._intern(op, args, attrs, type_)

    def _folded(self, op: str, args: tuple[Node, ...], kind: Kind) -> Node | None:
        fold, numbers = ENTRIES[op].fold, [arg.number for arg in args]
        if fold is None or not numbers or any(number is None for number in numbers):
            return None
        try:
            result = fold(*numbers)
        except (ArithmeticError, ValueError) as error:
            message = f"'{op}' of the known numbers {numbers} has no value ({error}); change the numbers"
            raise TypeRuleError(message) from None
        return self.number(bool(result) if kind is Kind.BOOL else float(result))

    def _intern(self, op: str, args: tuple[Node, ...], attrs: Attrs, type_: Type) -> Node:
        key = (op, args, repr((attrs, type_.axes)))
        if key not in self._nodes:
            self._num_operations += op not in LEAVES
            if self._max_operations is not None and self._num_operations > self._max_operations:
                message = f"the program has more than {self._max_operations} operations; make it shorter"
                raise TypeRuleError(message)
            self._nodes[key] = Node(op, args, attrs, type_)
        return self._nodes[key]


def _simplified(op: str, args: tuple[Node, ...], type_: Type) -> Node | None:
    """Give the operand that an operation leaves as it is, None where it does something."""
    if op in _IDEMPOTENT and args[0] is args[1]:
        kept: Node | None = args[0]
    elif op in _NEUTRAL_RIGHT and args[1].number == _NEUTRAL_RIGHT[op] and not _is_negative_zero(args[1]):
        kept = args[0]
    elif op == "mul":
        kept = next((args[1 - i] for i in (0, 1) if args[i].number == 1.0), None)
    elif op in ("neg", "invert") and args[0].op == op:
        kept = args[0].args[0]
    else:
        kept = None
    return kept if kept is not None and kept.type == type_ else None


def _is_negative_zero(node: Node) -> bool:
    return node.number == 0.0 and math.copysign(1.0, float(node.number)) < 0


def rebuilt(interner: Interner, node: Node, args: tuple[Node, ...], attrs: Attrs) -> Node:
    """Make a node again from new operands and attributes, leaves included."""
    if node.op == "field":
        return interner.field(args[0])
    if node.op in LEAVES:
        return interner.leaf(node.op, node.type, args, attrs)
    return interner.make(node.op, args, attrs)
