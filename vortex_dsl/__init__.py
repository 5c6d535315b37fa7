"""The language: load a program, trace it, run it, know its cost. Nothing heavy is imported before it is used."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vortex_dsl.attention import attend as attend
    from vortex_dsl.cost import cost as cost
    from vortex_dsl.decoding import decode as decode
    from vortex_dsl.errors import ProgramError as ProgramError
    from vortex_dsl.load import load_program as load_program
    from vortex_dsl.program import Choice as Choice
    from vortex_dsl.program import Float as Float
    from vortex_dsl.program import Int as Int
    from vortex_dsl.program import Program as Program
    from vortex_dsl.program import State as State
    from vortex_dsl.trace import trace as trace
    from vortex_dsl.values import Shape as Shape

_HOMES = {
    "Choice": "program",
    "Float": "program",
    "Int": "program",
    "Program": "program",
    "ProgramError": "errors",
    "Shape": "values",
    "State": "program",
    "attend": "attention",
    "decode": "decoding",
    "cost": "cost",
    "load_program": "load",
    "trace": "trace",
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
    from vortex_dsl.vocabulary import IMPORTABLE, Word

    if name == "__all__":
        return sorted(IMPORTABLE | {"ProgramError", "Shape", "load_program", "trace"})
    if name not in IMPORTABLE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return Word(name)


class _Package(ModuleType):
    """Keeps the functions `trace` and `cost` where importing the modules of these names would hide them."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
