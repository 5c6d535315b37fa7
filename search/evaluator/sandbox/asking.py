"""The pipes of a child. It speaks JSON lines, and every read of them ends in time.

A request is `{"call": name, "args": {...}}` on its stdin, a reply `{"result": ...}` or
`{"status": ..., "message": ...}` on its stdout.
"""

from __future__ import annotations

import os
import selectors
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

MAX_REPLY_BYTES = 64 << 20
STDERR_TAIL_BYTES = 16 << 10
GLANCE_S = 1.0  # no wait is longer without a look at the clock
SUSPENDED_S = 2.0  # who wakes so much too late did not sleep, but was stopped


class Pipes:
    """A child's three pipes, none of which can block us."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self.stderr_tail = b""
        for pipe in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(pipe.fileno(), False)

    def exchange(self, request: bytes, timeout_s: float) -> bytes:
        """Send one line, give one line. Raises TimeoutError when time is up, EOFError when the child is gone."""
        outgoing, incoming, clock = memoryview(request), bytearray(), _Clock(timeout_s)
        with selectors.DefaultSelector() as selector:
            for pipe in (self._stdout, self._stderr):
                selector.register(pipe, selectors.EVENT_READ)
            selector.register(self._stdin, selectors.EVENT_WRITE)
            while not incoming.endswith(b"\n"):
                ready = clock.wait_for(selector)
                if self._stdin in ready and not (outgoing := self._send(outgoing)):
                    selector.unregister(self._stdin)
                if self._stderr in ready and not self._listen():
                    selector.unregister(self._stderr)
                if self._stdout in ready:
                    incoming += self._receive()
                if len(incoming) > MAX_REPLY_BYTES:
                    raise EOFError(f"its answer exceeds {MAX_REPLY_BYTES} bytes")
        return bytes(incoming)

    def drain(self) -> None:
        """Read what is left of stderr."""
        while self._listen():
            pass

    def close(self) -> None:
        """Keep the tail of stderr and close everything."""
        if not self._stderr.closed:
            self.drain()
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()

    def _send(self, outgoing: memoryview) -> memoryview:
        try:
            return outgoing[os.write(self._stdin.fileno(), outgoing) :]
        except BrokenPipeError:
            raise EOFError("the child ended before it read the request") from None

    def _receive(self) -> bytes:
        piece = os.read(self._stdout.fileno(), 1 << 20)
        if not piece:
            raise EOFError("the child ended without an answer")
        return piece

    def _listen(self) -> bytes:
        try:
            piece = os.read(self._stderr.fileno(), 1 << 16)
        except BlockingIOError:
            return b""
        self.stderr_tail = (self.stderr_tail + piece)[-STDERR_TAIL_BYTES:]
        return piece


class _Clock:
    """Counts down the time for an answer. While we are suspended a child is too, most likely, and time stands still."""

    def __init__(self, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s

    def wait_for(self, selector: selectors.BaseSelector) -> set[Any]:
        """Give the pipes that are ready. Raises TimeoutError."""
        while (left_s := self._deadline - time.monotonic()) > 0:
            began, asked_s = time.monotonic(), min(left_s, GLANCE_S)
            events = selector.select(asked_s)
            late_s = time.monotonic() - began - asked_s
            if late_s > SUSPENDED_S:
                self._deadline += late_s
            if events:
                return {key.fileobj for key, _ in events}
        raise TimeoutError
