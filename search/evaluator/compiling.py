"""A CPU's loops, compiled before an engine asks for them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from search.evaluator.sandbox import Box

if TYPE_CHECKING:
    from pathlib import Path

GET_READY = (sys.executable, "-c", "from vortex_dsl.backends.tape.machine import get_ready; get_ready()")


def compile_ahead(scratch: Path) -> subprocess.Popen[bytes]:
    """Compile the loops into the cache of engines whose home is `scratch`, in a process that nobody waits for.

    It takes a core most of a minute the first time on a machine, while a model is converted and Ray starts on another,
    and seconds afterwards. Should it fail, the first engine compiles them, and says why it cannot.
    """
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    box = Box(scratch)
    return subprocess.Popen(
        box.wrapped(GET_READY),
        cwd=scratch,
        env=box.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
