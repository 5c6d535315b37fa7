"""Child processes that can neither outlive us, nor hang us, nor see our secrets.

A child speaks JSON lines: a request `{"call": name, "args": {...}}` on its stdin, a reply `{"result": ...}` or
`{"status": ..., "message": ...}` on its stdout. Every read has a deadline. Where bubblewrap works the child has no
network and no capability, root's included, and sees only the folders it needs; elsewhere limits, its own process group
and a clean environment remain.
"""

from __future__ import annotations

import functools
import json
import os
import selectors
import shutil
import signal
import site
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/sys")
SYSTEM_FILES = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "passwd", "group", "hosts")
# Without --cap-drop a child of root could mount again, for writing, what is bound read-only. And root owns the files of
# /proc/sys: without any capability he may still write there, core_pattern for one, which names a command that the
# kernel runs outside.
NAMESPACES = (
    *("--unshare-user-try", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
    *("--cap-drop", "ALL", "--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev"),
    *("--ro-bind", "/proc/sys", "/proc/sys", "--ro-bind-try", "/proc/sysrq-trigger", "/proc/sysrq-trigger"),
)
MAX_REPLY_BYTES = 64 << 20
STDERR_TAIL_BYTES = 16 << 10
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


@dataclass(frozen=True)
class Box:
    """What a child may use.

    `scratch` is its home and working directory, and the only folder it can write to under bubblewrap; `readable`
    are further folders it can see there, with the files that links in them lead to. `memory_bytes` limits its address
    space (0: no limit, as CUDA needs). `environment` are the only variables it gets beside those of `INHERITED`.
    """

    scratch: Path
    readable: tuple[Path, ...] = ()
    memory_bytes: int = 0
    environment: tuple[tuple[str, str], ...] = ()

    def variables(self) -> dict[str, str]:
        """Give the child's whole environment."""
        kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
        fixed = {"HOME": str(self.scratch), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
        return kept | fixed | dict(self.environment)

    def wrapped(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """Give the command as it is run: inside bubblewrap where that works."""
        bwrap = bubblewrap()
        return command if bwrap is None else (bwrap, *self._namespaces(), "--", *command)

    def _namespaces(self) -> list[str]:
        arguments = [*NAMESPACES, "--tmpfs", "/tmp"]  # noqa: S108 - the child's own
        visible = [*map(Path, SYSTEM), *(Path("/etc") / name for name in SYSTEM_FILES), *interpreter_folders()]
        linked = [file for folder in self.readable for file in linked_files(folder)]
        for path in (*visible, *self.readable, *linked):
            arguments += ["--ro-bind-try", str(path), str(path)]
        for device in Path("/dev").glob("nvidia*"):
            arguments += ["--dev-bind-try", str(device), str(device)]
        return [*arguments, "--bind", str(self.scratch), str(self.scratch), "--chdir", str(self.scratch)]


def linked_files(folder: Path) -> list[Path]:
    """Give the files elsewhere that links below a folder lead to: the hub keeps a model as links to `../../blobs`."""
    links = [path for path in folder.rglob("*") if path.is_symlink() and path.is_file()]
    targets = {Path(os.path.normpath(link.parent / link.readlink())) for link in links}
    return sorted(target for target in targets if not target.is_relative_to(folder))


@functools.cache
def interpreter_folders() -> tuple[Path, ...]:
    """Give the folders this interpreter and its packages live in, ours included, outermost first."""
    project = Path(__file__).resolve().parents[2]
    folders = {Path(sys.prefix), Path(sys.base_prefix), project, *map(Path, site.getsitepackages())}
    return tuple(sorted(folder for folder in folders if folder != Path("/")))


@functools.cache
def bubblewrap() -> str | None:
    """Give the path of a bubblewrap that works here; None, after one warning on stderr, where there is none."""
    path = shutil.which("bwrap")
    reason = "bubblewrap (bwrap) is not installed" if path is None else _complaint(path)
    if not reason:
        return path
    sys.stderr.write(
        f"WARNING: {reason}. Engines keep their memory limits, their own process group and a clean environment, "
        "but they can reach the network and read your files. Install bubblewrap to close that.\n"
    )
    return None


def _complaint(path: str) -> str:
    """Say why this bubblewrap does not work here; nothing if it does."""
    trial = [path, "--ro-bind", "/", "/", *NAMESPACES, "true"]
    try:
        ended = subprocess.run(trial, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap (bwrap) did not run: {error}"
    said = ended.stderr.decode(errors="replace").strip()
    return f"bubblewrap (bwrap) does not work here: {said}" if ended.returncode else ""


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
        supervisor = [sys.executable, "-I", "-S", str(Path(__file__).with_name("supervisor.py"))]
        self._oom_kills = _oom_kills()
        self._process = subprocess.Popen(
            [*supervisor, str(os.getpid()), str(box.memory_bytes), *box.wrapped(command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=box.scratch,
            env=box.variables(),
            start_new_session=True,
        )
        self._pipes = _Pipes(self._process)

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
            line = self._pipes.exchange(request, time.monotonic() + timeout_s)
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


class _Pipes:
    """A child's three pipes, none of which can block us."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self.stderr_tail = b""
        for pipe in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(pipe.fileno(), False)

    def exchange(self, request: bytes, deadline: float) -> bytes:
        """Send one line, give one line. Raises TimeoutError at the deadline, EOFError when the child is gone."""
        outgoing, incoming = memoryview(request), bytearray()
        with selectors.DefaultSelector() as selector:
            for pipe in (self._stdout, self._stderr):
                selector.register(pipe, selectors.EVENT_READ)
            selector.register(self._stdin, selectors.EVENT_WRITE)
            while not incoming.endswith(b"\n"):
                ready = {key.fileobj for key, _ in _ready(selector, deadline)}
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


def _ready(selector: selectors.BaseSelector, deadline: float) -> list[tuple[selectors.SelectorKey, int]]:
    left_s = deadline - time.monotonic()
    events = selector.select(left_s) if left_s > 0 else []
    if not events:
        raise TimeoutError
    return events


def _describe(code: int) -> str:
    number = -code if code < 0 else code - 128
    try:
        return f"ended by {signal.Signals(number).name}"
    except ValueError:
        return f"exit code {code}"


def _oom_kills() -> int:
    """Give the number of processes that the kernel has killed for want of memory since it started."""
    lines = Path("/proc/vmstat").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
