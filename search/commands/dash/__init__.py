"""`vortex dash`: what campaigns found, in a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from search.commands import options
from search.commands.database import existing
from search.commands.exits import CommandError, ExitCode
from search.commands.listening import (
    LEAST_TOKEN,
    LOOPBACK,
    MOST_TOKEN,
    TOKEN_FORM,
    Port,
    is_token,
    listening,
    url_of,
)
from search.commands.output import note

PORT = 8787
TOKEN = "VORTEX_DASH_TOKEN"  # noqa: S105 - the name of a variable

Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Where it is served: this machine alone; others need a token.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        parser=options.path,
        help=f"Ask whoever comes for the token in this file, or in {TOKEN}.",
    ),
]
Writes = Annotated[bool, typer.Option("--writes", help="Let tags and notes be written; nothing else ever is.")]


def dash(
    host: Host = LOOPBACK,
    port: Port = PORT,
    token_file: TokenFile = None,
    writes: Writes = False,
    db: options.Database = options.DATABASE_URL,
) -> int:
    """Show campaigns, fronts, the leaderboard and every rule in a browser, live; the database is only read.

    Without a token it answers on this machine alone, to whoever is on it.
    """
    token = _token(token_file)
    with listening(host, port) as bound:
        from search.dash.serving import is_loopback, serve

        address = bound.getsockname()[0]
        if token is None and not is_loopback(address):
            raise CommandError(
                f"--host {host} can be reached from other machines, so it needs a token: "
                f"write one of {LEAST_TOKEN} characters or more into a file for --token-file, or into {TOKEN}"
            )
        with existing(db) as ledger:
            note(f"serving {url_of(host, bound)}, until Ctrl-C")
            serve(ledger, bound, token, db if writes else "")
    return ExitCode.DONE


def _token(file: Path | None) -> str | None:
    """Give the token from the file, or from the environment; None where there is none."""
    given, place = os.environ.get(TOKEN, ""), TOKEN
    if file is not None:
        given, place = _read(file), f"--token-file {file}"
    if not given and file is None:
        return None
    if not is_token(given):
        held = f"{len(given)} characters" if len(given) <= MOST_TOKEN else "more"  # how many, and never which
        raise CommandError(f"{place} must hold {TOKEN_FORM}, but holds {held}")
    return given


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_TOKEN + 2).decode("ascii", "replace").strip()
    except OSError as error:
        why = f"--token-file {file} cannot be read: {error.strerror}"
        raise CommandError(f"{why}; name a file that holds the token") from error
