"""A socket to serve HTTP at, its address in words, and the form of what whoever comes is asked for."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from search.commands.exits import CommandError
from search.commands.usage import shown

LOOPBACK = "127.0.0.1"
LEAST_TOKEN, MOST_TOKEN = 16, 512  # characters
TOKEN_FORM = f"{LEAST_TOKEN} to {MOST_TOKEN} printable ASCII characters without spaces"

Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Its port; 0: any that is free.")]


def is_token(given: str) -> bool:
    """Say whether a text has the form of a token that whoever comes can be asked for."""
    return LEAST_TOKEN <= len(given) <= MOST_TOKEN and given.isascii() and given.isprintable() and " " not in given


def listening(host: str, port: int) -> socket.socket:
    """Give a socket that is bound to `--host` and `--port`, 0 for any that is free. Raises CommandError."""
    if not host:  # to a socket that is every address there is, and to whoever wrote it a variable that is not set
        raise CommandError("--host is empty; name the address to serve at, such as 127.0.0.1")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, TypeError) as error:  # the latter where no name on a network can be written so
        why = (getattr(error, "strerror", None) or "that is no host's name").partition(" (while ")[0]
        raise CommandError(f"--host {shown(host)} --port {port} cannot be served: {why}; give others") from error


def url_of(host: str, listening: socket.socket) -> str:
    """Give the URL of a socket, by the name of its host that was given."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
