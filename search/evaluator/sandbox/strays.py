"""What is left of the processes that we started: a Ray that was told to end leaves those that hang."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from search.evaluator.supervisor import descendants

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S, PAUSE_S = 1.0, 0.02
# In the environment of every process of a private Ray, and of no other: where it finds the token of this run.
MARK = "RAY_AUTH_TOKEN_PATH=/proc/{pid}/fd/"


def of_private_ray(pid: int) -> list[int]:
    """Give the process ids of the private Ray that a process has started, whoever their parents are by now."""
    mark = MARK.format(pid=pid).encode()
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit() and mark in _environment(each)]


def kill_ray() -> None:
    """Kill what our private Ray has left behind, and wait until it is gone."""
    _kill_while(lambda: of_private_ray(os.getpid()))


def kill_all_below() -> None:
    """Kill all that this process has started, and what became of it."""
    _kill_while(lambda: [*of_private_ray(os.getpid()), *filter(_is_running, descendants(os.getpid()))])


def _kill_while(found: Callable[[], list[int]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (pids := found()) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(OSError):  # gone, or somebody else's by now
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_S)


def _is_running(pid: int) -> bool:
    """Say whether it is more than a zombie, which has no command line."""
    with suppress(OSError):
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    return False


def _environment(process: Path) -> bytes:
    with suppress(OSError):
        return (process / "environ").read_bytes()
    return b""
