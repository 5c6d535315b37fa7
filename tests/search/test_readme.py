"""The documentation is true: its examples run, its commands and options exist, generated pages are up to date."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

from search.cli import app, commands, main
from search.ranking.leaderboard import COLUMNS
from vortex_dsl import load_program

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
COMMANDS = commands()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language):
    return [body for name, body in FENCE.findall(README) if name == language]


def shell_commands():
    """Every `vortex …` line of a shell block, and every `vortex …` in running text."""
    lines = [line for body in blocks("sh") for line in body.splitlines() if line.startswith("vortex ")]
    inline = re.findall(r"`(vortex [^`]+)`", FENCE.sub("", README) + CHANGELOG)
    return [*lines, *inline]


@pytest.fixture(scope="module")
def pages():
    """Generate the pages, all of them once; gives {file name: text}."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


@pytest.mark.parametrize("line", shell_commands())
def test_every_command_and_option_that_is_mentioned_exists(line):
    _, command, *rest = shlex.split(line, comments=True)
    if rest and f"{command} {rest[0]}" in COMMANDS:
        command = f"{command} {rest.pop(0)}"
    assert command in COMMANDS
    known = {opt for param in COMMANDS[command].params for opt in param.opts}
    assert [word for word in rest if word.startswith("-") and word not in known] == []


def test_there_are_commands_to_look_at():
    assert len(shell_commands()) > 12


def test_programs_that_are_shown_load():
    """Each block is a file, whose name it begins with; what is run from Python stands in docs/writing.md."""
    shown = blocks("python")
    assert shown
    for body in shown:
        assert re.match(r"# \w+\.py\n", body)
        assert load_program(body).tunables


def test_the_checked_example_checks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for body in blocks("python"):
        Path("mine.py" if body.startswith("# mine.py") else "other.py").write_text(body)
    line = next(line for line in shell_commands() if line.startswith("vortex check mine.py"))
    assert main(shlex.split(line, comments=True)[1:]) == 0
    assert "Mine: Rank pages" in capsys.readouterr().out


def test_every_column_of_the_leaderboard_is_explained():
    table = README[README.index("## The leaderboard") :]
    assert re.findall(r"^\| ([\w/ -]+) \|", table, re.MULTILINE)[1 : len(COLUMNS) + 1] == [name for name, _ in COLUMNS]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_mentioned(name):
    assert f"`{name}`" in CHANGELOG or f"vortex {name}" in CHANGELOG


@pytest.mark.parametrize("name", ["campaigns.md", "commands.md", "compiler.md", "language.md", "settings.md"])
def test_generated_pages_are_up_to_date(pages, name):
    assert (ROOT / "docs" / name).read_text() == pages[name], "run: python docs/generate.py"


def test_the_page_of_commands_tells_all_that_help_tells(pages):
    """Both names of a switch, what is meant where an option is left out, and the same exit codes."""
    page = pages["commands.md"]
    assert "| `-o`, `--output` `DIR` | Where the wheel goes. | `dist` |" in page
    assert "| `--bandit`, `--no-bandit` |" in page
    assert typer.main.get_command(app).epilog.rstrip(".") in page


def test_the_page_of_campaigns_tells_files_from_a_file_and_the_usual_round(pages):
    page = pages["campaigns.md"]
    assert re.search(r"^\| `seed_programs` \|[^|]+\| files \|", page, re.MULTILINE)
    assert re.search(r"^\| `text` \|[^|]+\| a file \|", page, re.MULTILINE)
    assert "Of 8 turns `grammar` has 4, each other one," in page


def test_links_lead_somewhere():
    targets = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE)
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
    assert targets == ["run", "test"]
