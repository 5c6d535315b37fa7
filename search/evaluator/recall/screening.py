"""The screen: recall on a part of the recordings, the signature of what was attended to there, and what is junk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from search.behaviour import UNIT, sketch
from search.evaluator.recall.figures import Rows, rows, summary
from vortex_dsl.graph.rewrite import rewritten
from vortex_dsl.ops import RANKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.evaluator.recall.figures import Asking
    from search.records import Measurement
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.graph.interner import Interner
    from vortex_dsl.node import Node

ROUNDING = 1e-5  # of shares that are added up in another order


@dataclass(frozen=True)
class Screened:
    """Recall's figures of pages (`figures.measure`) on a part, the signature, and why the program is junk, if it is."""

    measurements: list[Measurement]
    signature: str
    objection: str


def screen(graph: Graph, asking: Asking) -> Screened:
    """Measure a part, sketch what is attended to in layers that choose, and object to what chance does as well.

    Raises LookupError for a choice that no layer makes.
    """
    found = [rows(graph, asking.model, dense) for dense in asking.dense]
    measured = summary(found, asking)
    return Screened(measured, _signature(graph, asking, found), _objection(graph, asking, measured))


def _signature(graph: Graph, asking: Asking, found: Sequence[Rows]) -> str:
    """Sketch {(row, tokens)}, a row being one text and KV head at one step in one layer.

    Reserved pages count, so that rules of other sinks or windows differ. Dense layers do not: theirs are all pages,
    and many times those of layers that choose.
    """
    pairs, before = [], 0
    for dense, each in zip(asking.dense, found, strict=True):
        sparse = torch.tensor([layer >= graph.dense_layers for layer in dense.layers])
        attended = (each.attended & sparse[:, None, None, None]).flatten(0, 2)
        row, page = attended.nonzero().T
        pairs.append(torch.stack([row + before, page]))
        before += len(attended)
    row, page = torch.cat(pairs, 1).numpy()
    per_page = graph.page_size // UNIT
    units = page[:, None] * per_page + range(per_page)
    return sketch(row.repeat(per_page), units.ravel())


def _objection(graph: Graph, asking: Asking, measured: Sequence[Measurement]) -> str:
    """Say why the choice is worth nothing, in a sentence: none is made, or it keeps no more than one by lot would."""
    value = {each.name: each.value for each in measured}
    mass, by_chance = value["mass"], value["random_mass"]
    if value["oracle_mass"] - by_chance < ROUNDING:  # whatever is chosen, as much is kept
        every = value["pages_attended"] > value["pages_dense"] - ROUNDING
        return "" if every else "it chooses no page: all that it keeps is what its reserved pages hold"
    if mass > by_chance + ROUNDING:
        return ""
    told = f"it keeps {mass:.3f} of the attention, and as many pages drawn by lot would keep {by_chance:.3f}"
    negated = _negated(graph)
    if negated is graph:
        return told
    other = _mass(negated, asking)
    better = f"; its order is reversed: with the score negated it would keep {other:.3f}" if other > by_chance else ""
    return f"{told}{better}"


def _mass(graph: Graph, asking: Asking) -> float:
    figures = summary([rows(graph, asking.model, dense) for dense in asking.dense], asking)
    return next(each.value for each in figures if each.name == "mass")


def _negated(graph: Graph) -> Graph:
    """Give the program that takes the worst of every score for the best; itself where none is ranked by a score."""

    def visit(interner: Interner, node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op not in RANKED:
            return None
        place = RANKED[node.op]
        score = interner.make("neg", (args[place],))
        return interner.make(node.op, (*args[:place], score, *args[place + 1 :]), node.attrs)

    return rewritten(graph, visit)
