"""One child: a command in its own session, asked over pipes, and whatever it starts ended with it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator import supervisor
from search.evaluator.sandbox.asking import Pipes
from search.evaluator.sandbox.calls import refusing
from search.evaluator.supervisor import CALLS_FROM
from search.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from search.evaluator.sandbox.box import Box

SUPERVISOR = (sys.executable, "-I", "-S", str(Path(supervisor.__file__)))
END_PATIENCE_S = 10.0
OUT_OF_MEMORY_SIGNS = ("MemoryError", "out of memory", "bad_alloc", "annot allocate memory", "can't allocate memory")


class ChildError(Exception):
    """A call came to nothing. The message is a sentence for the evaluation's row."""

    status = Status.INFRASTRUCTURE


class ChildTimeoutError(ChildError):
    """No answer within the deadline; the whole group has been killed."""

    status = Status.TIMED_OUT


class ChildDeathError(ChildError):
    """The child ended, or broke the protocol and was killed."""

    status = Status.CRASHED


class ChildMemoryError(ChildDeathError):
    """The child ended for want of memory."""

    status = Status.OUT_OF_MEMORY


class ChildRefusalError(ChildError):
    """The child answered with a failure of its own; it is still alive."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


def unheard(said: str) -> None:
    """Let nobody hear it."""


class Child:
    """One command in its own session, and everything it starts.

    Start it in a thread that lives as long as the child shall: the kernel ends it together with that thread.
    """

    def __init__(self, command: tuple[str, ...], box: Box, say: Callable[[str], None] = unheard) -> None:
        """Start the command. It is not waited for: the first call's timeout covers the start.

        `say` is told the name of each call as it begins.
        """
        self._say = say
        calls = refusing()
        told = [str(os.getpid()), str(box.memory_bytes)]
        told += ["--calls", base64.b64encode(calls).decode()] if calls else []
        self._oom_kills = _oom_kills()
        self._process = subprocess.Popen(
            [*SUPERVISOR, *told, *box.wrapped(command, CALLS_FROM if calls else None)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=box.scratch,
            env=box.variables(),
            start_new_session=True,
        )
        self._pipes = Pipes(self._process)

    @property
    def pid(self) -> int:
        """The process group of everything that stays in it, and the supervisor's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def call(self, name: str, args: Mapping[str, Any], timeout_s: float) -> Any:
        """Give the result of one call.

        Raises ChildTimeoutError, ChildDeathError or ChildMemoryError: the child is gone; or ChildRefusalError: it
        is not.
        """
        self._say(name)
        request = json.dumps({"call": name, "args": args}, allow_nan=False).encode() + b"\n"
        try:
            line = self._pipes.exchange(request, timeout_s)
        except TimeoutError:
            self.close()
            message = f"'{name}' gave no answer within {timeout_s:g} s; its process group was killed{self._said()}"
            raise ChildTimeoutError(message) from None
        except EOFError as error:
            raise self._ending(f"'{name}': {error}") from None
        return self._result_of(name, line)

    def close(self) -> None:
        """Kill it and everything it started. Idempotent; returns when the supervisor is gone."""
        if self.alive:
            self._process.terminate()
        try:
            self._process.wait(END_PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._pipes.close()

    def _result_of(self, name: str, line: bytes) -> Any:
        try:
            reply = json.loads(line)
            if "result" in reply:
                return reply["result"]
            status, message = Status(reply["status"]), str(reply.get("message", ""))
        except (ValueError, KeyError, TypeError):
            self.close()
            start = line[:200].decode(errors="replace").rstrip()
            raise ChildDeathError(
                f"'{name}' was answered with something that is no reply: {start!r}{self._said()}"
            ) from None
        if status is Status.CRASHED:  # it caught its own exception and wrote the traceback
            self._pipes.drain()
            message += self._said()
        raise ChildRefusalError(status, message)

    def _ending(self, context: str) -> ChildDeathError:
        """Say how a child ended that was not asked to."""
        try:
            self._process.wait(END_PATIENCE_S)
        except subprocess.TimeoutExpired:  # it closed its stdout and lives on
            self.close()
        self._pipes.drain()
        code = self._process.returncode
        said = self._said()
        starved = _oom_kills() > self._oom_kills and code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        self.close()
        if starved or any(sign in said for sign in OUT_OF_MEMORY_SIGNS):
            return ChildMemoryError(f"{context}; out of memory ({_describe(code)}){said}")
        return ChildDeathError(f"{context}; {_describe(code)}{said}")

    def _said(self) -> str:
        tail = self._pipes.stderr_tail.decode(errors="replace").strip()
        return f"; stderr ends:\n{tail}" if tail else ""


def _describe(code: int) -> str:
    number = -code if code < 0 else code - 128
    try:
        return f"ended by {signal.Signals(number).name}"
    except ValueError:
        return f"exit code {code}"


def _oom_kills() -> int:
    """Give the number of processes that the kernel has killed for want of memory since it started."""
    lines = Path("/proc/vmstat").read_text("utf-8").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
