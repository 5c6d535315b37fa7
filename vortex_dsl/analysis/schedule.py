"""A choice of pages as stages in the order of work: scoring is cut where pages are mixed, and ends in a selection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from vortex_dsl.analysis.stages import mixes_pages
from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.values import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vortex_dsl.graph.graph import Graph


@dataclass(frozen=True)
class Cut:
    """Some of select's nodes, operands first, that can run in one kernel.

    A `score` stage goes on until pages are mixed, and its last nodes may do so; a `choose` stage is one selection;
    `remember` writes the states. `among` is the selection whose pages a refinement is computed on, None for all.
    """

    kind: Literal["score", "choose", "remember"]
    nodes: tuple[Node, ...]
    among: Node | None = None

    @cached_property
    def reads(self) -> tuple[Node, ...]:
        """Give what the stage reads that it does not compute: leaves, and results of earlier stages."""
        own = set(self.nodes)
        return tuple(dict.fromkeys(arg for node in self.nodes for arg in node.args if arg not in own))

    def __str__(self) -> str:
        names = " ".join(node.op for node in self.nodes)
        return f"{self.kind}: {names}" + (f", on the pages of {self.among.op}" if self.among else "")


def schedule(graph: Graph) -> tuple[Cut, ...]:
    """Cut select into stages: what is computed on all pages, then selections, each refinement before its own."""
    depth = _depths(graph.select_nodes)
    selections = [node for node in graph.select_nodes if node.type.kind is Kind.SELECTION]
    scores = [arg for node in selections if not is_limited(node) for arg in _values(node)]
    everywhere = _computed((*scores, *(value for _, value in graph.updates)))
    stages: list[Cut] = _cut(everywhere, depth)
    done: set[tuple[Node, Node | None]] = {(node, None) for node in everywhere}
    for selection in selections:
        among = _among(selection)
        own = [node for node in _computed(tuple(_values(selection))) if not {(node, None), (node, among)} & done]
        stages += _cut(own, depth, among)
        done.update((node, among) for node in own)
        if selection.args:
            stages.append(Cut("choose", (selection,), among))
    return (*stages, *([Cut("remember", ())] if graph.updates else []))


def is_limited(selection: Node) -> bool:
    """Whether a selection's score is only computed on the pages of the selection that it refines."""
    return selection.op == "refine" and not any(map(mixes_pages, reachable((selection.args[1],), stop="field")))


def _among(selection: Node) -> Node | None:
    return selection.args[0] if is_limited(selection) else None


def _computed(values: tuple[Node, ...]) -> list[Node]:
    """Give what has to be computed for some values, operands first."""
    return [node for node in reachable(values, stop="field") if node.op not in LEAVES]


def _cut(nodes: list[Node], depth: Mapping[Node, int], among: Node | None = None) -> list[Cut]:
    """Put into one stage what has as many mixtures of pages before it."""
    depths = sorted({depth[node] for node in nodes})
    return [Cut("score", tuple(node for node in nodes if depth[node] == each), among) for each in depths]


def _values(selection: Node) -> list[Node]:
    return [arg for arg in selection.args if arg.type.kind is not Kind.SELECTION]


def _depths(nodes: tuple[Node, ...]) -> dict[Node, int]:
    """Count how many times pages were mixed before each node."""
    depth: dict[Node, int] = {}
    for node in nodes:
        below = () if node.op in LEAVES else node.args
        depth[node] = max((depth[arg] + mixes_pages(arg) for arg in below), default=0)
    return depth
