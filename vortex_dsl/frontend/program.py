"""What a program's text declares, and programs as frozen values: a text with a value for each of its tunables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from vortex_dsl.errors import ProgramError, did_you_mean, listed, quoted
from vortex_dsl.frontend.lists import KnownLists
from vortex_dsl.tunables import PLATFORM_TUNABLES, budget_of

if TYPE_CHECKING:
    import ast
    from collections.abc import Mapping

    from vortex_dsl.frontend.source import Source
    from vortex_dsl.tunables import State, Tunable, Value


@dataclass
class Definition:
    """What a program's text declares. `positions` says where, by name: line and column from 1.

    `lists` tells what its lists of known numbers are made of.
    """

    source: Source
    name: str = ""
    doc: str = ""
    imported: frozenset[str] = frozenset()
    tunables: Mapping[str, Tunable] = field(default_factory=lambda: PLATFORM_TUNABLES)
    states: Mapping[str, State] = field(default_factory=dict)
    constants: list[ast.Assign] = field(default_factory=list)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    entries: dict[str, ast.FunctionDef] = field(default_factory=dict)  # summarize and select
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)  # the class's other functions
    positions: dict[str, tuple[int, int]] = field(default_factory=dict)
    lists: KnownLists = field(default_factory=KnownLists, repr=False, compare=False)

    def position_of(self, name: str) -> tuple[int, int]:
        """Give the line and column of a tunable's declaration, or of the class."""
        return self.positions.get(name) or self.positions.get(self.name, (1, 1))


@dataclass(frozen=True)
class Program:
    """A loaded program: its text, parsed and never executed, with a value for each of its tunables.

    Two programs are equal when their texts and values are. In a program's own text `Program` is the base class.
    """

    text: str
    overrides: tuple[tuple[str, Value], ...] = ()  # values that differ from the text's defaults, by name
    file: str = field(default="<program>", compare=False)
    definition: Definition = field(kw_only=True, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.definition.name

    @property
    def doc(self) -> str:
        """The first line of the class's docstring: the idea."""
        return self.definition.doc

    @property
    def tunables(self) -> Mapping[str, Tunable]:
        """The program's own tunables and the platform's six, by name."""
        return self.definition.tunables

    @property
    def budget(self) -> str | None:
        """The name of the tunable that decides how much is read, None where no number does."""
        return budget_of(self.tunables)

    @property
    def states(self) -> Mapping[str, State]:
        """What the program remembers of a request, by name."""
        return self.definition.states

    @property
    def values(self) -> Mapping[str, Value]:
        """A value for each tunable, by name."""
        defaults = {name: tunable.default for name, tunable in self.tunables.items()}
        return MappingProxyType(defaults | dict(self.overrides))

    def with_values(self, **values: Value) -> Program:
        """Give the same program with other values; unknown names and values out of range are a ProgramError."""
        merged = dict(self.overrides)
        for name, value in values.items():
            merged[name] = self._accepted(name, value)
        kept = {name: value for name, value in merged.items() if value != self.tunables[name].default}
        return replace(self, overrides=tuple(sorted(kept.items())))

    def _accepted(self, name: str, value: object) -> Value:
        line, column = self.definition.position_of(name)
        if name not in self.tunables:
            known = sorted(self.tunables)
            near = did_you_mean(name, known) or f"; it has {listed(known)}"
            raise ProgramError(f"{self.name} has no tunable {quoted(name)}{near}", self.file, line, column)
        try:
            return self.tunables[name].accept(value)
        except ValueError as error:
            raise ProgramError(f"tunable '{name}': {error}", self.file, line, column) from None
