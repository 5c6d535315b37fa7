"""The language: load a program, trace it, run it, know its cost. Nothing heavy is imported before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vortex_dsl.api import attend as attend
    from vortex_dsl.api import cost as cost
    from vortex_dsl.api import decode as decode
    from vortex_dsl.errors import ProgramError as ProgramError
    from vortex_dsl.frontend.load import load_program as load_program
    from vortex_dsl.frontend.program import Program as Program
    from vortex_dsl.frontend.trace import trace as trace
    from vortex_dsl.tunables import Choice as Choice
    from vortex_dsl.tunables import Float as Float
    from vortex_dsl.tunables import Int as Int
    from vortex_dsl.tunables import State as State
    from vortex_dsl.values import Shape as Shape

_HOMES = {
    "Choice": "tunables",
    "Float": "tunables",
    "Int": "tunables",
    "Program": "frontend.program",
    "ProgramError": "errors",
    "Shape": "values",
    "State": "tunables",
    "attend": "api",
    "decode": "api",
    "cost": "api",
    "load_program": "frontend.load",
    "trace": "frontend.trace",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)  # an export has another name
    elif name.startswith("__") and name != "__all__":
        raise AttributeError(name)
    else:
        value = _word(name)
    globals()[name] = value
    return value


def _word(name: str) -> Any:
    """Give what a program imports beside tunables, so that editors and Python's own import can follow it."""
    from vortex_dsl.frontend.vocabulary import IMPORTABLE, Word

    if name == "__all__":
        return sorted(IMPORTABLE | {"ProgramError", "Shape", "load_program", "trace"})
    if name not in IMPORTABLE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return Word(name)
