"""Lists of known numbers that a text makes by comprehensions: made once, and kept beside the text for each trace of it.

Whoever is given one pays for it as if it had been made anew, so that the bounds of an evaluation are what they were.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from vortex_dsl.frontend.known import Receiver, is_known
from vortex_dsl.frontend.meter import MAX_STEPS, Spent
from vortex_dsl.frontend.vocabulary import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Mapping

    Key = tuple[ast.ListComp, tuple[str, ...]]


LEAST_STEPS = 64  # what takes fewer is made about as fast as it is found


class Kept(NamedTuple):
    """A list, which nothing in the language can change, and what it took to make it."""

    numbers: list[Any]
    spent: Spent


class _Reads(NamedTuple):
    """What a comprehension reads: names, and of `self`."""

    names: tuple[str, ...]
    own: tuple[str, ...]


@dataclass
class KnownLists:
    """The lists of one text, as many as one evaluation can make; what does not fit lets go of all others.

    Several threads may use it: they find the same, and only count amiss how much there is.
    """

    _kept: dict[Key, Kept] = field(default_factory=dict)
    _reads: dict[ast.ListComp, _Reads | None] = field(default_factory=dict)
    _constants: dict[str, bool] = field(default_factory=dict)  # whether nothing but numbers is in them
    _num_steps: int = 0

    def key(
        self, node: ast.ListComp, scope: Mapping[str, Any], constants: Mapping[str, Any], own: Mapping[str, Any]
    ) -> Key | None:
        """Give what a comprehension's result depends on; None where that may be more than known numbers.

        `own`: the numbers of `self`. A text's constants are the same at each trace.
        """
        if node not in self._reads:
            self._reads[node] = _reads_of(node)
        reads = self._reads[node]
        if reads is None or any(name not in own for name in reads.own):
            return None
        told = [f"self.{name}={own[name]!r}" for name in reads.own]
        for name in reads.names:
            value = scope.get(name, constants.get(name))
            if name in constants and value is constants[name]:  # and no variable of another comprehension
                if not self._is_plain(name, value):
                    return None
                told.append(name)
            elif name in scope:
                if not isinstance(value, int | float | Receiver):
                    return None
                told.append(f"{name}={value!r}")  # which tells 1, 1.0, True and -0.0, 0.0 apart
        return node, tuple(told)

    def _is_plain(self, name: str, constant: Any) -> bool:
        if name not in self._constants:
            self._constants[name] = _is_plain(constant)
        return self._constants[name]

    def get(self, key: Key) -> Kept | None:
        """Give a list that was made before, if it is there."""
        return self._kept.get(key)

    def keep(self, key: Key, numbers: list[Any], spent: Spent) -> None:
        """Keep a list that is worth it, unless there is something else than numbers in it."""
        if spent.num_steps < LEAST_STEPS or not _is_plain(numbers):
            return
        if self._num_steps + spent.num_steps > MAX_STEPS:
            self._kept.clear()
            self._num_steps = 0
        self._num_steps += spent.num_steps
        self._kept[key] = Kept(numbers, spent)


def _reads_of(node: ast.ListComp) -> _Reads | None:
    """Give what a comprehension reads; None where it calls a function, or reads what only a graph knows."""
    names: dict[str, None] = {}
    own: dict[str, None] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and not (isinstance(part.func, ast.Name) and part.func.id in BUILT_IN):
            return None
        if isinstance(part, ast.Attribute):
            if not (isinstance(part.value, ast.Name) and part.value.id == "self"):
                return None
            own[part.attr] = None
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            names[part.id] = None
    return _Reads(tuple(names), tuple(own))


def _is_plain(value: Any) -> bool:
    """Say whether a value is a known number, a string or a list of such; one that is in it often is looked at once."""
    waiting, seen = [value], set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | tuple):
            waiting += each if id(each) not in seen else ()
            seen.add(id(each))
        elif not (is_known(each) or isinstance(each, str | range)):
            return False
    return True
