"""A long text that every Python has: its standard library's source code, for what the help topics are too short for.

The modules differ between versions and distributions, so a workload's source names them by what they hold.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from search.evaluator.fidelity.given import TextError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "library:"
TESTS = {"test", "tests", "idle_test"}
# Tables, copies of what stands elsewhere, and what distributions leave out.
LEFT_OUT = {"encodings", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "turtledemo", *TESTS}


def library_source() -> str:
    """Give the `source` of workloads that are cut from this Python's library."""
    digest = hashlib.sha256("".join(_halves()).encode()).hexdigest()
    return PREFIX + digest[:16]


def library(source: str) -> tuple[str, str]:
    """Give the two splits of a source. Raises TextError where this Python's library is another one."""
    if source != library_source():
        version = ".".join(map(str, sys.version_info[:3]))
        raise TextError(
            f"the texts were cut from another standard library ({source}) than that of Python {version} here "
            f"({library_source()}): use one build of Python everywhere, or give a text (--text)"
        )
    return _halves()


@cache
def _halves() -> tuple[str, str]:
    """Share modules out between the splits: each, largest first, to the smaller."""
    halves: tuple[list[str], list[str]] = [], []
    for text in sorted(_modules(), key=len, reverse=True):
        min(halves, key=lambda half: sum(map(len, half))).append(text)
    return "\n\n".join(halves[0]), "\n\n".join(halves[1])


def _modules() -> Iterator[str]:
    """Give the source of each module, in the order of their names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for name in sorted(sys.stdlib_module_names - LEFT_OUT):
        files = [root / f"{name}.py", *sorted((root / name).rglob("*.py"))]
        for file in files:
            if file.is_file() and not TESTS.intersection(file.relative_to(root).parts):
                yield file.read_text(encoding="utf-8", errors="replace")
