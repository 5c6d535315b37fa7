"""A table gives back what was added, and a copy goes on by itself."""

from copy import copy

import numpy as np
import pytest

from search.foresight.table import LEAST_ROWS, Table


def test_it_holds_what_was_added_however_much():
    rows = np.random.default_rng(0).normal(size=(3 * LEAST_ROWS + 1, 5))
    table = Table()
    for row in rows:
        table.add(row)
    assert len(table) == len(rows)
    assert (table.first(len(rows)) == rows).all()
    assert table.first(7).shape == (7, 5)


def test_a_copy_goes_on_by_itself():
    table = Table()
    table.add((1.0, 2.0))
    other = copy(table)
    table.add((3.0, 4.0))
    other.add((5.0, 6.0))
    assert table.first(2).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert other.first(2).tolist() == [[1.0, 2.0], [5.0, 6.0]]


def test_a_row_of_another_width_is_refused():
    table = Table()
    table.add((1.0, 2.0))
    with pytest.raises(ValueError, match="shape"):
        table.add((1.0, 2.0, 3.0))
