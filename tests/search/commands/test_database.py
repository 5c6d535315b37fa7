"""Databases by path, by URL and by VORTEX_DB, and what is read while somebody writes."""

import io
import json
import sqlite3
import sys
import time
from contextlib import closing

import pytest

from search.commands.asked import ToRun
from search.commands.exits import ExitCode


def ids(call, *words):
    code, out, err = call("leaderboard", "--json", *words)
    assert code == ExitCode.DONE, err
    return sorted(row["id"] for row in json.loads(out))


def test_a_database_is_named_by_path_url_or_variable(call, filled, monkeypatch, tmp_path):
    found = ids(call, "--db", filled)
    assert found == ids(call, "--db", f"sqlite:///{filled}") == [1, 2, 3]
    monkeypatch.chdir(tmp_path)
    assert ids(call, "--db", "filled.db") == found
    monkeypatch.setenv("VORTEX_DB", filled)
    assert ids(call) == found
    code, _, err = call("leaderboard", "--db", "other.db")
    assert code == ExitCode.USAGE
    assert "there is no database" in err
    assert not (tmp_path / "other.db").exists()


def test_a_url_of_a_file_with_options_is_refused_in_a_sentence_of_ours(call, filled):
    code, out, err = call("status", "--db", f"sqlite:///{filled}?mode=ro")
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "has options of its own behind the '?'; leave them out" in err


def test_what_is_no_file_is_not_said_to_be_missing(call):
    code, out, err = call("status", "--db", "/dev/null")
    assert (code, out, err) == (
        ExitCode.USAGE, "", "vortex: /dev/null is no regular file; name a database's file with --db\n"
    )  # fmt: skip


@pytest.mark.parametrize("option", ["--base-url", "--llm", "--stop-at", "--task", "--model", "--ray", "--db"])
def test_an_option_of_a_variable_that_nobody_set_is_not_as_if_it_were_left_out(call, option):
    for words in (["run", "--dry-run", option, ""], ["run", "--dry-run", f"{option}="]):
        code, out, err = call(*words)
        told = f"vortex: {option} is empty; give it a value, or leave it out\n"
        assert (code, out, err) == (ExitCode.USAGE, "", told)


@pytest.mark.parametrize("address", ["x", "127.0.0.1:", "127.0.0.1:x", ":6379", "a b:1", "http://x:1", "head:0"])
def test_what_is_no_address_of_a_cluster_is_refused_before_anything_starts(call, address):
    code, out, err = call("run", "--dry-run", "--ray", address)
    assert (code, out) == (ExitCode.USAGE, "")
    assert "; give local, or HOST:PORT of a cluster's head, such as head:6379" in err


def test_a_campaign_file_stands_above_the_variable_and_an_option_above_both(monkeypatch, tmp_path):
    file = tmp_path / "campaign.toml"
    file.write_text('db = "of_file.db"\n')
    assert ToRun().setup().db == "sqlite:///results.db"
    monkeypatch.setenv("VORTEX_DB", "of_variable.db")
    assert ToRun().setup().db == "of_variable.db"
    assert ToRun().setup(file).db == "of_file.db"
    assert ToRun(db="of_option.db").setup(file).db == "of_option.db"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("{folder}", "is a folder; name the database's file in it"),
        ("{folder}/none.db", "there is no database"),
        ("sqlite:results.db", "names no database"),
        (":memory:", "is a database in memory"),
        ("mysql://somewhere/x", "names no database"),
    ],
)
def test_a_place_that_holds_no_database_is_one_sentence(call, tmp_path, place, says):
    code, out, err = call("status", "--db", place.format(folder=tmp_path))
    assert code in (ExitCode.USAGE, ExitCode.INFRASTRUCTURE)
    assert (out, err.count("\n")) == ("", 1)
    assert says in err or "is not a database that the ledger knows" in err


def test_reading_waits_for_nobody_who_writes(call, filled, monkeypatch):
    """SQLite would make us wait for thirty seconds."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"agent": "coder"}')))
    with closing(sqlite3.connect(filled, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        before = time.monotonic()
        assert ids(call, "--db", filled) == [1, 2, 3]
        assert call("show", "1", "--db", filled)[0] == ExitCode.DONE
        code, _, err = call("ask", "--db", filled)
        assert time.monotonic() - before < 20.0
    assert code == ExitCode.USAGE
    assert "locked" not in err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "UPDATE evaluation SET status = 'wonderful'",
            "a status 'wonderful', which this version does not know (only",
        ),
        ("UPDATE candidate SET status = 'wonderful'", "a status 'wonderful', which this version does not know"),
        ("UPDATE evaluation SET stage = 'nosuch'", "an evaluation of the stage 'nosuch', which this version does not"),
    ],
)
@pytest.mark.parametrize("words", [("show", "1"), ("journal",), ("replay",)])
def test_what_a_newer_version_may_have_written_is_told_and_no_bug(call, filled, change, told, words):
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute(change)
    code, out, err = call(*words, "--db", filled)
    assert (code, out) == (ExitCode.INFRASTRUCTURE, "")
    assert told in err


def test_a_figure_that_json_does_not_know_is_told_and_no_bug(call, filled):
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute("UPDATE measurement SET value = 9e999")
    code, _, err = call("show", "1", "--json", "--db", filled)
    assert code == ExitCode.INFRASTRUCTURE
    assert "no finite number, which JSON does not know" in err
    assert "inf" in call("show", "1", "--db", filled)[1]


@pytest.mark.parametrize("words", [("status",), ("leaderboard",), ("journal",), ("replay",)])
def test_a_database_without_a_campaign_is_told_as_one_with_what_starts_it(call, tmp_path, words):
    db = tmp_path / "empty.db"
    db.touch()
    code, out, err = call(*words, "--db", str(db))
    assert (code, out) == (ExitCode.USAGE, "")
    assert err == "vortex: the database holds no campaign; `vortex run` starts one\n"
    assert call("leaderboard", "--json", "--db", str(db))[1] == "[]\n"
