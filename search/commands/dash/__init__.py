"""`vortex dash`: what campaigns found, in a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from search.commands import options
from search.commands.database import existing
from search.commands.exits import CommandError, ExitCode
from search.commands.output import note
from search.commands.outside.listening import listening, url_of

HOST, PORT = "127.0.0.1", 8787
TOKEN = "VORTEX_DASH_TOKEN"  # noqa: S105 - the name of a variable
LEAST_TOKEN, MOST_TOKEN = 16, 512  # characters

Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Where it is served: this machine alone; others need a token.")
]
Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Its port; 0: any that is free.")]
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
    host: Host = HOST,
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
    if not (LEAST_TOKEN <= len(given) <= MOST_TOKEN and given.isascii() and given.isprintable() and " " not in given):
        held = f"{len(given)} characters" if len(given) <= MOST_TOKEN else "more"  # how many, and never which
        must = f"must hold {LEAST_TOKEN} to {MOST_TOKEN} printable ASCII characters without spaces"
        raise CommandError(f"{place} {must}, but holds {held}")
    return given


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_TOKEN + 2).decode("ascii", "replace").strip()
    except OSError as error:
        why = f"--token-file {file} cannot be read: {error.strerror}"
        raise CommandError(f"{why}; name a file that holds the token") from error
