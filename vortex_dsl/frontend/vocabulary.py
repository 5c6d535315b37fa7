"""The names that the language itself gives to programs, read off the operation table."""

from __future__ import annotations

from vortex_dsl.ops import OPS
from vortex_dsl.ops.op import OpKind

FUNCTIONS = frozenset(name for name, op in OPS.items() if op.kind in (OpKind.FUNCTION, OpKind.SELECTION))
METHODS = frozenset(name for name, op in OPS.items() if op.kind is OpKind.METHOD)
TUNABLE_KINDS = frozenset({"Int", "Float", "Choice"})
IMPORTED_VALUES = {"layer": ("index", "count"), "kv_head": ("index",)}
PAGE_VALUES = ("k", "v", "index", "count", "reserved")
BUILT_IN = frozenset({"range", "slice"})  # need no import
STATE = "State"  # declared like a tunable
IMPORTABLE = FUNCTIONS | TUNABLE_KINDS | {"Program", STATE, *IMPORTED_VALUES}
RESERVED = IMPORTABLE | BUILT_IN


class Word:
    """A name of the language seen from Python, where it has no meaning of its own."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name} of vortex_dsl programs>"

    def __call__(self, *_args: object, **_kwargs: object) -> object:
        """Refuse: a program is read, not run."""
        message = f"'{self._name}' has a meaning only in a program; load the text with vortex_dsl.load_program"
        raise TypeError(message)
