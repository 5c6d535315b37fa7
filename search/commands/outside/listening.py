"""A socket to serve HTTP at, and its address in words."""

from __future__ import annotations

import socket

from search.commands.exits import CommandError
from search.commands.usage import shown


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
