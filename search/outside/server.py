"""The tools for agents from outside as a server of the Model Context Protocol, on stdio or over HTTP with a token.

See https://modelcontextprotocol.io/specification; the protocol is the `mcp` package's.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import sys
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self

import anyio
import uvicorn
from anyio.to_thread import run_sync
from mcp import types
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl

from search.outside.gateway import MAX_WAITS
from search.outside.tools import TOOLS, WAIT, answer

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from starlette.applications import Starlette

    from search.outside.gateway import Gateway

NAME, PATH = "vortex", "/mcp"
INSTRUCTIONS = (
    "Invent sparse attention for vLLM. Ask for a brief, write a program, check it and look at what it keeps, submit "
    "it, wait for what is measured, and go on from there."
)
MAX_REQUEST_BYTES = 1 << 20
MAX_CALLS = 16  # that are answered at a time, beside those that wait for a submission; others stand in a queue
MAX_SESSIONS = 1024  # each is forgotten half an hour after its last request: few clients say that they leave


def server_of(gateway: Gateway) -> Server[Any]:
    """Give a server of the tools, which answers each call in a thread: looks take seconds, and waiting longer."""
    others, waits = anyio.CapacityLimiter(MAX_CALLS), anyio.CapacityLimiter(MAX_WAITS + MAX_CALLS)

    async def listed(_: object, _page: object) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[types.Tool(name=t.name, description=t.description, input_schema=t.schema) for t in TOOLS]
        )

    async def called(_: object, asked: types.CallToolRequestParams) -> types.CallToolResult:
        # Whoever leaves is not waited for: the thread ends with its answer, and one that waits for news ends now.
        limiter, gone = waits if asked.name == WAIT else others, threading.Event()
        try:
            told = await run_sync(
                answer, gateway, asked.name, asked.arguments or {}, gone, abandon_on_cancel=True, limiter=limiter
            )
        finally:
            gone.set()
        return types.CallToolResult(content=[types.TextContent(type="text", text=told.text)], is_error=told.is_error)

    return Server(NAME, instructions=INSTRUCTIONS, on_list_tools=listed, on_call_tool=called)


def serve_stdio(gateway: Gateway) -> None:
    """Serve whoever started this process, until its stdin ends or Ctrl-C.

    Raises BrokenPipeError where nobody reads its stdout any more.
    """

    async def serve() -> None:
        server = server_of(gateway)
        async with stdio_server(_Lines()) as (reading, writing):  # type: ignore[arg-type]  # it only goes through them
            await server.run(reading, writing, server.create_initialization_options())

    try:
        anyio.run(serve)
    except BaseExceptionGroup as group:
        if group.split(BrokenPipeError)[1] is None:
            raise BrokenPipeError from group
        raise
    finally:
        gateway.closing.set()


class _Lines:
    """The lines of stdin, read in a thread for which no end of the process waits: nobody has to press Enter first."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(1)
        reading = partial(self._read, asyncio.get_running_loop(), _stdin())
        threading.Thread(target=reading, name="stdin", daemon=True).start()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        line = await self._lines.get()
        if line is None:
            raise StopAsyncIteration
        return line

    def _read(self, loop: asyncio.AbstractEventLoop, lines: Iterable[bytes]) -> None:
        with suppress(RuntimeError, CancelledError):  # the loop has ended
            for line in lines:
                asyncio.run_coroutine_threadsafe(self._lines.put(line.decode("utf-8", "replace")), loop).result()
            asyncio.run_coroutine_threadsafe(self._lines.put(None), loop).result()


def _stdin() -> Iterable[bytes]:
    """Give stdin with a buffer of our own: Python's is emptied at its end, which waits for who reads it."""
    try:
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb", closefd=False)
    except OSError:  # no file
        return sys.stdin.buffer


def serve_http(gateway: Gateway, listening: socket.socket, token: str) -> None:
    """Serve whoever has the token at a socket that is bound already, until interrupted."""
    app = app_of(gateway, listening.getsockname(), token)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        gateway.closing.set()


def app_of(gateway: Gateway, address: tuple[Any, ...], token: str) -> Starlette:
    """Give the application that answers at `PATH` whoever has the token.

    On loopback requests from pages of a browser are refused unless they were loaded from this very host: so no page can
    reach the server by a name of its own (DNS rebinding). Elsewhere nobody knows by which names others reach it.
    """
    host, port = address[:2]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    hosts = [place, f"localhost:{port}"]
    return server_of(gateway).streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=MAX_REQUEST_BYTES,
        max_sessions=MAX_SESSIONS,
        transport_security=TransportSecuritySettings(
            enable_dns_rebinding_protection=ip_address(host).is_loopback,
            allowed_hosts=hosts,
            allowed_origins=[f"http://{each}" for each in hosts],
        ),
        auth=AuthSettings(issuer_url=AnyHttpUrl(f"http://{place}"), resource_server_url=None),
        token_verifier=_Bearer(token),
    )


class _Bearer:
    """Knows one token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Compare in a time that does not tell how much of it is right."""
        known = hmac.compare_digest(token.encode(), self._token)
        return AccessToken(token=token, client_id="agent", scopes=[]) if known else None
