"""A program on its way: what has been drawn so far, and what the engine that hosts it has room for."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vortex_dsl.frontend.source import parsed
from vortex_dsl.frontend.vocabulary import IMPORTABLE
from vortex_dsl.storage import scale_bytes, vector_bytes
from vortex_dsl.tunables import PLATFORM_TUNABLES

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping


MODULE = "vortex_dsl"
PAGE_SIZE = 16  # of the engine that hosts the programs; another one costs a fresh engine
# Fields may take this share of a page's own K and V: engines reserve it once, and more would cost a fresh one.
PAGE_BYTES_SHARE = 4
CACHE_BYTES = 2
SCORE_BYTES = 8  # of a page: written by what scores, read by what chooses
RESERVED = sum(int(PLATFORM_TUNABLES[name].default) for name in ("sink", "window"))

# How likely each kind is for vectors along dim; bfloat16 needs no word.
VECTORS = {"bfloat16": 6, "int8": 4, "int4": 6, "fp8_e4m3": 2, "float16": 0.5}
EDGES = {**VECTORS, "int4": 9}  # widths of envelopes, which bear coarse rounding well
NUMBERS = {"bfloat16": 8, "float16": 0.5, "float32": 0.5}  # for numbers without dim, where a scale costs more than bits
COARSE = {"int4": 1}
SIGNS = {"sign": 1}


def field_bytes_limit(head_dim: int) -> int:
    """Give the most bytes that the fields of one page and KV head may take in a hosting engine."""
    return PAGE_SIZE * head_dim * 2 * CACHE_BYTES // PAGE_BYTES_SHARE


def field_bytes_at(ratio: float, head_dim: int, tokens: int) -> int:
    """Give the most bytes of fields that may be read of every page at a cost ratio, if a page is still to be chosen.

    By the cost model: of a page's share of what dense attention reads, what is left by the pages that are always
    attended, the one that is chosen and the scores. At least one byte, at most what a hosting engine has room for.
    """
    page_bytes, num_pages = PAGE_SIZE * head_dim * 2 * CACHE_BYTES, -(-tokens // PAGE_SIZE)
    attended = (RESERVED + 1) / num_pages
    return max(1, min(int(page_bytes * (1 / ratio - attended)) - SCORE_BYTES, field_bytes_limit(head_dim)))


@dataclass
class Draft:
    """What has been drawn. `sub` is the number of sub-pages, 0 for whole pages; `channels` a range of dim.

    most_bytes: that the fields may take which are read of every page.
    """

    rng: random.Random
    head_dim: int
    most_bytes: int
    sub: int = 0
    channels: tuple[int, int] | None = None
    num_bytes: float = 0
    fields: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    updates: dict[str, str] = field(default_factory=dict)
    tunables: dict[str, str] = field(default_factory=dict)
    select: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    ideas: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    @property
    def keys(self) -> str:
        """The keys that a summary is made of: [token, dim], with sub-pages [sub, token, dim]."""
        return "parts" if self.sub else self.tokens

    @property
    def tokens(self) -> str:
        """The keys without sub-pages: [token, dim]."""
        return "keys" if self.channels else "k"

    @property
    def width(self) -> int:
        """How many channels of the keys are looked at."""
        return self.channels[1] - self.channels[0] if self.channels else self.head_dim

    @property
    def num_parts(self) -> int:
        """How many vectors a field made of `keys` has."""
        return max(1, self.sub)

    def store(
        self, name: str, value: str, kinds: Mapping[str, float] = VECTORS, shape: tuple[int, int] | None = None
    ) -> str:
        """Add a field, stored in a kind drawn from `kinds` that has room; give how select reads it.

        `shape`: the number of vectors and their width; one vector per sub-page by default.
        """
        same = [known for known, text in self.fields.items() if text == value or text.startswith(f"{value}.to(")]
        if same:
            return f"page.{same[0]}"
        name = _free(name, self.fields)
        kind = self._kind(kinds, *(shape or (self.num_parts, self.width)))
        self.fields[name] = value + ("" if kind == "bfloat16" else f'.to("{kind}")')
        if kind != "bfloat16":
            self.details.append(f"{name} in {kind}")
        return f"page.{name}"

    def _kind(self, kinds: Mapping[str, float], vectors: int, width: int) -> str:
        """Draw a kind among those that fit; the smallest where none does."""
        sizes = {kind: vectors * (vector_bytes(kind, width) + scale_bytes(kind)) for kind in kinds}
        room = self.most_bytes - self.num_bytes
        fitting = [kind for kind in kinds if sizes[kind] <= room] or [min(sizes, key=lambda kind: sizes[kind])]
        kind = self.rng.choices(fitting, [kinds[each] for each in fitting])[0]
        self.num_bytes += sizes[kind]
        return kind

    def tune(self, name: str, low: float, high: float) -> str:
        """Add a tunable with a random default, whole where the bounds are; give how the program reads it."""
        name = _free(name, self.tunables)
        self.tunables[name] = tunable(self.rng, low, high)
        return f"self.{name}"

    def remember(self, name: str, axes: tuple[str, ...], value: str) -> None:
        """Add a state that is read as `page.<name>`, and what is written to it."""
        self.states[name] = f"State(axes={axes!r})"
        self.updates[name] = value

    def let(self, name: str, value: str) -> str:
        """Keep a value of select under a name of its own."""
        taken = {line.split(" = ")[0] for line in self.select}
        name = _free(name, taken)
        self.select.append(f"{name} = {value}")
        return name


def tunable(rng: random.Random, low: float, high: float) -> str:
    """Write a tunable with a random default, an Int where both bounds are whole numbers."""
    if isinstance(low, int) and isinstance(high, int):
        return f"Int({rng.randint(low, high)}, low={low}, high={high})"
    return f"Float({round(rng.uniform(low, high), 2)}, low={low}, high={high})"


def _free(name: str, taken: object) -> str:
    while name in taken:  # type: ignore[operator]
        name = f"{name}_b"
    return name


def imports(text: str) -> str:
    """Give the import line for the names of the language that a text uses."""
    names = {node.id for node in ast.walk(parsed(text)) if isinstance(node, ast.Name)}
    return f"from {MODULE} import {', '.join(sorted(names & IMPORTABLE, key=_order))}"


def _order(name: str) -> tuple[bool, str]:
    return name.islower(), name
