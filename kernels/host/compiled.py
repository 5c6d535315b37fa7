"""How a CPU's loops are compiled: by Numba, at the first call, and kept in its cache on disk."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCES = ("compiled.py", "loops.py", "tape.py", "vectors.py")  # which call each other
_SUMS = {"reassoc", "contract", "nsz"}  # what lets sums be split over vector registers; NaN and infinity keep their say


def _digest() -> str:
    """Give the state of all sources: Numba's cache notices changes of a function's own file and of no other."""
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in SOURCES)).hexdigest()[:12]


DIGEST = _digest()


def compiled(function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
    """Compile a function, and keep the code on disk where there is a place that may be written to."""
    function.__qualname__ += f"_{DIGEST}"  # names the file in the cache
    how |= {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **how)(function)
    except RuntimeError:  # how Numba says that there is none
        return njit(**how)(function)


compiled_sums = partial(compiled, fastmath=_SUMS)
