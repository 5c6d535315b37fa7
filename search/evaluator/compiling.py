"""A CPU's loops, compiled before an engine asks for them."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from typing import TYPE_CHECKING

from search.evaluator.sandbox import Box

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "compiling.lock"
GET_READY = (sys.executable, "-c", "from vortex_dsl.backends.tape.machine import get_ready; get_ready()")


def compile_ahead(scratch: Path) -> subprocess.Popen[bytes] | None:
    """Compile the loops into the cache of engines whose home is `scratch`, in a process that nobody waits for.

    None where another process is at it: it holds a lock for as long as it lives.

    It takes a core most of a minute the first time on a machine, while a model is converted and Ray starts on another,
    and seconds afterwards. Should it fail, the first engine compiles them, and says why it cannot.
    """
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    box = Box(scratch)
    with (scratch / LOCK).open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return subprocess.Popen(
            box.wrapped(GET_READY),
            cwd=scratch,
            env=box.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock.fileno(),),
        )


def is_compiling(scratch: Path) -> bool:
    """Say whether such a process is at work: an engine that starts now waits for what it makes."""
    file = scratch / LOCK
    if not file.exists():
        return False
    with file.open("r", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
