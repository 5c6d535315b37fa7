"""How a CPU's loops are compiled: by Numba, at the first call, and kept in its cache on disk."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

_SUMS = {"reassoc", "contract", "nsz"}  # what lets sums be split over vector registers; NaN and infinity keep their say


def _digest() -> str:
    """Give the state of all sources: Numba's cache notices changes of a function's own file and of no other."""
    sources = sorted(Path(__file__).parent.glob("*.py"))  # which call each other
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


DIGEST = _digest()


def compiled(function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
    """Compile a function, and keep the code on disk where there is a place that may be written to."""
    is_inner = function.__name__.startswith("_")  # other loops alone call it: a way in for Python takes long to make
    function.__qualname__ += f"_{DIGEST}"  # names the file in the cache
    how |= {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": is_inner, "no_cfunc_wrapper": is_inner}
    try:
        return njit(cache=True, **how)(function)
    except RuntimeError:  # how Numba says that there is none
        return njit(**how)(function)


compiled_sums = partial(compiled, fastmath=_SUMS)
# Whoever has one caller and calls much is compiled as a part of it: else all that it calls is compiled once more.
compiled_within = partial(compiled, inline="always")
