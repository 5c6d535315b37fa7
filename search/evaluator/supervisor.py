"""Run one command and leave nothing of it behind, however this process or its parent ends.

Executed as a script (`python -I -S supervisor.py PARENT_PID MEMORY_BYTES [--calls CALLS] command ...`), so it imports
the standard library only; CALLS is a filter of the kernel's calls in base64 (`sandbox/calls.py`). It is the reaper of
everything the command starts, processes that left the group included; it kills them all when the command ends, when it
is told to by SIGTERM, and when its parent dies, even by `kill -9`.
"""

from __future__ import annotations

import base64
import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
CALLS_FROM = 9  # the open file from which bubblewrap reads the filter, to set it when it has made its own calls
KILL_PATIENCE_S = 5.0


class Terminated(BaseException):
    """SIGTERM arrived: from the parent, or from the kernel because the parent died."""


def set_process_option(option: int, value: int) -> None:
    """Call prctl(2). Raises OSError with the kernel's reason."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value})")


def descendants(root: int) -> list[int]:
    """Give the process ids of everything below `root`, zombies included, by reading /proc."""
    parents = {int(p.name): _parent_of(p) for p in Path("/proc").iterdir() if p.name.isdigit()}
    below, frontier = [], [root]
    while frontier:
        frontier = [pid for pid, parent in parents.items() if parent in frontier]
        below += frontier
    return below


def _parent_of(process: Path) -> int:
    try:
        stat = (process / "stat").read_text("utf-8")
    except OSError:  # ended between the listing and the reading
        return -1
    return int(stat.rpartition(")")[2].split()[1])


def kill_descendants() -> None:
    """SIGKILL everything below this process until nothing is left to reap."""
    deadline = time.monotonic() + KILL_PATIENCE_S
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            _kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("num_steps", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def refuse_calls(calls: bytes) -> None:
    """Filter the calls of this process and of all that it starts. Raises OSError."""
    set_process_option(PR_SET_NO_NEW_PRIVS, 1)
    libc, program = ctypes.CDLL(None, use_errno=True), _Program(len(calls) // 8, calls)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


def offer_calls(calls: bytes) -> None:
    """Leave the filter open for who is executed next."""
    made = os.memfd_create("calls")
    os.write(made, calls)
    os.lseek(made, 0, os.SEEK_SET)
    os.dup2(made, CALLS_FROM)


def _become(command: list[str], memory_bytes: int, calls: bytes) -> NoReturn:
    """Limit this process and turn it into the command."""
    try:
        set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory_bytes:
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        if calls:
            (offer_calls if "--seccomp" in command else refuse_calls)(calls)
        os.execvp(command[0], command)  # noqa: S606 - no shell is meant
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        sys.stderr.flush()
    os._exit(127)


def _wait_for(child: int) -> int:
    """Reap until the command itself has ended; give its wait status."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status


def _end_like(status: int) -> NoReturn:
    """End as the command did, so that the parent sees its exit code or its signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _terminate(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise Terminated


def supervise(parent: int, memory_bytes: int, calls: bytes, command: list[str]) -> NoReturn:
    """Run the command to its end, then kill whatever it left, then end as it did."""
    signal.signal(signal.SIGTERM, _terminate)
    set_process_option(PR_SET_CHILD_SUBREAPER, 1)
    set_process_option(PR_SET_PDEATHSIG, signal.SIGTERM)
    status = signal.SIGKILL.value
    if os.getppid() != parent:  # it died before we could ask to be told
        os._exit(1)
    try:
        child = os.fork()
        if child == 0:
            _become(command, memory_bytes, calls)
        status = _wait_for(child)
    except Terminated:
        pass
    finally:
        kill_descendants()
    _end_like(status)


if __name__ == "__main__":
    _, _parent, _memory_bytes, *_command = sys.argv
    _calls = base64.b64decode(_command[1]) if _command[0] == "--calls" else b""
    supervise(int(_parent), int(_memory_bytes), _calls, _command[2:] if _calls else _command)
