"""The nodes of a graph: hash-consed, so that equal operations are one object."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

    from vortex_dsl.values import Type

LEAVES = ("constant", "field", "input", "state")


@dataclass(frozen=True, eq=False)
class Node:
    """One operation: its name in the table, operands, the numbers and axes it was given, and its type."""

    op: str
    args: tuple[Node, ...]
    attrs: tuple[tuple[str, Hashable], ...]
    type: Type

    def attr(self, name: str) -> Any:
        """Give what the operation was given besides operands, by parameter name."""
        return dict(self.attrs)[name]

    @cached_property
    def digest(self) -> str:
        """Identity of the operation and all below it; free of lengths, so it does not depend on the Shape."""
        waiting = [self]
        while waiting:  # operands first: a long program on a thread with little stack must not recurse
            node = waiting[-1]
            before = [arg for arg in node.args if "digest" not in arg.__dict__]
            waiting += before
            if not before and waiting.pop() is not self:
                _ = node.digest  # its operands have theirs; from now on it has its own
        text = f"{self.op}{self.attrs!r}{[arg.digest for arg in self.args]!r}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def number(self) -> float | None:
        """Give the value of a scalar constant, None for anything else."""
        return self.attr("values")[0] if self.op == "constant" else None

    def __repr__(self) -> str:
        return f"<{self.op} {self.type}>"


def reachable(roots: tuple[Node, ...], stop: str = "") -> tuple[Node, ...]:
    """Give all nodes that `roots` need, operands first, in an order fixed by the graph alone.

    Operands of nodes named `stop` are left out.
    """
    order: dict[Node, None] = {}
    stack = list(reversed(roots))
    while stack:
        node = stack[-1]
        waiting = () if node.op == stop else [arg for arg in node.args if arg not in order]
        if waiting:
            stack.extend(reversed(waiting))
            continue
        order[node] = None
        stack.pop()
    return tuple(order)
