"""Tables on narrow terminals: what there is no room for is left out, and said to be."""

import io

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

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


def many(num_rows, **first):
    """A table of two lines for each row, with what is wider than a character, and a column that may be folded."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0, **first)
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("name\norigin", overflow="fold")
    table.add_column("kl", justify="right", no_wrap=True)
    for i in range(num_rows):
        cells = Text(f"{i}"), Text(f"Rule{i} 規\n– zoo"), Text("0.1 [.1,.2]\n–")
        table.add_row(*cells, style="dim" if i % 3 else "")
    table.add_section()
    return table


@pytest.mark.parametrize("width", [200, 40, 31, 30, 20])
@pytest.mark.parametrize("first", [{}, {"title": "why", "title_justify": "left"}])
def test_many_rows_look_as_few_do(width, first, monkeypatch):
    told = []
    for least in (10_000, 1):
        monkeypatch.setattr("search.report.columns.MANY", least)
        console = Console(file=io.StringIO(), width=width, highlight=False)
        console.print(Fitted(many(30, **first), ["kl"]))
        told.append(console.file.getvalue())
    assert told[0] == told[1]


def test_what_many_rows_take_of_rich_is_for_their_head(monkeypatch):
    """Each cell by itself would be most of the time that a long leaderboard takes."""
    calls, render_lines = [], Console.render_lines

    def counting(*given, **options):
        calls.append(1)
        return render_lines(*given, **options)

    monkeypatch.setattr(Console, "render_lines", counting)
    Console(file=io.StringIO(), width=100).print(Fitted(many(1000), ["kl"]))
    assert len(calls) < 20
