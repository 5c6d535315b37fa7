"""`vortex agents-guide`: what a coding agent has to know, written where it is started."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.commands import options
from search.commands.exits import CommandError
from search.commands.output import note, print_json

FILE = "AGENTS.md"  # which coding agents read by themselves: https://agents.md

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER", parser=options.path, help="Where the agent will be started; made if it is not there."
    ),
]
Agent = Annotated[
    str, typer.Option("--agent", metavar="NAME", help="The agent's name as a proposer: small letters, digits and _.")
]


def guide(folder: Folder, agent: Agent = "coder", as_json: options.Json = False) -> None:
    """Write an AGENTS.md into a folder, so that a coding agent started there can run a campaign by itself."""
    from prompts import prompt
    from search.campaigns.setup import check_agent

    try:
        check_agent(agent)
    except ValueError as error:
        raise CommandError(f"--agent {error}") from None
    file = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(file, prompt("guide", agent=agent))
    except OSError as error:
        why = "is there already and is left as it is" if file.exists() else f"cannot be written: {error.strerror}"
        raise CommandError(f"{file} {why}; give another folder") from None
    if as_json:
        print_json({"file": str(file), "agent": agent})
    note(f"wrote {file}; start the agent in {folder}")


def _write(file: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all."""
    with file.open("x", encoding="utf-8") as opened:
        try:
            opened.write(text)
            opened.flush()
        except OSError:
            file.unlink()
            raise
