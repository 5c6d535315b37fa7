"""`vortex ask`, `tell` and `agents-guide`, as scripts and people call them."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli import MAX_SENTENCE, commands, main
from search.commands.exits import ExitCode
from search.outside.messages import MAX_MESSAGE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def vortex(monkeypatch, capsys, db):
    """Run a command with a message on stdin; give its exit code and what it wrote."""

    def run(*words, message=None, text=None):
        given = (text if text is not None else json.dumps(message or {})).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        code = main([*words, "--db", db])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else None, captured.err

    return run


def test_a_script_asks_and_tells(vortex, ledger, running, text_of):
    code, asked, _ = vortex("ask", message={"agent": "claude"})
    assert code == ExitCode.DONE
    assert "class" in asked["brief"]
    message = {"agent": "claude", "ticket": asked["ticket"], "program": text_of(2), "wait_s": 30}
    code, told, _ = vortex("tell", message=message)
    assert (code, told["state"]) == (ExitCode.DONE, "finished")
    assert {each["stage"] for each in told["results"]} >= {"check", "recall", "probe"}
    assert ledger.candidate(told["candidate"]).candidate.proposal.text == text_of(2)
    code, again, _ = vortex("tell", message={"submission": told["submission"]})
    assert (code, again) == (ExitCode.DONE, told)


def test_a_refused_program_is_told_with_reasons_and_an_exit_code(vortex, campaign):
    code, told, _ = vortex("tell", message={"agent": "claude", "program": "print('hello')"})
    assert (code, told["state"]) == (ExitCode.REFUSED, "refused")
    assert told["reasons"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"text": "no JSON"}, "stdin: the arguments: Invalid JSON"),
        ({"text": "x" * (MAX_MESSAGE + 1)}, f"more than {MAX_MESSAGE:,} bytes"),
        ({"message": {"agent": "claude", "programme": "x"}}, "programme"),
        ({"message": {"agent": "claude"}}, "either a program or the number of a submission"),
        ({"message": {"agent": "claude", "program": "x", "submission": 1}}, "give one of the two"),
        ({"message": {"agent": "codex", "program": "x"}}, "vortex run --outside codex"),
        ({"message": {"agent": "claude", "submission": 77}}, "no submission 77; give the number that was told"),
        ({"message": {"agent": "claude", "program": "x", "campaign": 77}}, "no campaign 77; leave it out"),
        ({"message": {"agent": 3}}, "stdin: agent: Input should be a valid string, but is 3; give"),
        ({"message": {"agent": None}}, "Input should be a valid string, but is null; give"),
        ({"message": ["claude"]}, "Input should be an object, but is a list; give"),
        ({"message": {"campaign": "x" * 500}}, f"a valid integer, but is '{'x' * 40}…'; give"),
    ],
)
def test_what_is_wrong_on_stdin_is_told_in_a_sentence(vortex, campaign, given, says):
    code, told, said = vortex("tell", **given)
    assert (code, told) == (ExitCode.USAGE, None)
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("given", [{"agent": "\x1b[31m\u202ered"}, {"\x1b]0;title\x07": 1}, {"x" * 100_000: 1}])
def test_what_is_wrong_reaches_no_terminal_with_its_control_characters(vortex, campaign, given):
    code, _, said = vortex("ask", message=given)
    assert code == ExitCode.USAGE
    assert len(said) < 2 * MAX_SENTENCE
    assert said.removesuffix("\n").isprintable()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [(["ask"], ExitCode.DONE, ""), (["tell"], ExitCode.USAGE, "stdin must hold"), (["mcp"], ExitCode.DONE, "")],
)
def test_a_stdin_that_is_closed_says_nothing(db, campaign, words, code, says):
    command = [sys.executable, "-c", "import sys; from search.cli import main; sys.exit(main())", *words, "--db", db]
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, "bug" in ended.stderr) == (code, False), ended.stderr
    assert says in ended.stderr


@pytest.mark.parametrize("command", [["mcp", "--http"], ["dash"]])
@pytest.mark.parametrize("host", ["a..b", "é..b", "x" * 70, "203.0.113.1"])
def test_what_is_no_host_of_ours_is_refused(db, campaign, capsys, command, host):
    assert main([*command, "--host", host, "--db", db]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert f"--host {host} --port" in said
    assert "cannot be served: " in said
    assert "attempting" not in said, "what a library adds to it says nothing more"


@pytest.mark.parametrize("command", [["mcp", "--http"], ["dash"]])
def test_a_host_that_is_empty_is_not_every_address(db, campaign, capsys, monkeypatch, command):
    for variable in ("VORTEX_MCP_TOKEN", "VORTEX_DASH_TOKEN"):
        monkeypatch.setenv(variable, "a-token-of-some-length")
    assert main([*command, "--host", "", "--db", db]) == ExitCode.USAGE
    assert "--host is empty; name the address to serve at" in capsys.readouterr().err


def test_a_guide_that_finds_no_room_is_not_half_written(tmp_path):
    command = [sys.executable, "-c", "import sys; from search.cli import main; sys.exit(main())"]
    ended = subprocess.run(
        ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *command, "agents-guide", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == ExitCode.USAGE
    assert "AGENTS.md cannot be written: File too large" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_guide_is_written_once(tmp_path, capsys):
    assert main(["agents-guide", str(tmp_path), "--agent", "claude", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out) == {"file": str(tmp_path / "AGENTS.md"), "agent": "claude"}
    text = (tmp_path / "AGENTS.md").read_text()
    assert "--outside claude" in text
    assert main(["agents-guide", str(tmp_path)]) == ExitCode.USAGE
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "AGENTS.md").read_text() == text


def test_a_guide_makes_its_folder(tmp_path):
    assert main(["agents-guide", str(tmp_path / "campaigns" / "first")]) == ExitCode.DONE
    assert (tmp_path / "campaigns" / "first" / "AGENTS.md").is_file()


def test_a_guide_needs_a_place_and_a_name(tmp_path, capsys):
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):  # the folder itself, and one above it
        assert main(["agents-guide", str(tmp_path / place)]) == ExitCode.USAGE
        assert "cannot be written" in capsys.readouterr().err
    assert main(["agents-guide", str(tmp_path), "--agent", "$(rm)"]) == ExitCode.USAGE
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["llm", "grammar", "zoo", "outside", "_", "X", "a" * 33])
def test_a_guide_names_no_agent_that_a_campaign_would_refuse(tmp_path, capsys, name):
    assert main(["agents-guide", str(tmp_path), "--agent", name]) == ExitCode.USAGE
    assert f"--agent cannot be called {name!r}" in capsys.readouterr().err
    assert main(["run", "--outside", name, "--dry-run"]) == ExitCode.USAGE
    assert f"cannot be called {name!r}" in capsys.readouterr().err


def test_every_command_and_option_of_the_guide_is_there(tmp_path):
    main(["agents-guide", str(tmp_path), "--agent", "claude"])
    text = (tmp_path / "AGENTS.md").read_text()
    known = commands()
    called = re.findall(r"\bvortex ((?!`)[a-z][^`\n|<>&]*)", re.sub(r"(?m)^\s*\{\"mcp.*", "", text))
    served = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])["mcpServers"]["vortex"]
    called.append(" ".join(served["args"]))
    assert len(called) > 8
    for line in called:
        name, *words = shlex.split(line)
        if name not in known:
            pytest.fail(f"the guide names `vortex {line}`")
        options = {option for parameter in known[name].params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("-")} <= options | {"2"}, line


def test_every_tool_of_the_guide_is_there(tmp_path):
    from search.outside.tools import TOOLS

    main(["agents-guide", str(tmp_path), "--agent", "claude"])
    text = (tmp_path / "AGENTS.md").read_text()
    named = set(re.findall(r"`([a-z]+)`", text[text.index("## Each round") : text.index("## The server")]))
    assert {"brief", "check", "look", "submit", "wait"} <= named
    assert named - {tool.name for tool in TOOLS} <= {"vortex", "agent", "ticket", "program", "rationale", "hypotheses"}
