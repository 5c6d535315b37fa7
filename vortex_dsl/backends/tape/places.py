"""Numbers and places on a tape: what grows with a row's pages, and where values lie in the machine's memory."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from kernels.host.lines import OTHER_STRIDES, SIZES, STRIDES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl.values import Type


class Unwritable(Exception):  # noqa: N818  (no error: such a program runs in torch)
    """The machine has no instruction for it; the message is the reason."""


class Size(NamedTuple):
    """A number that may grow with the pages at hand: `fixed + each * pages`."""

    fixed: int
    each: int = 0

    def times(self, other: Size) -> Size:
        """Multiply two, at most one of which grows."""
        if self.each and other.each:
            reason = "a distance grows with the square of a sequence's pages"
            raise Unwritable(reason)
        return Size(self.fixed * other.fixed, self.fixed * other.each + self.each * other.fixed)


ONE, NONE, PAGES = Size(1), Size(0), Size(0, 1)
Lengths = dict[str, Size]  # of a value's axes, by name, in the order in which they lie


class Region(Enum):
    """A part of the machine's memory."""

    NUMBERS = "known numbers"
    SMALL = "values without pages"
    BLOCK = "values of a block's pages, overwritten by the next block"
    FULL = "values of all pages of a row"


class Place(NamedTuple):
    """Where a value begins: at a number of its region, or at a column where pages are, and elements behind that."""

    region: Region
    at: int
    offset: int = 0


class Value(NamedTuple):
    """A value without gaps: pages come first where it has any."""

    place: Place
    lengths: Lengths


Line = dict[int, int | Size | Place]  # of an instruction, by where it stands there


def lengths_of(type_: Type) -> Lengths:
    """Give the lengths of a type's axes, in canonical order."""
    return {axis.name: PAGES if axis.length is None else Size(axis.length) for axis in type_.axes}


def product(sizes: Sequence[Size]) -> Size:
    """Multiply sizes, at most one of which grows."""
    total = ONE
    for size in sizes:
        total = total.times(size)
    return total


def strides(lengths: Lengths) -> Lengths:
    """Give how far apart elements lie along each axis of a value without gaps."""
    found, step = {}, ONE
    for name in reversed(lengths):
        found[name] = step
        step = step.times(lengths[name])
    return found


def merged(sizes: Sequence[Size], steps: Sequence[Sequence[Size]], most: int) -> Line:
    """Give lengths of `most` axes, and for each operand how far an element lies from the next along them.

    Axes that follow each other in every operand become one.
    """
    axes: list[tuple[Size, tuple[Size, ...]]] = []
    for size, *own in reversed(list(zip(sizes, *steps, strict=True))):
        if size == ONE:
            continue
        if axes and all(step == last.times(axes[-1][0]) for step, last in zip(own, axes[-1][1], strict=True)):
            axes[-1] = (axes[-1][0].times(size), axes[-1][1])
        else:
            axes.append((size, tuple(own)))
    if len(axes) > most:
        reason = f"a value with more than {most} axes is wanted in another order"
        raise Unwritable(reason)
    axes += [(ONE, (NONE,) * len(steps))] * (most - len(axes))
    line: Line = {}
    for i, (size, own_) in enumerate(reversed(axes)):
        line[SIZES + 2 * i] = size
        line |= {at + 2 * i: step for at, step in zip((STRIDES, OTHER_STRIDES), own_, strict=False)}
    return line
