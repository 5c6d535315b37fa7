"""Saying on stderr what is being started, before there is anything to watch."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SILENCE_S = 10.0  # after which people are told what takes so long
FIRST_S = 1.0  # after which they are told what is usually done before anybody waits


@contextmanager
def said(step: str, *, at_once: bool = True) -> Iterator[None]:
    """Say what begins, and while it lasts say it again every `SILENCE_S` seconds.

    In a thread of its own: Ray, workers and conversions do not come back before they are done. Not `at_once`: what is
    usually done before anybody waits is said only where it is not.
    """
    begun, over = time.monotonic(), Event()

    def repeat() -> None:
        if not at_once and not over.wait(FIRST_S):
            _say(step)
        while not over.wait(SILENCE_S):
            _say(f"{step}, since {time.monotonic() - begun:.0f} s")

    if at_once:
        _say(step)
    thread = Thread(target=repeat, name="said", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
