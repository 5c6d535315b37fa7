"""Axes and types: what is known about a value before it has numbers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vortex_dsl.errors import listed, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 2**31  # no number of a program, given or computed, is larger in magnitude

TOKEN, DIM, HEAD, PAGE = "token", "dim", "head", "page"
MAX_AXES = 16  # of one value

# What a model and a workload may measure. Whatever comes from outside is held against these before it costs anything.
MAX_GROUP = 256  # query heads that share a KV head
MAX_HEAD_DIM = 1024
MAX_TOKENS = 2**31  # of one sequence
MAX_LAYERS = 4096
MAX_HEADS = 65_536  # KV heads of a layer
MAX_SEQUENCES = 65_536  # side by side
MAX_REPEATS = 10_000

_RANK = {PAGE: 0, HEAD: 1, TOKEN: 3, DIM: 4}


class TypeRuleError(Exception):
    """An operation that its type rule refuses: what was seen and what to do, without a position."""


def check_size(name: str, value: object, most: int, least: int = 1) -> None:
    """Refuse what is no whole number between two bounds: ValueError with a sentence."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not least <= value <= most:  # type: ignore[operator]
        seen = str(value) if whole and abs(value) <= LARGEST**2 else quoted(value)  # type: ignore[arg-type]
        raise ValueError(f"{name} is {seen}; give a whole number from {least:,} to {most:,}")


@dataclass(frozen=True)
class Shape:
    """What a model fixes: `group` query heads per KV head and `head_dim` channels per head."""

    group: int
    head_dim: int

    def __post_init__(self) -> None:
        check_size("group", self.group, MAX_GROUP)
        check_size("head_dim", self.head_dim, MAX_HEAD_DIM)


@dataclass(frozen=True)
class Axis:
    """A named axis. Only `page` has no length while tracing."""

    name: str
    length: int | None

    @property
    def rank(self) -> tuple[int, str]:
        """Key of the canonical order: page, head, made axes by name, token, dim."""
        return _RANK.get(self.name, 2), self.name


class Kind(StrEnum):
    """What a value's elements are."""

    FLOAT = "float"
    BOOL = "bool"
    STORED = "stored"  # `.to(...)`: may only be returned from summarize
    SELECTION = "selection"  # may only be returned from select, or combined by union and refine
    REMEMBERED = "selection that remembers"  # a selection with what to write to states: may only be returned


@dataclass(frozen=True)
class Type:
    """Axes in canonical order and kind; a tensor's dimensions follow the same order in every backend."""

    axes: tuple[Axis, ...] = ()
    kind: Kind = Kind.FLOAT

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Give the axes' names in canonical order."""
        return tuple(axis.name for axis in self.axes)

    def length(self, name: str) -> int:
        """Give the length of an axis other than `page`."""
        length = next(axis.length for axis in self.axes if axis.name == name)
        assert length is not None, "the page axis has no length while tracing"
        return length

    def without(self, names: tuple[str, ...]) -> Type:
        """Give the numeric type that is left when some axes are reduced away."""
        return Type(tuple(axis for axis in self.axes if axis.name not in names))

    def __str__(self) -> str:
        axes = listed(axis.name if axis.length is None else f"{axis.name}={axis.length}" for axis in self.axes)
        return f"{self.kind.value}[{axes}]"


def ordered(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Put axes in canonical order."""
    return tuple(sorted(axes, key=lambda axis: axis.rank))


def union_axes(types: tuple[Type, ...]) -> tuple[Axis, ...]:
    """Align axes by name: the union, in canonical order. Two lengths for one name are an error."""
    found: dict[str, Axis] = {}
    for axis in (axis for given in types for axis in given.axes):
        other = found.setdefault(axis.name, axis)
        if other.length != axis.length:
            message = (
                f"axis '{axis.name}' has length {other.length} in one operand and {axis.length} in another; "
                "rename or take one of them so that the lengths agree"
            )
            raise TypeRuleError(message)
    if len(found) > MAX_AXES:
        message = f"a value with {len(found)} axes; use at most {MAX_AXES}, reduce some of them first"
        raise TypeRuleError(message)
    return ordered(tuple(found.values()))


def show_axes(type_: Type) -> str:
    """Give axis names as error messages print them: `[page, head]`."""
    return f"[{listed(type_.names)}]"


def float32(number: float) -> float:
    """Round a known number to float32; refuses what passes the language's bound on numbers."""
    if not abs(number) <= LARGEST:
        message = f"the number {number!r} is out of bounds; keep numbers within ±2**31"
        raise TypeRuleError(message)
    return struct.unpack("f", struct.pack("f", number))[0]


def float32s(numbers: Sequence[float]) -> tuple[float, ...]:
    """Round known numbers as `float32` does, all at once: a matrix has thousands."""
    if not all(map(float(LARGEST).__ge__, map(abs, numbers))):
        return tuple(map(float32, numbers))  # which says which one
    form = f"{len(numbers)}f"
    return struct.unpack(form, struct.pack(form, *numbers))


class Numbers(tuple[Any, ...]):
    """Numbers of a constant, or rows of them: their text, by which nodes are told apart, is long and made once."""

    @cached_property
    def _text(self) -> str:
        return super().__repr__()

    def __repr__(self) -> str:
        return self._text
