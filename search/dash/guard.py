"""Who may ask, and what a browser may do with the answer: checked before any page is made."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "vortex_dash"
LOGIN = "/login"
OPEN = (LOGIN, "/static/")  # what a login page needs
MAX_BODY_BYTES = 64 * 1024
SAFE = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A figure is a document where it is opened by itself: it brings its style, and its pixels as data.
SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Wraps the application: hosts, token, origin of what writes, size of what is sent, headers of what is answered.

    `hosts`: names by which this server may be called, without ports; empty lets any pass (who has a token is known,
    and nothing else would be given away). Without it a page of another site could reach a server on loopback by a name
    of its own that leads there (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: Iterable[str]) -> None:
        self._app = app
        self._token = token.encode() if token else None
        self._cookie = cookie_of(token).encode() if token else None
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it by a sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                answered.update(HEADERS)
                if answered.get("Content-Type", "").startswith("image/svg"):
                    answered["Content-Security-Policy"] = SVG_POLICY
                if not scope["path"].startswith("/static/"):
                    answered["Cache-Control"] = "no-store"
            await send(message)

        app = self._refusal(scope, headers) or self._app
        await app(scope, receive, sending)

    def _refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        host, method, path = headers.get("host", ""), scope["method"], scope["path"]
        if self._hosts and name_of(host) not in self._hosts:
            return PlainTextResponse(f"This server does not answer to the name {host[:200]!a}.", 421)
        if method not in SAFE and not _is_own(headers, host):
            return PlainTextResponse("Only forms of this site may be sent here.", 403)
        if method not in SAFE and not _is_short(headers):
            return PlainTextResponse(f"A form may have at most {MAX_BODY_BYTES:,} bytes, and must say how many.", 413)
        if self._token is None or path.startswith(OPEN) or self._is_known(headers):
            return None
        if "text/html" in headers.get("accept", ""):
            there = path + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            return RedirectResponse(f"{LOGIN}?to={quote(there)}", 303)
        return PlainTextResponse("Give the token: Authorization: Bearer TOKEN.", 401, {"WWW-Authenticate": "Bearer"})

    def _is_known(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        is_told = kind.lower() == "bearer" and is_same(given, self._token)
        return is_told or is_same(_cookie(headers), self._cookie)


def is_same(given: str, known: bytes | None) -> bool:
    """Compare in a time that does not tell how much of it is right; nothing is the same as None."""
    return known is not None and hmac.compare_digest(given.encode("utf-8", "replace"), known)


def cookie_of(token: str) -> str:
    """Give what a browser keeps: other servers of a host are sent its cookies too, and learn no token from this one."""
    return hmac.new(token.encode(), b"cookie", "sha256").hexdigest()


def name_of(host: str) -> str:
    """Give a Host header without its port."""
    return (host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]).lower()


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _is_own(headers: Headers, host: str) -> bool:
    """Say whether a browser sent this from a page of ours, by the origin that it tells with each form."""
    return headers.get("origin", "").partition("://")[2] == host and bool(host)


def _is_short(headers: Headers) -> bool:
    length = headers.get("content-length", "")
    return length.isdecimal() and len(length) < 10 and int(length) <= MAX_BODY_BYTES
