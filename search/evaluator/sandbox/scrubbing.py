"""The environment with which a process was started, taken out of what others can read of it.

`/proc/PID/environ` shows the memory into which the kernel has put it. Where no box hides us, a program that others
wrote reads that, with whatever keys are in it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

BEGINS, ENDS = 47, 48  # of the fields of /proc/self/stat that follow the name


def hide_environment() -> None:
    """Blank that memory; the variables stay, for us and for C libraries, in memory of our own. Idempotent."""
    for name, value in os.environb.items():
        os.putenv(name, value)  # a copy, which the C library points to from now on
    fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
    begins, ends = int(fields[BEGINS]), int(fields[ENDS])
    if 0 < begins < ends:
        ctypes.memset(begins, 0, ends - begins)
