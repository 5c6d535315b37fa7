"""Tables on narrow terminals: what there is no room for is left out, and said to be."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from search.report.columns import Fitted


def drawn(width, least=("note", "b"), names=()):
    table = Table("name")
    for heading in ("a", "b"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("note")
    table.add_row("Quest", "0.123456789", "0.987654321", "a sentence of many words that can be folded")
    out = io.StringIO()
    Console(file=out, width=width).print(Fitted(table, least, names))
    return out.getvalue()


def test_nothing_is_left_out_where_there_is_room():
    text = drawn(60)
    assert "not shown" not in text
    assert "0.123456789" in text


@pytest.mark.parametrize(("width", "gone"), [(45, "note"), (24, "note, b")])
def test_the_least_goes_first_and_figures_stay_whole(width, gone):
    text = drawn(width)
    assert f"not shown in {width} columns: {gone};" in " ".join(text.split())
    assert "0.123456789" in text
    assert ("0.987654321" in text) == ("b" not in gone.split(", "))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_columns_are_called_by_names_where_headings_are_broken():
    text = drawn(24, ("the note", "beta"), ("name", "alpha", "beta", "the note"))
    assert "the note, beta" in " ".join(text.split())
