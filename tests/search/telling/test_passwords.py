"""A password that stands in a database's URL is told by nothing, however wrong the URL is."""

import subprocess
import sys
from pathlib import Path

import pytest

from search.cli import main
from search.telling.passwords import without_passwords

WRONG = (
    "postgres://me:secret@127.0.0.1/results",
    "postgresql://me:secret@127.0.0.1:port/results",
    "postgresql://me:se@cret@127.0.0.1:1/results",
    "postgresql://me:secret@[::1/results",
    "postgresql://127.0.0.1:1/results?password=secret",
    "postgresql://127.0.0.1:1/results?sslpassword=secret&connect_timeout=1",
    "postgresql+nothing://me:secret@127.0.0.1/results",
    "postgresql:me:secret@127.0.0.1/results",
    "postgresql//me:secret@127.0.0.1/results",
    "mysql://me:secret@127.0.0.1/results",
    "sqlite://me:secret@127.0.0.1/results",
)
SCRIPT = """
import sys
from search.telling.passwords import hide_passwords
hide_passwords()
print(sys.argv[-1], flush=True)
sys.stdin.readline()
"""


COMMANDS = (("status",), ("db", "upgrade"), ("--debug", "show", "1"))
ASKED = [(words, place) for words in COMMANDS for place in WRONG] + [(("doctor",), place) for place in WRONG[3:5]]


@pytest.mark.parametrize(("words", "place"), ASKED)
def test_no_command_tells_it(capsys, words, place):
    main([*words, "--db", place])
    told = "".join(capsys.readouterr())
    assert told
    assert "secret" not in told
    assert "cret@" not in told


def test_a_place_without_one_is_told_as_it_is():
    for place in (
        "results.db",
        "/data/a:b/results.db",
        "sqlite:////data/results.db",
        "postgresql://me@host:5432/results",
    ):
        assert without_passwords(place) == place


@pytest.mark.parametrize("place", [place for place in WRONG if "se@cret" not in place])
def test_who_lists_processes_does_not_see_it(place):
    """Ray does, and keeps what it sees where all who may look at its cluster look."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", SCRIPT, "run", "--db", place]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3], **pipes) as process:
        assert process.stdout.readline().strip() == place  # we know it still
        seen = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
        process.stdin.write("\n")
    assert "secret" not in seen[-2]
    assert seen[-3] == "--db"
    assert len(seen[-2]) == len(place)
