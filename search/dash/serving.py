"""The dashboard on a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn

from search.dash.app import LOOPBACK, build

if TYPE_CHECKING:
    import socket

    from search.store.ledger import SqlLedger

MAX_CONNECTIONS = 64
MAX_HEADER_BYTES = 16 * 1024
STOP_S = 2


def serve(ledger: SqlLedger, listening: socket.socket, token: str | None, writes: str) -> None:
    """Serve a ledger that was opened for reading at a socket that is bound already, until interrupted.

    At an address of this machine alone it answers to the names of `LOOPBACK`; elsewhere, where a token is needed, to
    any name.
    """
    host = listening.getsockname()[0]
    app = build(ledger, token, writes, hosts=LOOPBACK if is_loopback(host) else ())
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=STOP_S, limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES, server_header=False,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address."""
    return host == "::1" or host.startswith("127.")
