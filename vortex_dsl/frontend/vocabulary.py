"""The names that the language itself gives to programs, read off the operation table."""

from __future__ import annotations

from vortex_dsl.ops import OPS
from vortex_dsl.ops.op import OpKind

FUNCTIONS = frozenset(name for name, op in OPS.items() if op.kind in (OpKind.FUNCTION, OpKind.SELECTION))
METHODS = frozenset(name for name, op in OPS.items() if op.kind is OpKind.METHOD)
TUNABLE_KINDS = frozenset({"Int", "Float", "Choice"})
IMPORTED_VALUES = {"layer": ("index", "count"), "kv_head": ("index",)}
BUILT_IN = frozenset({"range", "slice"})  # need no import
STATE = "State"  # declared like a tunable
IMPORTABLE = FUNCTIONS | TUNABLE_KINDS | {"Program", STATE, *IMPORTED_VALUES}
RESERVED = IMPORTABLE | BUILT_IN


FOREIGN = {
    "min": "write minimum(a, b), or x.min(\"dim\") over an axis",
    "max": "write maximum(a, b), or x.max(\"dim\") over an axis",
    "sum": "write x.sum(\"dim\") over an axis, and add known numbers with a + b",
    "int": "write floor(x), or a // b for known numbers; whole numbers need no conversion",
    "round": "write floor(x + 0.5)",
    "float": "leave it out; numbers need no conversion",
    "bool": "write a comparison, such as x != 0",
    "len": "write the number; page.count counts pages, self.page_size a page's tokens, self.head_dim channels",
    "pow": "write a ** b",
    "divmod": "write a // b and a % b",
    "list": "write a list comprehension in brackets",
    "tuple": "write a list comprehension in brackets",
    "map": "write a list comprehension in brackets",
    "filter": "write a list comprehension in brackets with 'if'",
    "enumerate": "loop over range(n) and index the list",
    "zip": "loop over range(n) and index the lists",
    "sorted": "write the list in order",
    "reversed": "write x[::-1] of a known list",
    "print": "leave it out; `vortex check` shows what a program does",
}  # fmt: skip
"""Names of Python that programs are written with by mistake, and what to write for each."""


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
