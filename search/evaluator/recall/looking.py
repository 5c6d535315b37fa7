"""A quick look at a program: recall's figures at one step, with what the best pages hold beside what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.evaluator.recall.figures import by_kind, by_layer, rows, summary

if TYPE_CHECKING:
    from search.evaluator.recall.figures import Asking
    from search.records import Measurement
    from vortex_dsl.graph.graph import Graph


def look(graph: Graph, asking: Asking) -> list[Measurement]:
    """Give recall's figures of pages (`figures.measure`), `oracle_mass_layer_<i>`, and both masses by kind of text.

    Raises LookupError for a choice that no layer makes.
    """
    found = [rows(graph, asking.model, dense) for dense in asking.dense]
    kept, best = ([each.figures[name] for each in found] for name in ("mass", "oracle_mass"))
    return [
        *summary(found, asking),
        *by_layer("oracle_mass", best, asking),
        *by_kind("mass", kept, asking),
        *by_kind("oracle_mass", best, asking),
    ]
