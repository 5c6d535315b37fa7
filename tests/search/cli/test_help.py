"""Help: quick, of every command, and where nothing is asked for."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli import commands

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = commands()


def test_help_answers_quickly():
    """Processor time, the best of five: on an idle machine that is what people wait for."""
    command = [sys.executable, "-c", "from search.cli import main; raise SystemExit(main(['--help']))"]
    spent_s = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent_s) < 0.4


def test_help_imports_nothing_heavy():
    heavy = ("torch", "vllm", "ray", "sqlalchemy", "alembic", "openai", "lm_eval", "transformers", "numpy")
    code = f"import sys; from search.cli import main; main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_of_the_design_is_there():
    expected = {
        "check",
        "zoo",
        "eval",
        "run",
        "resume",
        "status",
        "leaderboard",
        "compare",
        "show",
        "export",
        "verify",
        "doctor",
    }
    expected |= {"db forgive", "model"}
    assert set(COMMANDS) >= expected


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_documented(name):
    command = COMMANDS[name]
    assert command.help.strip().endswith(".")
    assert [p.name for p in command.params if p.name != "help" and not (p.help or "").strip().endswith(".")] == []


@pytest.mark.parametrize(
    "name", sorted(COMMANDS.keys() - {"ask", "tell", "mcp", "dash", "worker"})
)  # these speak nothing else, or HTTP, or run until they are stopped
def test_every_command_speaks_json(name):
    assert "--json" in [opt for param in COMMANDS[name].params for opt in param.opts]


def test_without_arguments_there_is_help(call):
    code, out, _ = call()
    assert code == 0
    assert "leaderboard" in out
