"""A rule with its numbers aside: programs of one skeleton are points of one space."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from search.agents.changing.source import Source, set_default
from search.records import digest_of
from vortex_dsl import load_program
from vortex_dsl.tunables import BUDGET, PLATFORM_TUNABLES, Int

if TYPE_CHECKING:
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.tunables import Tunable, Value

KEPT = (BUDGET, "page_size", "dense_layers")  # fitted, another engine, and what hides a rule on a small model
PLATFORM = {  # where values of the platform's tunables are looked for, unless a rule has others
    "sink": (0, 4),
    "window": (1, 8),
    "share_layers": (1, 4),
    "refresh_steps": (1, 8),
}


@dataclass(frozen=True)
class Skeleton:
    """What stays when a program is tuned, and what does not: its tunables, the platform's among them, with values.

    Never among them is the budget, which the platform fits. `digest` leaves out names, docstrings and values.
    """

    digest: str
    tunables: tuple[tuple[str, Tunable], ...]
    values: tuple[tuple[str, Value], ...]


@lru_cache(maxsize=1 << 14)
def skeleton_of(text: str, values: tuple[tuple[str, Value], ...]) -> Skeleton:
    """Take a program that loads apart."""
    program = load_program(text if "\n" in text else text + "\n").with_values(**dict(values))
    kept = {*KEPT, program.budget}
    free = [name for name in sorted(program.tunables) if name not in kept]
    values_of = tuple((name, program.values[name]) for name in free)
    stays = [program.values[name] for name in KEPT if name in PLATFORM_TUNABLES]
    digest = digest_of([_bare(text, program.budget), stays])
    return Skeleton(digest, tuple((name, _searched(name, program)) for name in free), values_of)


def _searched(name: str, program: Program) -> Tunable:
    """Give a tunable in the range that is searched."""
    tunable, value = program.tunables[name], program.values[name]
    if name not in PLATFORM or not isinstance(tunable, Int) or not isinstance(value, int):
        return tunable
    low, high = PLATFORM[name]
    low, high = max(min(low, value), tunable.low), min(max(high, value), tunable.high)
    return Int(value, low, high, log=low > 0)


def _bare(text: str, budget: str | None) -> str:
    """Write a text without names, docstrings, declarations of platform tunables, and defaults."""
    source = Source.parse(text, head_dim=1)
    source.describe("Rule", "", "")
    platform = {name for name in PLATFORM_TUNABLES if name != budget}
    for name, call in source.tunables.items():
        if name not in platform:
            set_default(call, 0)
    body = source.program.body
    body[:] = [node for node in body if not (isinstance(node, ast.Assign) and _target(node) in platform)]
    return source.text()


def _target(node: ast.Assign) -> str:
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
