"""A table of numbers that grows row by row, and whose beginning is read as an array at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.foresight.ridge import Array

LEAST_ROWS = 64


class Table:
    """Rows of equal width. Room is doubled when it is full, so a row costs the same however many there are."""

    def __init__(self) -> None:
        self._rows: Array = np.zeros((0, 0))
        self._num = 0

    def __len__(self) -> int:
        return self._num

    def __copy__(self) -> Table:
        """Give another one with the same rows, and room of its own for others."""
        other = Table()
        other._rows, other._num = self._rows.copy(), self._num
        return other

    def add(self, row: Sequence[float]) -> None:
        """Add a row. Raises ValueError where it is not as wide as the first."""
        if not self._num:
            self._rows = np.zeros((LEAST_ROWS, len(row)))
        elif self._num == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._num] = row
        self._num += 1

    def first(self, num: int) -> Array:
        """Give the first so many rows: [num, width]."""
        return self._rows[:num]
