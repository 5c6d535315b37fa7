"""What an evaluation may cost. Counted, not timed: the same text gives the same answer on any machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from vortex_dsl.frontend.source import MAX_NESTING
from vortex_dsl.values import TypeRuleError

MAX_STEPS = 50_000
ELEMENTS_PER_STEP = 2  # of a list that is copied, or given to an operation
Made = TypeVar("Made")


class Spent(NamedTuple):
    """The steps that something took, and the levels of nesting."""

    num_steps: int
    num_levels: int


class Meter:
    """Counts steps and levels of nesting. Passing a bound is a TypeRuleError."""

    def __init__(self) -> None:
        self._num_steps = 0
        self._depth = self._deepest = 0

    def enter(self) -> None:
        """Count a level of nesting."""
        self._depth += 1
        self._deepest = max(self._deepest, self._depth)
        if self._depth > MAX_NESTING:
            message = f"nested more than {MAX_NESTING} deep; call fewer functions in one another"
            raise TypeRuleError(message)

    def leave(self) -> None:
        """End a level of nesting."""
        self._depth -= 1

    def spend(self, num_steps: int = 1) -> None:
        """Count steps."""
        self._num_steps += num_steps
        if self._num_steps > MAX_STEPS:
            message = f"evaluation takes more than {MAX_STEPS} steps; make loops and lists shorter"
            raise TypeRuleError(message)

    def measured(self, make: Callable[[], Made]) -> tuple[Made, Spent]:
        """Make something, and give it with what it took. What is made measures nothing itself."""
        num_steps, self._deepest = self._num_steps, self._depth
        made = make()
        return made, Spent(self._num_steps - num_steps, self._deepest - self._depth)

    def covers(self, spent: Spent) -> bool:
        """Say whether as much could be spent once more from here on."""
        is_deep = self._depth + spent.num_levels > MAX_NESTING
        return not is_deep and self._num_steps + spent.num_steps <= MAX_STEPS

    def spend_on(self, values: Iterable[Any]) -> None:
        """Count the elements of the lists among values, those in their rows included."""
        rows = [row for value in values if isinstance(value, list | tuple) for row in (value, *value)]
        self.spend(sum(len(row) for row in rows if isinstance(row, list | tuple)) // ELEMENTS_PER_STEP)
