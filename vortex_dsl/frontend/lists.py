"""Lists of known numbers, which many texts make by the same comprehensions, are made once in a process.

A program that rotates makes a matrix of thousands of numbers, in each text and at each trace. Whoever is given a list
that was made before pays for it as if it had been made anew, so that the bounds of an evaluation are what they were.
"""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from vortex_dsl.frontend.known import Receiver, is_known
from vortex_dsl.frontend.meter import MAX_STEPS, Spent
from vortex_dsl.frontend.vocabulary import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_STEPS = 64  # what takes fewer is made about as fast as it is found
MOST_STEPS = 20 * MAX_STEPS  # of all lists that are kept
MOST_TOLD = 10_000  # elements and characters of a constant that is written down


class Kept(NamedTuple):
    """A list, which nothing in the language can change, and what it took to make it."""

    numbers: list[Any]
    spent: Spent


@dataclass
class Shared:
    """The lists of all texts, by keys that tell how they are made; what does not fit lets go of all others.

    Several threads may use it: they find the same, and only count amiss how much there is.
    """

    most_steps: int = MOST_STEPS
    _kept: dict[str, Kept] = field(default_factory=dict)
    _keys: dict[int, str] = field(default_factory=dict)  # of lists that are kept, by their identity
    _num_steps: int = 0

    def get(self, key: str) -> Kept | None:
        """Give a list that was made before, if it is there."""
        return self._kept.get(key)

    def key_of(self, numbers: object) -> str | None:
        """Give the key of this very list, if it is kept."""
        key = self._keys.get(id(numbers))
        kept = self._kept.get(key) if key is not None else None
        return key if kept is not None and kept.numbers is numbers else None

    def keep(self, key: str, numbers: list[Any], spent: Spent) -> None:
        """Keep a list that is worth it, unless there is something else than numbers in it."""
        if spent.num_steps < LEAST_STEPS or not _is_plain(numbers):
            return
        if self._num_steps + spent.num_steps > self.most_steps:
            self.forget()
        self._num_steps += spent.num_steps
        self._kept[key] = Kept(numbers, spent)
        self._keys[id(numbers)] = key

    def forget(self) -> None:
        """Let go of all lists."""
        self._kept.clear()
        self._keys.clear()
        self._num_steps = 0


SHARED = Shared()


class _Reads(NamedTuple):
    """A comprehension as it is written, and what it reads: names, and of `self`."""

    text: str
    names: tuple[str, ...]
    own: tuple[str, ...]


@dataclass
class KnownLists:
    """What the lists of one text are made of."""

    _reads: dict[ast.ListComp, _Reads | None] = field(default_factory=dict)
    _constants: dict[str, str | None] = field(default_factory=dict)  # told, where nothing but numbers is in them

    def key(
        self, node: ast.ListComp, scope: Mapping[str, Any], constants: Mapping[str, Any], own: Mapping[str, Any]
    ) -> str | None:
        """Tell what a comprehension's result depends on; None where that may be more than known numbers.

        `own`: the numbers of `self`. A text's constants are the same at each trace.
        """
        if node not in self._reads:
            self._reads[node] = _reads_of(node)
        reads = self._reads[node]
        if reads is None or any(name not in own for name in reads.own):
            return None
        told = [reads.text, *(f"self.{name}={own[name]!r}" for name in reads.own)]
        for name in reads.names:
            value = scope.get(name, constants.get(name))
            if name in constants and value is constants[name]:  # and no variable of another comprehension
                constant = self._constant(name, value)
                if constant is None:
                    return None
                told.append(f"{name}={constant}")
            elif name in scope:
                if not isinstance(value, int | float | Receiver):
                    return None
                told.append(f"{name}={value!r}")  # which tells 1, 1.0, True and -0.0, 0.0 apart
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def _constant(self, name: str, value: Any) -> str | None:
        """Tell what a constant is: by how it was made, where it is a list that is kept, or number by number."""
        if name not in self._constants:
            self._constants[name] = SHARED.key_of(value) or _told(value)
        return self._constants[name]


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
    return _Reads(ast.unparse(node), tuple(names), tuple(own))


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


def _told(value: Any) -> str | None:
    """Write a constant down; None where it is long, or something else than numbers and strings is in it."""
    size, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        size += len(each) if isinstance(each, str | list | tuple) else 1
        if size > MOST_TOLD:
            return None
        if isinstance(each, list | tuple):
            waiting += each
        elif not (is_known(each) or isinstance(each, str | range)):
            return None
    return repr(value)
