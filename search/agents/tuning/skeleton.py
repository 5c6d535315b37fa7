"""A rule with its numbers and the kinds of its fields aside: programs of one skeleton are points of one space."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from search.agents.changing.products import UNSAID, kinds, store
from search.agents.changing.source import Source, set_default
from search.records import digest_of
from vortex_dsl import load_program
from vortex_dsl.tunables import BUDGET, PLATFORM_TUNABLES, Choice, Int

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.frontend.program import Program
    from vortex_dsl.tunables import Tunable, Value

KEPT = (BUDGET, "page_size", "dense_layers")  # fitted, another engine, and what hides a rule on a small model
PLATFORM = {  # where values of the platform's tunables are looked for, unless a rule has others
    "sink": (0, 4),
    "window": (1, 8),
    "share_layers": (1, 4),
    "refresh_steps": (1, 8),
}


KINDS = ("bfloat16", "fp8_e4m3", "int8", "int4", "sign")  # of those that fields are stored in, what is tried
STORED = " stored in"  # behind a field's name: no tunable's name has a space


@dataclass(frozen=True)
class Skeleton:
    """What stays when a program is tuned, and what does not: its tunables, the platform's among them, with values.

    How a field is stored is tuned like them, by the name `<field> stored in`: fewer bits of a page buy more pages at
    the same cost. Never among them is the budget, which the platform fits. `digest` leaves out names, docstrings and
    values.
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
    stored = {field + STORED: kind for field, kind in kinds(Source.parse(text, head_dim=1)).items()}
    values_of = {name: program.values[name] for name in free} | stored
    tunables = {name: _searched(name, program) for name in free}
    tunables |= {name: Choice(kind, tuple(dict.fromkeys((*KINDS, kind)))) for name, kind in stored.items()}
    stays = [program.values[name] for name in KEPT if name in PLATFORM_TUNABLES]
    digest = digest_of([_bare(text, program.budget), stays])
    return Skeleton(digest, tuple(tunables.items()), tuple(values_of.items()))


def rewrite(source: Source, values: Mapping[str, Value]) -> None:
    """Give a program other values of what its skeleton lets be tuned."""
    stored = {name.removesuffix(STORED): str(kind) for name, kind in values.items() if name.endswith(STORED)}
    for field, kind in stored.items():
        store(source, field, kind)
    numbers = {name: value for name, value in values.items() if not name.endswith(STORED)}
    source.bake(numbers, {name: str(tunable) for name, tunable in PLATFORM_TUNABLES.items()})


def _searched(name: str, program: Program) -> Tunable:
    """Give a tunable in the range that is searched."""
    tunable, value = program.tunables[name], program.values[name]
    if name not in PLATFORM or not isinstance(tunable, Int) or not isinstance(value, int):
        return tunable
    low, high = PLATFORM[name]
    low, high = max(min(low, value), tunable.low), min(max(high, value), tunable.high)
    return Int(value, low, high, log=low > 0)


def _bare(text: str, budget: str | None) -> str:
    """Write a text without names, docstrings, declarations of platform tunables, defaults and kinds of fields."""
    source = Source.parse(text, head_dim=1)
    source.describe("Rule", "", "")
    platform = {name for name in PLATFORM_TUNABLES if name != budget}
    for name, call in source.tunables.items():
        if name not in platform:
            set_default(call, 0)
    for field in kinds(source):
        store(source, field, UNSAID)
    body = source.program.body
    body[:] = [node for node in body if not (isinstance(node, ast.Assign) and _target(node) in platform)]
    return source.text()


def _target(node: ast.Assign) -> str:
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
