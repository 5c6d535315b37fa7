"""Does each of our names import what is ours? Three folders of the repository have names that others bear as well.

Installed from a wheel they have names of our own (`hatch_build.py`), and there is nothing to find out.
"""

from __future__ import annotations

import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

OURS = "vortex-search"
ROOT = Path(__file__).resolve().parents[2]
SHARED = ("search", "kernels", "prompts") if __name__.startswith("search.") else ()


class Seen(NamedTuple):
    """What was found, in the order of `search.doctor.Finding`: how serious, what, and what to do."""

    level: str
    seen: str
    remedy: str = ""


def examine(names: Iterable[str] = SHARED, root: Path = ROOT) -> Seen:
    """Tell whose modules our names import, and which of others ours would hide."""
    wanted = tuple(names)
    if not wanted:
        return Seen("ok", "vortex_search and vortex_dsl, which are nobody else's")
    told = complaint(wanted, root)
    if told is not None:
        seen, _, remedy = told.partition(": ")
        return Seen("fail", seen, remedy)
    hidden = [f"{name} of {bearers}" for name in wanted if (bearers := _bearers(name))]
    if hidden:
        return Seen("warn", f"ours hide {', '.join(hidden)}", "install this project's wheel: its names are its own")
    return Seen("ok", f"{', '.join(wanted)}: this project's")


def complaint(names: Iterable[str] = SHARED, root: Path = ROOT) -> str | None:
    """Say whose modules stand in the place of ours, in one sentence; None where all are ours."""
    strange = {name: places for name in names if root / name not in (places := found(name))}
    if not strange:
        return None
    told = [f"`import {name}` finds {_stranger(name, places)}" for name, places in strange.items()]
    return (
        f"{', '.join(told)}, in the place of this project's: uninstall it from {sys.prefix}, or install this project's "
        "wheel, whose names are its own"
    )


def found(name: str) -> list[Path]:
    """Give the folders, or the file, that `import name` would load, none where there is none. Nothing is loaded."""
    spec = find_spec(name)
    if spec is None:
        return []
    places = spec.submodule_search_locations or [spec.origin or ""]
    return list(dict.fromkeys(Path(place).resolve() for place in places))


def _stranger(name: str, places: list[Path]) -> str:
    bearers = _bearers(name)
    where = ", ".join(map(str, places)) or "nothing"
    return f"that of {bearers} ({where})" if bearers else where


def _bearers(name: str) -> str:
    """Name the installed distributions of others that have a module of this name, with versions."""
    bearing = sorted(set(metadata.packages_distributions().get(name, ())) - {OURS})
    return ", ".join(f"{each} {metadata.version(each)}" for each in bearing)
