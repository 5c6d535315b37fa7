"""Runs the shell blocks of a page in a real bash, whose commands come back to the process of the test.

So variables, pipes, files and `cd` are bash's own, while a command costs no start of Python, and whatever would need
an engine, a network or another machine is looked at instead of run.
"""

import json
import re
import socket
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^(`{3,})(\w+)\n(.*?)^\1", re.MULTILINE | re.DOTALL)  # a longer one may hold shorter ones
TURN_S, ENDS_S = 0.05, 120
BASH = ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c"]


def blocks(page, language):
    """Give the blocks of a page in a language."""
    return [body for _, name, body in FENCE.findall((DOCS / page).read_text()) if name == language]


def lines(page):
    """Give every line of a page's shell blocks."""
    return [line for body in blocks(page, "sh") for line in body.splitlines() if line.strip()]


def lay_out(page, folder):
    """Write the files that a page shows, whose first line is their name, and put the examples beside them."""
    for language in ("python", "toml"):
        for body in blocks(page, language):
            if name := re.match(r"# (\w+\.(?:py|toml))\n", body):
                (folder / name[1]).write_text(body)
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "docs").mkdir(exist_ok=True)  # where some pages say to write


@dataclass(frozen=True)
class Call:
    """A command as bash called it: its name, its words, where, and some variables."""

    name: str
    words: list[str]
    folder: Path
    variables: dict[str, str]


class Shell:
    """Bash in a folder, in which `commands` are answered by `answer`: from a Call to a code and what is written.

    An answer may also be a list of words: what the call is to become.
    """

    def __init__(self, folder, commands, answer):
        self.folder, self._answer = folder, answer
        self._address = f"{folder}/.calls"
        bin_folder = folder / ".bin"
        bin_folder.mkdir()
        python = f"exec {sys.executable} -SE {Path(__file__).with_name('called.py')} {self._address}"
        for name in commands:
            (bin_folder / name).write_text(f'#!/bin/sh\n{python} {name} "$@"\n')
            (bin_folder / name).chmod(0o755)
        self._path = f"{bin_folder}:/usr/bin:/bin"

    def run(self, script, **variables):
        """Run a script to its end, and give its code and what it wrote."""
        environment = {"PATH": self._path, "HOME": str(self.folder), "LANG": "C.UTF-8", **variables}
        said = self.folder / ".said"
        with socket.socket(socket.AF_UNIX) as listener, said.open("w") as out:
            listener.bind(self._address)
            listener.listen()
            listener.settimeout(TURN_S)
            process = subprocess.Popen(
                [*BASH, script], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
            try:
                while process.poll() is None:
                    self._attend(listener)
            finally:
                process.kill()
                Path(self._address).unlink()
        return process.returncode, said.read_text()

    def _attend(self, listener):
        """Answer the next call, if there is one soon."""
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return
        with connection:
            (name, *words), folder, variables = json.loads(connection.makefile().readline())
            with chdir(folder):
                answer = self._answer(Call(name, words, Path(folder), variables))
            told = [0, "", answer] if isinstance(answer, list) else [*answer, None]
            connection.sendall(json.dumps(told).encode() + b"\n")
