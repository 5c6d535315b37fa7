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

Attrs = tuple[tuple[str, "Hashable"], ...]


class Interner:
    """Makes nodes. Equal operations on equal operands give one node."""

    def __init__(self, max_operations: int | None = MAX_OPERATIONS) -> None:
        self._max_operations = max_operations
        self._nodes: dict[tuple[str, tuple[Node, ...], str], Node] = {}
        self._numbers: dict[Node, float] = {}  # what operations on known numbers give, where they are not folded
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

    def record(self, op: str, args: tuple[Node, ...], attrs: Attrs = ()) -> Node:
        """Type one operation as a program writes it, and merge it with an equal one. Raises TypeRuleError.

        Operations on known numbers are not folded, but the number must exist and keep to its bounds.
        """
        node = self._intern(op, args, attrs, _type(op, args, attrs))
        number = _folded(op, [self._numbers.get(arg, arg.number) for arg in args], node.type.kind)
        if number is not None:
            self._numbers[node] = number
        return node

    def make(self, op: str, args: tuple[Node, ...], attrs: Attrs = ()) -> Node:
        """Type, fold, order and merge one operation. Raises TypeRuleError."""
        type_ = _type(op, args, attrs)
        number = _folded(op, [arg.number for arg in args], type_.kind)
        if number is not None:
            return self.number(number)
        op, args = in_order(op, args)
        return _simplified(op, args, type_) or self._intern(op, args, attrs, type_)

    def keep(self, node: Node) -> None:
        """Take over a node of another interner whose operands are this one's."""
        self._nodes.setdefault(_key(node.op, node.args, node.attrs), node)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Give all nodes that were made, operands first."""
        return tuple(self._nodes.values())

    def _intern(self, op: str, args: tuple[Node, ...], attrs: Attrs, type_: Type) -> Node:
        key = _key(op, args, attrs)
        if key not in self._nodes:
            self._num_operations += op not in LEAVES
            if self._max_operations is not None and self._num_operations > self._max_operations:
                message = f"the program has more than {self._max_operations} operations; make it shorter"
                raise TypeRuleError(message)
            self._nodes[key] = Node(op, args, attrs, type_)
        return self._nodes[key]


def _key(op: str, args: tuple[Node, ...], attrs: Attrs) -> tuple[str, tuple[Node, ...], str]:
    """Tell what makes an operation: within one shape of model the type follows from it."""
    return op, args, repr(attrs) if attrs else ""  # as text, for 0.0 is not -0.0 here, nor True 1


def _type(op: str, args: tuple[Node, ...], attrs: Attrs) -> Type:
    return ENTRIES[op].rule(tuple(arg.type for arg in args), dict(attrs))


def _folded(op: str, numbers: list[float | None], kind: Kind) -> float | None:
    """Compute an operation on known numbers, None where one is not known."""
    fold = ENTRIES[op].fold
    if fold is None or not numbers or any(number is None for number in numbers):
        return None
    try:
        result = fold(*numbers)
    except (ArithmeticError, ValueError) as error:
        message = f"'{op}' of the known numbers {numbers} has no value ({error}); change the numbers"
        raise TypeRuleError(message) from None
    return bool(result) if kind is Kind.BOOL else float32(float(result))


def in_order(op: str, args: tuple[Node, ...]) -> tuple[str, tuple[Node, ...]]:
    """Put the operands of an operation that takes them in any order into one order; a > b becomes b < a."""
    entry = ENTRIES[op]
    if entry.mirrored:
        return entry.mirrored, args[::-1]
    if entry.commutative:
        return op, tuple(sorted(args, key=lambda arg: arg.digest))
    return op, args


def _simplified(op: str, args: tuple[Node, ...], type_: Type) -> Node | None:
    """Give the operand that an operation leaves as it is, None where it does something."""
    entry, kept = ENTRIES[op], None
    if entry.idempotent and args[0] is args[1]:
        kept = args[0]
    elif entry.neutral is not None:
        places = (0, 1) if entry.commutative else (1,)
        kept = next((args[1 - i] for i in places if _is_exactly(args[i], entry.neutral)), None)
    elif entry.involution and args[0].op == op:
        kept = args[0].args[0]
    return kept if kept is not None and kept.type == type_ else None


def _is_exactly(node: Node, number: float) -> bool:
    """Tell whether a node is this known number, and no zero of another sign."""
    return node.number == number and math.copysign(1.0, float(node.number)) == math.copysign(1.0, number)
