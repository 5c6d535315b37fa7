"""`vortex leaderboard --json` and `--plot` write row by row what they would write of all rows together."""

import json
import re
from contextlib import closing
from dataclasses import asdict

import pytest

from search.commands.exits import ExitCode
from search.commands.output import print_json, print_json_list
from search.ranking.front import sections
from search.records import Choice
from search.store.ledger import SqlLedger
from tests.search.store.test_fronts import fill


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A ledger of several campaigns, models and machines: some rows held out, stopped or only to compare with."""
    url = f"sqlite:///{tmp_path_factory.mktemp('made') / 'made.db'}"
    fill(url).close()
    return url


RULES = "kl < 1.2 and not reference"


@pytest.mark.parametrize(
    ("options", "choice", "top"),
    [
        ((), Choice(), None),
        (("--all",), Choice(), None),
        (("--all", "--top", "7"), Choice(), 7),
        (("--campaign", "2", "--ratio", "8"), Choice(ratio=8.0), None),
        (("--where", RULES, "--sort", "-kl"), Choice(where=RULES, sort="-kl"), None),
        (("--device", "none like it"), Choice(device="none like it"), None),
    ],
)  # fmt: skip
def test_json_is_that_of_all_rows(call, made, options, choice, top):
    with closing(SqlLedger(made)) as ledger:
        rows = ledger.standings(2 if "--campaign" in options else None, choice=choice)
    front = {id(row) for section in sections(rows) for row in section.front}
    written = json.dumps(
        [asdict(row) | {"front": id(row) in front} for row in rows[:top]], indent=2, ensure_ascii=False
    )
    assert call("leaderboard", "--db", made, "--json", *options) == (ExitCode.DONE, f"{written}\n", "")


@pytest.mark.parametrize("items", [[], [1], ["two\nlines", {"a": [1, 2], "b": []}, [[]]], [{"deep": {"er": ["é"]}}]])
def test_a_list_is_written_item_by_item_as_it_is_whole(capsys, items):
    print_json(items)
    whole = capsys.readouterr().out
    print_json_list(iter(items))
    assert capsys.readouterr().out == whole


def test_a_figure_and_the_rows_beside_it_are_of_the_same_choice(call, made, tmp_path):
    file = tmp_path / "front.svg"
    code, out, err = call("leaderboard", "--db", made, "--ratio", "8", "--json", "--plot", str(file))
    assert (code, err) == (ExitCode.DONE, f"wrote {file}\n")
    assert {row["ratio"] for row in json.loads(out)} == {8.0}
    assert "at a cost ratio of 8" in file.read_text("utf-8")


def test_a_long_list_is_several_tables_of_the_same_rows(call, made, monkeypatch):
    """Who is on the front of all rows is marked in whichever table it stands."""
    row = re.compile(r"^\s*(\d+)\s+(\S+)( \*)?", re.MULTILINE)
    whole = call("leaderboard", "--db", made, "--all")
    monkeypatch.setattr("search.commands.ranking.leaderboard.MOST_IN_A_TABLE", 40)
    several = call("leaderboard", "--db", made, "--all")
    assert (several[0], several[2]) == (whole[0], whole[2]) == (ExitCode.DONE, "")
    assert several[1].count("kl") > whole[1].count("kl")
    assert sorted(row.findall(several[1])) == sorted(row.findall(whole[1]))
    assert {mark for *_, mark in row.findall(whole[1])} == {" *", ""}


def test_what_there_is_is_told_where_nothing_is_like_what_was_asked_for(call, filled):
    code, out, err = call("leaderboard", "--db", filled, "--model", "prob")
    assert (code, out) == (ExitCode.DONE, "no row of the leaderboard is like that\n")
    assert err == "there are rows of the models probe, on a small CPU, at cost ratios of 8\n"
    assert call("leaderboard", "--db", filled, "--model", "probe")[2] == ""
