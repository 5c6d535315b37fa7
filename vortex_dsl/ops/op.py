"""What an entry of the operation table is: its parameters, its rules, and what passes may know of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any

from vortex_dsl.errors import did_you_mean
from vortex_dsl.values import HEAD, PAGE, Kind, Type, TypeRuleError, show_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vortex_dsl.node import Node

MISSING = object()
MAX_ELEMENTS = 8192


class OpKind(StrEnum):
    """How a program writes the operation."""

    METHOD = "method"
    FUNCTION = "function"
    OPERATOR = "operator"
    SELECTION = "selection"  # a function, allowed as select's result only


class Take(Enum):
    """What a parameter takes. Values and selections become operands, states two each, all others attributes."""

    VALUE = "a value"
    SELECTION = "a selection"
    NUMBER = "a known number"
    INTEGER = "a known integer"
    VALUES = "values"  # all positional arguments but those of the parameters that follow, or one list
    AXIS = "an axis name"
    NEW_AXIS = "a name for a new axis"
    AXES = "axis names"  # all remaining positional arguments
    LENGTHS = "name=length"  # one keyword argument
    NAMES = "old=new"  # keyword arguments
    INDICES = "a slice or a list of integers"
    NUMBERS = "a list of numbers"
    ROWS = "a list of lists of numbers"
    STATES = "state=value"  # keyword arguments; each becomes two operands, the state and the value
    STORAGE = "a storage kind such as 'bfloat16', 'int8' or 'int4'"


_OPEN = {
    Take.AXES: "*axes",
    Take.LENGTHS: "axis=length",
    Take.NAMES: "old=new",
    Take.STATES: "state=value",
    Take.VALUES: "*values",
}
_INSTEAD = {
    HEAD: 'reduce heads, as in x.max("head")',
    PAGE: "choose pages by what select returns, as in topk(score, n)",
}


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
class Increasing:
    """That an operation is a strictly increasing map, in exact arithmetic, of an operand while the others stay.

    `operands` says of which ones; `if_positive`: only where the others are positive; `only`: of such nodes only.
    """

    operands: tuple[int, ...] = (0,)
    if_positive: bool = False
    only: Callable[[Node], bool] = lambda _node: True


@dataclass(frozen=True)
class Coverage:
    """How many candidates a selection chooses, from that of the selections it is made of and from its own limit.

    most(parts, limit): what it chooses at most, the limit infinite where it is not known before pages are scored.
    all_of(parts, limit): up to how many candidates it is certain to choose all, the limit 0 where it is not known.
    """

    most: Callable[[Sequence[float], float], float]
    all_of: Callable[[Sequence[float], float], float]


@dataclass(frozen=True)
class Parts:
    """On a CPU's tape the operation is made of simpler ones: `made(pool, node)` gives them, by the interner `pool`.

    They may round otherwise than the meaning does, by as much as any other order of the same sums.
    """

    made: Callable[[Any, Node], Node]


@dataclass(frozen=True)
class InTorch:
    """Programs with it run in torch on a CPU, and why."""

    reason: str


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
    `hint` goes behind the signature in the message to one who calls it with too little.
    `triton` says how it is compiled: element by element; or `triton(lower, node, indices)` gives it at one index
    per axis from its operands' expressions (see lowering.py); or, of a selection, `triton(pages, parts, *values)`
    says what to take by score (`kernels.selection.Ranking`), or gives the chosen pages, int8 [rows, max_pages].
    What passes may know: `commutative`; `mirrored`, the operation that is this one with its operands exchanged;
    `idempotent`, x op x is x; `neutral`, x op neutral is x, signed zeros and NaN included; `involution`, twice is
    nothing; `increasing`; `positive`, its result is above 0; `keeps_positive`, it is where all operands are.
    `coverage` is a selection's, and `by_rank`: of its score only the order counts.
    `tape` says how it is written for the machine that serves a CPU: what does it there (`backends/tape/emission.py`, or
    an elementwise operation or reduction of `kernels.host.tape`), of what it is made, or why it runs in torch.
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
    mirrored: str = ""
    idempotent: bool = False
    neutral: float | None = None
    involution: bool = False
    increasing: Increasing | None = None
    positive: bool = False
    keeps_positive: bool = False
    coverage: Coverage | None = None
    by_rank: bool = False
    hint: str = ""
    triton: Elementwise | Callable[..., Any] | None = None
    tape: str | Parts | InTorch | None = None

    @property
    def score(self) -> int | None:
        """Give which operand is the score of a selection, None where there is none."""
        return next((place for place, param in enumerate(self.params) if param.name == "score"), None)

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


def require_axes(op: str, type_: Type, names: Sequence[str]) -> None:
    """Refuse axes that a value does not have, or that are named twice."""
    for name in names:
        if name not in type_.names:
            message = f"'{op}' over axis '{name}', but the value has axes {show_axes(type_)}"
            raise refuse(message + (did_you_mean(name, type_.names) or "; name one that it has"))
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


def require_movable(op: str, type_: Type, names: Sequence[str]) -> None:
    """Refuse axes that a value does not have, and those that a program may not move."""
    require_numeric(op, (type_,))
    require_axes(op, type_, names)
    for name in names:
        if name in _INSTEAD:
            message = f"'{op}' of axis '{name}'; 'page' and 'head' belong to the platform, {_INSTEAD[name]}"
            raise refuse(message)


def require_makeable(op: str, names: Sequence[str]) -> None:
    """Refuse to give a value an axis of the platform's name."""
    for name in names:
        if name in _INSTEAD:
            message = f"'{op}' makes an axis '{name}'; 'page' and 'head' belong to the platform, choose another name"
            raise refuse(message)
