"""Usage and faults: one sentence on stderr, no traceback."""

import errno
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from search.commands.exits import ExitCode, explain
from vortex_dsl import zoo

ROOT = Path(__file__).resolve().parents[3]
QUEST = Path(zoo.__file__).with_name("quest.py")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--candidate-count", "3"], "there is no option --candidate-count"),
        (["fly"], "there is no command fly"),
        (["run", "-n", "many"], "must be a whole number, but is many"),
        (["run", "-n", "-3"], "--candidates must be at least 0, but is -3"),
        (["check"], "PROGRAM is missing"),
        (["check", "nowhere.py"], "there is no file 'nowhere.py'"),
        (["check", str(QUEST), "--set", "pages"], "is no NAME=VALUE"),
        (["run", "--model", "/nowhere/at/all"], "/nowhere/at/all"),
        (["run", "--proposer", "nobody"], "nobody"),
        (["run", "--proposer", "llm"], "--llm"),
        (["run", "--proposer", "llm", "--llm", "gpt"], "--base-url"),
        (["run", "--max-dollars", "3"], "--price"),
        (["run", "--base-url", "http://127.0.0.1:1/v1"], "--llm"),
        (["leaderboard", "--db", "sqlite:///nowhere.db"], "there is no database nowhere.db"),
        (["verify", "nowhere.whl"], "there is no wheel nowhere.whl"),
        (["status", "--campaign", str(2**63)], "must be at most"),
        (["leaderboard", "--top", str(2**63)], "must be at most"),
        (["resume", str(2**63)], "must be at most"),
        (["run", "--seed", str(2**63)], "must be at most"),
        (["run", "--llm", "gpt", "--base-url", "localhost"], "is no URL"),
        (["run", "--llm", "gpt", "--base-url", "http://x", "--price", "nan", "1"], "is no price"),
        (["run", "--llm", "gpt", "--base-url", "http://x", "--price", "1", "-1"], "is no price"),
        (["show", "\udcff"], "not UTF-8"),
    ],
)
def test_wrong_usage_is_one_sentence(call, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code, out, err = call(*arguments)
    assert (code, out) == (ExitCode.USAGE, "")
    assert says in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("db", ["sqlite:////proc/results.db", "sqlite:////nowhere/results.db"])
def test_an_unwritable_database_is_one_sentence(call, pool, db, fake_pool):
    pool(fake_pool())
    code, out, err = call("run", "--db", db)
    assert (code, out) == (ExitCode.INFRASTRUCTURE, "")
    told = [line for line in err.splitlines() if not line.startswith("reading the model probe")]
    assert len(told) == 1  # beside what the first of a process says
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["run"], ["eval", "quest"], ["resume"], ["leaderboard"]])
@pytest.mark.parametrize(
    ("db", "says"),
    [
        ("mysql://a:secret@somewhere/x", "mysql is not a database that the ledger knows"),
        ("sqlite:results.db", "'sqlite:results.db' names no database"),
        (":memory:", "':memory:' is a database in memory"),
        ("postgresql://a:secret@here:99999/x", "'postgresql://a:***@here:99999/x' names the port 99999"),
        ("postgresql://a:se cret@here:0/x", "URL has white space in it, which is written as %20"),
        ("sqlite://folder/x.db", "'sqlite://folder/x.db' names a host, and a file has none: write three slashes"),
        ("sqlite+aiosqlite:///x.db", "asks for a driver that the ledger does not use for files"),
        ("~nobody-of-this-name/x.db", "lies in the home of a user who is not known here"),
    ],
)
def test_what_names_no_database_is_told_before_a_model_is_read(call, command, db, says):
    code, out, err = call(*command, "--db", db)
    assert (code, out) == (ExitCode.USAGE, "")
    assert says in err
    assert (err.count("\n"), "reading the model" in err) == (1, False)


@pytest.mark.parametrize("command", [["verify"], ["run", "--model"], ["status", "--db"]])
def test_a_name_that_no_file_can_have_is_one_sentence(call, command):
    url = "sqlite:///" if "--db" in command else ""
    code, out, err = call(*command, url + "a" * 5000)
    assert (code, out) == (ExitCode.INFRASTRUCTURE, "")
    assert "too long" in err
    assert "bug" not in err


@pytest.mark.parametrize("card", [b"[]", b"{}", b"{", b"\xff\xfe", b'{"evaluations": 3, "workload": {}}'])
def test_a_wheel_of_somebody_else_is_refused(call, tmp_path, card):
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("p/exported.json", card)
    code, out, err = call("verify", str(wheel))
    assert (code, out) == (ExitCode.REFUSED, "")
    assert "not a wheel that `vortex export` wrote" in err


def test_a_file_that_is_no_database_is_one_sentence(call, tmp_path):
    (tmp_path / "results.db").write_text("not a database at all, but a text long enough to be looked at\n" * 30)
    code, _, err = call("status", "--db", f"sqlite:///{tmp_path / 'results.db'}")
    assert code == ExitCode.INFRASTRUCTURE
    assert err.count("\n") == 1


def test_a_bug_is_told_as_one_and_shown_under_debug(call, monkeypatch):
    def broken(*_):
        raise KeyError("inner")

    monkeypatch.setattr("search.commands.results.existing", broken)
    code, _, err = call("status")
    assert code == ExitCode.INFRASTRUCTURE
    assert "this is a bug" in err
    assert "Traceback" not in err
    assert "Traceback" in call("status", "--debug")[2]
    monkeypatch.setenv("VORTEX_DEBUG", "1")
    assert "Traceback" in call("status")[2]


@pytest.mark.parametrize("arguments", [["--help"], ["check", str(QUEST)], ["check", str(QUEST), "--json"]])
def test_a_reader_that_leaves_early_is_no_error(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", f"from search.cli import main; raise SystemExit(main({arguments}))"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_no_bug(call, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("search.commands.programs.check.print_json", full)
    code, _, err = call("check", str(QUEST), "--json")
    assert (code, err) == (ExitCode.INFRASTRUCTURE, "vortex: No space left on device\n")


def test_an_interrupt_anywhere_is_told(call, monkeypatch):
    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("search.commands.results.existing", pressed)
    code, _, err = call("status")
    assert (code, err) == (ExitCode.INTERRUPTED, "vortex: interrupted\n")


def test_errors_that_nobody_raises_on_purpose_are_bugs():
    assert explain(ValueError("x")) is None
    assert explain(LookupError("x")) is None
