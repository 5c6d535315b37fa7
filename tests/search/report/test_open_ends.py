"""Intervals with an end that is not known or that no number bounds: told as open everywhere, and never a bug."""

import json
import math
import re
import sqlite3
from contextlib import closing

import pytest

from search.cli import main
from search.commands.exits import ExitCode
from search.outside.fates import Result
from search.ranking.leaderboard import interval, spread
from search.records import Measurement
from search.report.merit import figure

INFINITE = "9e999"
ENDS = ("kl", "retrieval_loss", "speedup", "confirmed_kl")


@pytest.fixture
def changed(written):
    """Give a function that sets the ends of every interval of a finished campaign, and gives its database."""

    def change(low, high):
        with closing(sqlite3.connect(written.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(f"update measurement set low = {low}, high = {high}")
            both = ", ".join(f"{name}_low = {low}, {name}_high = {high}" for name in ENDS)
            connection.execute(f"update standing set {both}")
        return written

    return change


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [
        (0.125, 0.5, ("0.125", "0.500")),
        (0.125, math.inf, ("0.125", "–")),
        (0.125, math.nan, ("0.125", "–")),
        (-math.inf, 0.5, ("–", "0.500")),
        (None, 0.5, ("–", "0.500")),
        (-math.inf, math.inf, ()),
        (None, math.nan, ()),
    ],
)
def test_an_open_end_is_a_dash_and_two_are_no_interval(low, high, ends):
    narrow = [end.removeprefix("0") for end in ends]
    assert interval(0.25, low, high) == (f"0.250 [{','.join(ends)}]" if ends else "0.250")
    assert spread(0.25, low, high) == (f"0.250 [{','.join(narrow)}]" if ends else "0.250")
    assert figure(0.25, low, high) == (f"0.250 [{', '.join(ends)}]" if ends else "0.250")
    told = str(Result("fidelity", 0.0, "ok", "", (Measurement("kl", 0.25, low, high),)))
    assert "inf" not in told
    assert "nan" not in told


@pytest.mark.parametrize(("low", "high"), [("0.01", INFINITE), (f"-{INFINITE}", INFINITE), ("NULL", INFINITE)])
def test_a_report_and_figures_are_made_all_the_same(capsys, changed, tmp_path, low, high):
    db, folder = changed(low, high), tmp_path / "out"
    assert main(["report", "--db", db, "--out", str(folder)]) == ExitCode.DONE
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text()
        assert not re.search(r"\b(inf|nan)\b", text)
    assert main(["leaderboard", "--db", db, "--plot", str(tmp_path / "front.svg")]) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert "[.01,–]" in out or low != "0.01"
    assert "bug" not in err


def test_losses_that_no_number_bounds_are_left_out_of_figures(capsys, changed, tmp_path):
    db = changed("NULL", "NULL")
    with closing(sqlite3.connect(db.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(f"update standing set kl = {INFINITE}, retrieval_loss = {INFINITE}")
    assert main(["report", "--db", db, "--out", str(tmp_path)]) == ExitCode.DONE
    assert not list(tmp_path.glob("*.svg"))
    assert main(["leaderboard", "--db", db, "--plot", str(tmp_path / "front.svg")]) == ExitCode.USAGE
    assert "no rule has a finite loss" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("leaderboard",), ("show", "1"), ("compare", "2", "4")])
def test_json_has_null_for_an_open_end(capsys, changed, words):
    db = changed("0.01", INFINITE)
    capsys.readouterr()
    assert main([*words, "--json", "--db", db]) == ExitCode.DONE
    out = capsys.readouterr().out
    json.loads(out, parse_constant=pytest.fail)
    assert 'high": null' in out


def test_where_conditions_leave_no_row_a_figure_says_so(capsys, written, tmp_path):
    words = ["leaderboard", "--db", written, "--plot", str(tmp_path / "front.svg"), "--where", "kl > 99"]
    assert main(words) == ExitCode.USAGE
    assert "no row at any cost ratio is like what was asked for" in capsys.readouterr().err
