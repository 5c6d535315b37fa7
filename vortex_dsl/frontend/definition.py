"""What a program's text declares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vortex_dsl.frontend.known import KnownLists
from vortex_dsl.tunables import PLATFORM_TUNABLES, State, Tunable

if TYPE_CHECKING:
    import ast
    from collections.abc import Mapping

    from vortex_dsl.frontend.source import Source


@dataclass
class Definition:
    """What a program's text declares. `positions` says where, by name: line and column from 1.

    `lists` are those that were made of known numbers while it was traced.
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
