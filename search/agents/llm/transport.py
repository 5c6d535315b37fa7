"""HTTP that reads no more of a reply than it must, and knows which requests may have been paid for nothing."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2

from search.agents.llm.keys import redacted
from search.report.wording import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from search.agents.llm.keys import Credentials

MAX_BODY_BYTES = 4 << 20  # an answer of 64 KiB, its reasoning, and what is told beside it
LEAST_TOLD_S = 5  # a server that asks for a shorter rest is not talked of
CONNECT_S = 10.0
RETRY_AFTER = "retry-after"
SECONDS = re.compile("[0-9]{1,9}")  # what else may stand there is a date
MAX_REST = 40  # characters of it
MAX_ENCODING = 40
BUSY = (429, 503, 529)  # statuses of servers that would answer later; the last is Anthropic's
LATE = (504, 524)  # statuses of gateways that waited in vain for who may have written all of an answer
LEAST_WAITED_S = 5.0  # whoever hangs up sooner has written nothing
HERE = "localhost"
CUSTOM = "OPENAI_CUSTOM_HEADERS"  # a variable that the library sends to wherever it asks, as it does these two
OF_OPENAI = ("openai-organization", "openai-project")
OF_THE_MESSAGE = ("connection", "content-length", "host", "transfer-encoding")
OF_THE_TRANSFER = (b"content-encoding", b"content-length", b"transfer-encoding")


class UnreadError(Exception):
    """A reply came that is not read."""


class TooLongError(UnreadError):
    """A reply has more bytes than an answer can have."""


class PackedError(UnreadError):
    """A reply is packed as nobody here can unpack it, though none of that was asked for."""


@dataclass(frozen=True)
class Address:
    """Where to ask: in words, and as a URL. `is_openais`: it is OpenAI's own. `timeout_s`: for the next byte."""

    where: str
    url: str
    timeout_s: float
    is_openais: bool = False

    @property
    def is_here(self) -> bool:
        """Whether it is this machine: a proxy would take the name for itself."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == HERE or host.endswith(f".{HERE}")


class Client(httpx2.AsyncClient):
    """Reads replies whole, up to `MAX_BODY_BYTES`; `num_lost` counts requests that may cost and gave nothing.

    Those are whose answer began and broke off, and those that were waited for in vain: the provider may have written
    all of it. `again` is told of them before a request is sent again, and raises where that cannot be paid. Redirects
    are not followed: a key goes to the address that it was given for, and what the environment holds for others stays
    here.
    """

    def __init__(
        self, address: Address, credentials: Credentials, verify: Any, again: Callable[[int], None] = lambda _: None
    ) -> None:
        timeout = httpx2.Timeout(address.timeout_s, connect=CONNECT_S)
        super().__init__(timeout=timeout, verify=verify, follow_redirects=False, trust_env=not address.is_here)
        self._address, self._again, self._secrets = address, again, credentials.secrets
        own = {name.lower(): value for name, value in credentials.headers.items()}
        self._own = {"authorization": f"Bearer {credentials.key}", "accept-encoding": "identity"} | own
        readable = self.headers["accept-encoding"].split(",")  # by what is installed
        self._readable = [name.strip() for name in readable]
        self.num_lost = 0
        self.last = ""  # what the server last said instead of an answer
        self.rest_s = 0.0  # how long it asked to be left alone then
        self.has_begun = False  # whether an answer ever began

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:  # noqa: ARG002 - read whole in any case
        """Send a request and read the reply. Raises as the library does, UnreadError, and what `again` raises."""
        if self.num_lost:
            self._again(self.num_lost)
        self._keep_ours(request)
        response: httpx2.Response | None = None
        start = time.monotonic()
        try:
            response = await super().send(request, stream=True, **options)
            self._note(response)
            packed = self._packed(response)
            if packed and response.is_success:
                raise PackedError(packed)
            content = packed.encode() or await _content(response)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise
        except BaseException as error:
            began = response is not None and response.is_success
            self.num_lost += began or _is_in_vain(error, time.monotonic() - start)
            raise
        finally:
            if response is not None:
                await response.aclose()
        self.num_lost += response.status_code in LATE
        headers = [pair for pair in response.headers.raw if pair[0].lower() not in OF_THE_TRANSFER]  # of any encoding
        return httpx2.Response(response.status_code, headers=headers, content=content, request=request)

    def _packed(self, response: httpx2.Response) -> str:
        """Say how a reply is packed that nobody here can unpack; nothing of others."""
        named = response.headers.get("content-encoding", "")
        if all(each.strip().lower() in ("", "identity", *self._readable) for each in named.split(",")):
            return ""
        seen, readable = cut(redacted(named, self._secrets), MAX_ENCODING), " or ".join(self._readable)
        return (
            f"the reply is packed as {seen!r}, and only {readable} can be unpacked here: let the server, or a gateway "
            "before it, heed 'Accept-Encoding: identity'"
        )

    def _keep_ours(self, request: httpx2.Request) -> None:
        """Let a request have our own headers, and none that the library found in the environment."""
        lines = os.environ.get(CUSTOM, "").split("\n")
        ambient = {line.partition(":")[0].strip().lower() for line in lines} | {
            name for name in OF_OPENAI if not self._address.is_openais
        }
        for name in ambient.difference(OF_THE_MESSAGE):
            request.headers.pop(name, None)
        request.headers.update(self._own | ({"content-type": "application/json"} if request.content else {}))

    def _note(self, response: httpx2.Response) -> None:
        if response.is_success:
            self.has_begun = True
            return
        wait = response.headers.get(RETRY_AFTER, "")
        self.last = f"HTTP {response.status_code}{asked_to_wait(wait, self._secrets)}"
        self.rest_s = rest_of(response.headers) if response.status_code in BUSY else 0.0
        if SECONDS.fullmatch(wait) and int(wait) >= LEAST_TOLD_S:
            logging.getLogger(__name__).warning("%s replied with %s", self._address.where, self.last)


def _is_in_vain(error: BaseException, waited_s: float) -> bool:
    """Say whether a reply was waited for that may have been written all the same."""
    hung_up = isinstance(error, httpx2.ReadError | httpx2.RemoteProtocolError) and waited_s >= LEAST_WAITED_S
    return hung_up or isinstance(error, httpx2.ReadTimeout | asyncio.CancelledError)


def is_away(error: BaseException | None) -> bool:
    """Say whether nobody was reached, so that nothing was asked; certificates that are wrong stay so."""
    if not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return False
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return False
        error = error.__cause__ or error.__context__
    return True


async def _content(response: httpx2.Response) -> bytes:
    """Read a reply, unpacked, up to a bound."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise TooLongError(f"the reply has more than {MAX_BODY_BYTES:,} bytes")
    return bytes(content)


def rest_of(headers: Mapping[str, str]) -> float:
    """Give the seconds for which a server asks to be left alone, 0 where it does not, or says what is no time."""
    for name, a_second in ((f"{RETRY_AFTER}-ms", 1000), (RETRY_AFTER, 1)):
        with suppress(ValueError):
            told_s = float(headers.get(name, "")) / a_second
            return told_s if 0 < told_s < math.inf else 0.0
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(headers.get(RETRY_AFTER, "")).timestamp() - time.time())
    return 0.0


def asked_to_wait(retry_after: str, secrets: Iterable[str]) -> str:
    """Say how long a server asks to be left alone, nothing where it does not; of a key not even a part."""
    if not retry_after:
        return ""
    if SECONDS.fullmatch(retry_after):
        return f", and asks to wait {int(retry_after):,} s"
    return f", and asks to wait until {cut(redacted(retry_after, secrets), MAX_REST)}"
