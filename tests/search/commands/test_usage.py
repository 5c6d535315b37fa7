"""What is said of a command line that cannot be read, and the little that needs no command: version and completion."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from search.cli import commands
from search.commands.exits import ExitCode

ROOT = Path(__file__).resolve().parents[3]
VORTEX = [sys.executable, "-c", "import sys; from search.cli import main; sys.exit(main())"]


def vortex(*words, **variables):
    """Run the command in a process of its own; give its exit code, stdout and stderr as bytes."""
    ended = subprocess.run(
        [*VORTEX, *words], capture_output=True, cwd=ROOT, env=os.environ | variables, check=False, timeout=120
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["leaderbord"], "there is no command leaderbord; did you mean leaderboard?"),
        (["db", "forgiv"], "there is no command forgiv; did you mean forgive?; see `vortex db --help`"),
        (["db"], "name one of them; see `vortex db --help`"),
        (["leaderboard", "--modle", "x"], "there is no option --modle; did you mean '--model'?"),
        (["leaderboard", "--wehre", "x"], "there is no option --wehre; did you mean '--where'?"),  # and not --help
        (["leaderboard", "--top", "0"], "--top must be at least 1, but is 0"),
        (["run", "--max-dollars", "nan"], "--max-dollars must be at most 1000000000, but is nan"),
        (["run", "--max-dollars", "inf"], "--max-dollars must be at most 1000000000, but is inf"),
        (["run", "--max-dollars=-3"], "--max-dollars must be at least 0, but is -3"),
        (["run", "--tokens", "many"], "--tokens must be a whole number, but is many"),
        (["check", "quest", "--head-dim", "1000000000"], "--head-dim must be at most 1024, but is 1000000000"),
        (["check", "quest", "--group", "257"], "--group must be at most 256, but is 257"),
        (["check", "quest", "--tokens", "0"], "--tokens must be at least 1, but is 0"),
        (["check", "quest", "--device", "H20"], "did you mean 'H200'?"),
        (["zoo", "qest"], "did you mean 'quest'?"),
        (["run", "--target", "H20"], "did you mean 'H200'?"),
        (["run", "--steer-by", "modeled"], "did you mean 'modelled'?"),
        (["run", "--seed", f"-{2**63}"], "--seed must be at least -9223372036854775807, but is -9223372036854775808"),
        (
            ["run", "--patience", str(2**63)],
            "--patience must be at most 9223372036854775807, but is 9223372036854775808",
        ),
        (["show", "1", "--stage", "fidelty"], "serve, but is fidelty; did you mean 'fidelity'?"),
        (["show", "1", "--stage", "'"], "--stage must be one of check, screen, recall"),
        (["leaderboard", "9"], "there is no place for 9; did you mean --campaign 9?; see `vortex leaderboard --help`"),
        (
            ["report", "--campaign", "9"],
            "; a campaign is named without it, as in `vortex report 1`",
        ),
        (["status", "9", "--campaign", "8"], "CAMPAIGN is 9, but --campaign is 8; name one of them"),
        (["show", "1", "2"], "there is no place for 2; see `vortex show --help`"),
        (["check", "quest", "a", "b"], "there is no place for a b; see"),
        (["show", "quest", "--ratio", "-1"], "--ratio must be at least 0, but is -1"),
        (["export", "quest", "--ratio", "-1"], "--ratio must be at least 0, but is -1"),
        *(
            (["status", seen], f"CAMPAIGN must be a whole number, but is {seen}; see")
            for seen in ("x", "a", "1.5", "é")
        ),
        (["report", ""], "CAMPAIGN must be a whole number, but is ''; see `vortex report --help`"),
        (["journal", " "], "CAMPAIGN must be a whole number, but is ' '; see `vortex journal --help`"),
        (["resume", "9" * 5000], f"CAMPAIGN must be a whole number of fewer digits, but is {'9' * 80}…; see"),
        (["status", "9" * 20], f"CAMPAIGN must be at most {2**63 - 1}, but is {'9' * 20}; see"),
        (["run", "--ratio", "8", "--ratio", "x"], "--ratio must be a number, but is x; see"),  # and not 8
        (["run", "--price", "1", "x"], "--price must be a number, but is x; see"),
        (["check", "quest", "--tokens", "be"], "--tokens must be a whole number, but is be; see"),
        (["show", "1", "--stage", ""], "serve, but is ''; see"),
        (["leaderboard", "--top"], "--top needs a value; see `vortex leaderboard --help`"),
        (["run", "--price", "1"], "--price needs 2 values; see `vortex run --help`"),
        (["db", "forgive", "1", "--json=x"], "--json takes no value; see `vortex db forgive --help`"),
        ([""], "there is no command ''; see `vortex --help`"),
        (["--"], "name a command; see `vortex --help`"),
        (["zoo", "QUEST"], "did you mean 'quest'?"),
        (["check", "quest", "--device", "h100"], "did you mean 'H100'?"),
        (["dash", "--host", ""], "--host is empty; name the address to serve at"),
        (["dash", "--token-file", "none"], "--token-file none cannot be read: No such file or directory; name a file"),
        (["mcp", "--host", "0.0.0.0"], "and without --http it is stdio; give --http too"),
        (["mcp", "--port", "8000"], "and without --http it is stdio; give --http too"),
        (["model", " "], "' ' names no model: give a folder, a hub name, probe or smollm2"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_with_a_remedy(call, words, says):
    code, _, err = call(*words)
    assert code == ExitCode.USAGE
    assert says in err
    assert [line for line in err.splitlines() if line.startswith("vortex: ")] == err.splitlines()[-1:]


@pytest.mark.parametrize(
    "words",
    [
        ["report", "--out", ""],
        ["report", "--out="],
        ["export", "1", "-o", ""],
        ["verify", ""],
        ["leaderboard", "--plot", ""],
        ["run", ""],
        ["run", "--seed-program", "a.py", "--seed-program", ""],
        ["dash", "--token-file", ""],
        ["agents-guide", ""],
    ],
)
def test_a_path_without_a_character_is_not_the_folder_one_is_in(call, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*words)
    assert (code, out) == (ExitCode.USAGE, "")
    assert re.search(r"^vortex: \S+ must name a file or a folder, but is ''; see `vortex ", err)
    assert list(tmp_path.iterdir()) == []


def test_a_path_may_begin_at_home_however_it_is_given(call, filled, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    code, out, _ = call("report", "--out=~/told", "--db", filled)
    assert (code, out.split()) == (
        ExitCode.DONE,
        [str(tmp_path / "told" / f"report.{kind}") for kind in ("md", "html")],
    )
    code, _, err = call("report", "--out=~nobody-of-that-name/told", "--db", filled)
    assert code == ExitCode.USAGE
    assert "--out must name the home of somebody who is known here, but is ~nobody" in err


def test_a_candidate_without_a_name_is_not_the_only_one_there_is(call, filled):
    for words in (["db", "forgive", ""], ["show", ""], ["compare", "1", ""], ["export", ""]):
        code, out, err = call(*words, "--db", filled)
        assert (code, out) == (ExitCode.USAGE, ""), words
        assert re.search(r"the name of a (candidate|program) is empty; give", err), words


@pytest.mark.parametrize("words", [("2",), ("--campaign", "2"), ("2", "--campaign", "2")])
def test_a_campaign_is_named_as_other_commands_take_it_and_as_before(call, filled, words):
    assert call("status", "1", "--db", filled) == call("status", "--db", filled)
    code, out, err = call("status", *words, "--db", filled)
    assert (code, out) == (ExitCode.USAGE, "")
    assert "the database holds no campaign 2; it has 1" in err


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_shows_no_bound_that_nobody_reaches_and_no_bracket_twice(call, name):
    code, out, _ = call(*name.split(), "--help")
    assert code == ExitCode.DONE
    assert not re.search(r"9223372036854|\[\[|\.\.\.}", "".join(out.split()))


def test_the_version_is_that_of_the_package(call):
    assert call("--version") == (ExitCode.DONE, f"vortex {metadata.version('vortex-search')}\n", "")


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("vortex leaderb", ["leaderboard"]),
        ("vortex check ques", ["quest", "quest_int4", "quest_sub"]),
        ("vortex leaderboard --sort speed", ["speedup", "speedup_high", "speedup_low"]),
        ("vortex check quest --device H2", ["H200"]),
    ],
)
def test_a_shell_completes_commands_rules_fields_and_devices(line, completed):
    place = str(len(line.split()) - 1)
    code, out, _ = vortex(_VORTEX_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=place)
    assert (code, out.decode().split()) == (0, completed)


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1", "NO_COLOR": "1"},
    ],
)
def test_an_encoding_that_lacks_characters_stops_nothing(filled, variables):
    code, out, err = vortex("leaderboard", "--all", "--db", filled, **variables)
    assert (code, err) == (0, b"")
    assert b"Quest1 *" in out
    assert "–".encode() not in out


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def test_files_of_ours_are_read_as_they_were_written_whatever_the_locale():
    for words in (["zoo"], ["zoo", "quest"], ["check", "quest"], ["run", "--help"]):
        code, _, err = vortex(*words, **ASCII)
        assert (code, err) == (0, b""), words


def test_a_library_that_reads_by_the_locale_is_told_of_with_a_remedy(call, monkeypatch):
    def reads(_):
        b"\xe2".decode("ascii")

    monkeypatch.setattr("search.campaigns.machines.facts_of", reads)
    monkeypatch.setattr("locale.getpreferredencoding", lambda _: "ANSI_X3.4-1968")
    code, out, err = call("model", "probe")
    assert (code, out, err.count("\n")) == (ExitCode.INFRASTRUCTURE, "", 1)
    assert "as ANSI_X3.4-1968 here, and they are UTF-8; set PYTHONUTF8=1, or LC_ALL=C.UTF-8 (" in err


def test_whoever_closes_stdout_is_no_bug_of_ours(filled):
    shell = f"{' '.join(map(repr, [sys.executable, '-c', VORTEX[2]]))} leaderboard --db {filled}"
    for ending, code in (("| head -1", 0), (">&-", 0), (">/dev/full", 4), ("--top 0 2>/dev/full", 2)):
        ended = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {shell} {ending}"], capture_output=True, cwd=ROOT, check=False
        )
        assert ended.returncode == code, ending
        assert b"Traceback" not in ended.stderr
        assert b"Exception ignored" not in ended.stderr
