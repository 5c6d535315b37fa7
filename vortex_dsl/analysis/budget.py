"""How many pages a selection chooses at most, in one layer at one length."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from vortex_dsl.node import LEAVES, Node
from vortex_dsl.ops import ENTRIES
from vortex_dsl.values import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.ops.op import Coverage


FLOAT32 = struct.Struct("f")
KV_HEAD = "kv_head.index"
# Budgets are asked for on these: few models have more than eight, and of the others what repeats or has an end is seen
# here as well. The rest is for an engine's counters to tell.
KV_HEADS = (*range(8), 11, 15, 31, 63, 127)
MOST_KV_HEADS = 128


@dataclass(frozen=True)
class Budget:
    """What budgets may depend on: pages, the partial one included, the layer of how many, and the KV head."""

    num_pages: int
    reserved: int
    layer: int
    num_layers: int

    @cached_property
    def _chosen(self) -> dict[Node, int]:
        """What is known already: selections and scalars may have operands in common."""
        return {}

    @cached_property
    def _numbers(self) -> dict[tuple[Node, int], float | None]:
        return {}

    @property
    def candidates(self) -> int:
        """Give the pages that may be chosen."""
        return self.num_pages - self.reserved

    def chosen(self, selection: Node) -> int:
        """Give the candidates that a selection chooses on any KV head, at most; all where the cache decides of them."""
        if selection not in self._chosen:
            self._chosen[selection] = self._most(selection)
        return self._chosen[selection]

    def is_known(self, selection: Node) -> bool:
        """Say whether it chooses as many candidates as are told, whatever is in the cache, and on no KV head more."""
        parts = [arg for arg in selection.args if arg.type.kind is Kind.SELECTION]
        limit = limit_of(selection)
        number = 0.0 if limit is None else self._everywhere(limit)
        if number is None or not all(map(self.is_known, parts)):
            return False
        coverage, chosen = _coverage(selection.op), [self.chosen(part) for part in parts]
        return coverage.most(chosen, number) == coverage.all_of(chosen, number)

    def _everywhere(self, limit: Node) -> float | None:
        """Give the largest that a limit is, None if that is not known, or more on a KV head than is told."""
        told = self._largest(limit)
        if told is None or not _tells_heads_apart(limit):
            return None if told is None else _whole(told)
        numbers = [self.number(limit, head) for head in range(MOST_KV_HEADS)]
        return told if all(number is not None and _whole(number) <= told for number in numbers) else None

    def _most(self, selection: Node) -> int:
        parts = [self.chosen(arg) for arg in selection.args if arg.type.kind is Kind.SELECTION]
        number = self._largest(limit) if (limit := limit_of(selection)) else None
        return int(min(most_chosen(selection.op, parts, number), self.candidates))

    def _largest(self, limit: Node) -> float | None:
        """Give the largest that a limit is on any KV head, None if it depends on what is in the cache on one."""
        if not _tells_heads_apart(limit):
            return self.number(limit)
        numbers = [self.number(limit, head) for head in KV_HEADS]
        known = [_whole(number) for number in numbers if number is not None]
        return max(known) if len(known) == len(numbers) else None

    def number(self, node: Node, kv_head: int = 0) -> float | None:
        """Give a scalar's value on a KV head, None if it depends on what is in the cache."""
        at = node, kv_head if _tells_heads_apart(node) else 0
        if at not in self._numbers:
            self._numbers[at] = self._value(*at)
        return self._numbers[at]

    def _value(self, node: Node, kv_head: int) -> float | None:
        if node.op == "input":
            name = node.attr("name")
            return float(kv_head) if name == KV_HEAD else self._known.get(name)
        if node.op in LEAVES:
            return node.number
        fold, numbers = ENTRIES[node.op].fold, [self.number(arg, kv_head) for arg in node.args]
        if fold is None or any(number is None for number in numbers):
            return None
        try:
            return _as_served(float(fold(*numbers)))  # whole numbers of Python would grow without end
        except (ArithmeticError, ValueError):
            return None

    @property
    def _known(self) -> dict[str, float]:
        return {
            "page.count": float(self.num_pages),
            "layer.index": float(self.layer),
            "layer.count": float(self.num_layers),
        }


class NoPages(Budget):
    """As if every selection chose none: what no value of a budget goes below."""

    def chosen(self, _selection: Node) -> int:
        """Give no candidates."""
        return 0


def most_chosen(op: str, parts: Sequence[float], limit: float | None) -> float:
    """Give the candidates that a selection chooses at most, by what it is made of and its limit, None if unknown."""
    return _coverage(op).most(parts, math.inf if limit is None else _whole(limit))


def limit_of(selection: Node) -> Node | None:
    """Give the number that bounds what a selection chooses, which comes last; None where it has none."""
    last = selection.args[-1] if selection.args else None
    return last if last is not None and last.type.kind is not Kind.SELECTION else None


def covered(selection: Node) -> float:
    """Give up to how many candidates a selection is known to choose all, scored or not."""
    parts = [covered(arg) for arg in selection.args if arg.type.kind is Kind.SELECTION]
    limit = limit_of(selection)
    number = limit.number if limit is not None else None
    return _coverage(selection.op).all_of(parts, 0 if number is None else _whole(number))


def _as_served(number: float) -> float:
    """Give a number as every backend has it, in float32: one that is equal to another only here would hide a budget."""
    try:
        rounded: float = FLOAT32.unpack(FLOAT32.pack(number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)
    return rounded


@lru_cache(maxsize=65_536)
def _tells_heads_apart(node: Node) -> bool:
    """Say whether a value may be another one on another KV head."""
    if node.op == "input":
        return bool(node.attr("name") == KV_HEAD)
    return any(_tells_heads_apart(arg) for arg in node.args)


def _coverage(op: str) -> Coverage:
    coverage = ENTRIES[op].coverage
    if coverage is None:
        raise LookupError(f"'{op}' of the operation table does not say what it covers; give it a coverage")
    return coverage


def _whole(number: float) -> float:
    """Give a limit as selections read it: whole, not negative, and nothing where it is no number."""
    return 0 if math.isnan(number) else max(math.floor(number) if math.isfinite(number) else number, 0)


def depends_on_the_cache(graph: Graph) -> bool:
    """Whether some budget, or a threshold in the place of one, is only known once pages have been scored."""
    known = Budget(num_pages=2, reserved=1, layer=0, num_layers=1)
    return any(
        known.number(limit) is None
        for node in graph.select_nodes
        if node.type.kind is Kind.SELECTION and (limit := limit_of(node)) is not None
    )
