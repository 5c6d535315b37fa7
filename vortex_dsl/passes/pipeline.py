"""What happens to a program between its text and its kernels: named passes, read top to bottom.

Each takes a graph and gives one that chooses the same pages; the verifier looks at what each one gives. The digest is
that of the canonical graph, which no length of the model has touched; what is fitted to a shape after it keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vortex_dsl.graph.verify import verify
from vortex_dsl.passes.axes import name_axes
from vortex_dsl.passes.contractions import contract
from vortex_dsl.passes.hoist import hoist
from vortex_dsl.passes.increasing import strip_increasing_maps
from vortex_dsl.passes.merging import drop_dead_code, fold_known_numbers, merge_equal_operations
from vortex_dsl.passes.states import merge_states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.node import Node


@dataclass(frozen=True)
class Pass:
    """One step of the compiler, named and explained by its function."""

    run: Callable[[Graph], Graph]

    @property
    def name(self) -> str:
        """Give its name."""
        return self.run.__name__

    @property
    def doc(self) -> str:
        """Give the first line of what it says of itself."""
        return (self.run.__doc__ or "").strip().split("\n")[0]


CANONICAL = (
    Pass(drop_dead_code),
    Pass(merge_equal_operations),
    Pass(fold_known_numbers),
    Pass(strip_increasing_maps),
    Pass(contract),
    Pass(name_axes),
    Pass(merge_states),
)  # here the digest is taken
FITTED = (Pass(hoist),)
PASSES = (*CANONICAL, *FITTED)


def steps(raw: Graph) -> Iterator[tuple[Pass, Graph]]:
    """Run the passes on a graph as it was traced, and give what each one made.

    Raises VerifierError, naming the pass, where one made a graph that breaks a rule.
    """
    checked: set[Node] = set()
    verify(raw, "tracing", checked)
    graph = raw
    for each in PASSES:
        before, graph = graph, each.run(graph)
        if graph is not before:
            verify(graph, f"the pass '{each.name}'", checked)
        yield each, graph


def finished(raw: Graph) -> Graph:
    """Run all passes on a graph as it was traced: what every backend runs."""
    *_, (_, graph) = steps(raw)
    return graph
