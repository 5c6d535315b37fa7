"""How a campaign's command is told to end: Ctrl-C lets finish what runs, SIGTERM and SIGHUP end it within seconds."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import typer

from search.commands.exits import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from search.loop import Loop

PATIENCE_S = 3.3  # from the signal until nothing is waited for any more; soon after the process is gone
LET_GO_S = 0.7  # for a database to take leases back: one that hangs hears of nothing, and they run out by themselves
STOP_S = 5.0  # from the second Ctrl-C until a loop that does not return is left
ENDING = {signal.SIGTERM: ExitCode.TERMINATED, signal.SIGHUP: ExitCode.HUNG_UP}


class ToldError(BaseException):
    """A signal asks for the end. No `except Exception` may take it for a fault."""


class Ending:
    """The end of a command, asked for by a signal once or more often."""

    def __init__(self) -> None:
        self._number = 0
        self._loop: Loop | None = None
        self._asked, self._over = threading.Event(), threading.Event()
        self._returned = threading.Event()  # the loop has, since it was interrupted

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Have a thread that ends everything where a signal did not in time. It is there before it is needed:

        a handler that started one could wait for itself.
        """
        threading.Thread(target=self._watch, name="ending", daemon=True).start()
        try:
            yield
        finally:
            self._over.set()
            self._asked.set()

    def listen(self) -> None:
        """Hear the signals, unless they are ignored on purpose, as under nohup."""
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def code_of(self, error: BaseException) -> ExitCode | None:
        """Give the exit code where an error is there because of a signal, whatever became of it on the way."""
        if self._number:
            return ENDING[signal.Signals(self._number)]
        is_rays = isinstance(error, SystemExit) and error.code == signal.SIGTERM  # its handler stands while it starts
        return ExitCode.TERMINATED if is_rays else None

    @contextmanager
    def interrupting(self, loop: Loop) -> Iterator[None]:
        """Let Ctrl-C drain the loop and a second one stop it; let the other signals stop it, and end us after it."""
        presses = 0

        def on_interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
            nonlocal presses
            presses += 1
            _say("finishing what runs; press again to stop now" if presses == 1 else "stopping now")
            if presses == 1:
                loop.drain()
            else:
                self._asked.set()
                loop.stop()

        before = signal.signal(signal.SIGINT, on_interrupt)
        self._loop = loop
        try:
            yield
        finally:
            self._loop = None
            self._returned.set()
            signal.signal(signal.SIGINT, before)
        if self._number:
            raise ToldError

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's signature
        if self._number:
            return
        self._number = number
        self._asked.set()
        if self._loop is None:
            raise ToldError
        _say(f"ending now ({signal.Signals(number).name}); `vortex resume` goes on from here")
        self._loop.stop()

    def _watch(self) -> None:
        from search.evaluator.sandbox.strays import kill_all_below  # now: later somebody may be stuck in an import

        self._asked.wait()  # for a signal, a second Ctrl-C or the command's end
        if not self._number and self._returned.wait(STOP_S):
            self._asked.clear()
            if not self._number:  # it is set before the event
                self._asked.wait()
        if self._number and self._over.wait(PATIENCE_S):
            return
        if self._over.is_set():
            return
        if self._loop is not None:
            _let_go(self._loop)
        kill_all_below()
        os._exit(ENDING[signal.Signals(self._number)] if self._number else ExitCode.INTERRUPTED)


def _let_go(loop: Loop) -> None:
    """Have leases given back, if that can be done soon."""

    def attempt() -> None:
        with suppress(Exception):  # whatever is stuck, we leave
            loop.let_go()

    thread = threading.Thread(target=attempt, name="letting go", daemon=True)
    thread.start()
    thread.join(LET_GO_S)


@contextmanager
def endable() -> Iterator[Ending]:
    """Let SIGTERM and SIGHUP end a command as if it had come to its end, with the exit code that shells give them.

    It is gone within 5 s, with all that it started, whatever hangs.
    """
    ending = Ending()
    before = {number: signal.getsignal(number) for number in ENDING}
    with ending.watched():
        ending.listen()
        try:
            yield ending
        except BaseException as error:
            code = ending.code_of(error)
            if code is None:
                raise
            raise typer.Exit(code) from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def leave(code: int) -> NoReturn:
    """End the process now that all is closed. Python takes everything apart before it ends, for seconds, unwatched."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # of a terminal that is gone
            stream.flush()
    os._exit(code)


def _say(sentence: str) -> None:
    """Write past the stream's buffer, which the signal may have caught half-way; to nobody where a terminal is gone."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"\n{sentence}\n".encode())
