"""HTTP that reads no more of a reply than it must, and knows which requests may have been paid for nothing."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BODY_BYTES = 4 << 20  # an answer of 64 KiB, its reasoning, and what is told beside it
LEAST_TOLD_S = 5  # a server that asks for a shorter rest is not talked of
CONNECT_S = 10.0
RETRY_AFTER = "retry-after"
SECONDS = re.compile("[0-9]{1,9}")  # what else may stand there is a date
OF_THE_TRANSFER = (b"content-encoding", b"content-length", b"transfer-encoding")


class TooLongError(Exception):
    """A reply has more bytes than an answer can have."""


class Client(httpx2.AsyncClient):
    """Reads replies whole, up to `MAX_BODY_BYTES`; `num_lost` counts requests that may cost and gave nothing.

    Those are whose answer began and broke off, and those that were waited for in vain: the provider may have written
    all of it. `again` is told of them before a request is sent again, and raises where that cannot be paid. Redirects
    are not followed: a key goes to the address that it was given for.
    """

    def __init__(
        self, where: str, timeout_s: float, headers: dict[str, str], verify: Any, again: Callable[[int], None]
    ) -> None:
        timeout = httpx2.Timeout(timeout_s, connect=CONNECT_S)
        super().__init__(timeout=timeout, headers=headers, verify=verify, follow_redirects=False)
        self._where, self._again = where, again
        self.num_lost = 0
        self.last = ""  # what the server last said instead of an answer
        self.has_begun = False  # whether an answer ever began

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:  # noqa: ARG002 - read whole in any case
        """Send a request and read the reply. Raises as the library does, TooLongError, and what `again` raises."""
        if self.num_lost:
            self._again(self.num_lost)
        response: httpx2.Response | None = None
        try:
            response = await super().send(request, stream=True, **options)
            self._note(response)
            content = await _content(response)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise
        except BaseException as error:
            began = response is not None and response.is_success
            self.num_lost += began or isinstance(error, httpx2.ReadTimeout | asyncio.CancelledError)
            raise
        finally:
            if response is not None:
                await response.aclose()
        headers = [pair for pair in response.headers.raw if pair[0].lower() not in OF_THE_TRANSFER]  # of any encoding
        return httpx2.Response(response.status_code, headers=headers, content=content, request=request)

    def _note(self, response: httpx2.Response) -> None:
        if response.is_success:
            self.has_begun = True
            return
        self.last = f"HTTP {response.status_code}{asked_to_wait(response.headers.get(RETRY_AFTER, ''))}"
        wait = response.headers.get(RETRY_AFTER, "")
        if SECONDS.fullmatch(wait) and int(wait) >= LEAST_TOLD_S:
            logging.getLogger(__name__).warning("%s replied with %s", self._where, self.last)


async def _content(response: httpx2.Response) -> bytes:
    """Read a reply, unpacked, up to a bound."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise TooLongError(f"the reply has more than {MAX_BODY_BYTES:,} bytes")
    return bytes(content)


def asked_to_wait(retry_after: str) -> str:
    """Say how long a server asks to be left alone, nothing where it does not."""
    if not retry_after:
        return ""
    is_told_in_seconds = SECONDS.fullmatch(retry_after)
    return f", and asks to wait {f'{int(retry_after):,} s' if is_told_in_seconds else f'until {retry_after[:40]}'}"
