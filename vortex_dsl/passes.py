"""Passes to canonical form, read top to bottom. Each gives a graph that chooses the same pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from vortex_dsl.graph import Graph

PASSES: tuple[Callable[[Graph], Graph], ...] = ()


def canonical(graph: Graph) -> Graph:
    """Run every pass, and the verifier after each."""
    verify(graph)
    for transform in PASSES:
        graph = transform(graph)
        verify(graph)
    return graph
