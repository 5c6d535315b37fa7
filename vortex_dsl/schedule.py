"""A choice of pages as stages in the order of work: scoring is cut where pages are mixed, and ends in a selection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vortex_dsl.node import LEAVES, Node, reachable
from vortex_dsl.stages import mixes_pages
from vortex_dsl.values import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vortex_dsl.graph import Graph


@dataclass(frozen=True)
class Stage:
    """Some of select's nodes, operands first, that can run in one kernel.

    A `score` stage goes on until pages are mixed, and its last nodes may do so; a `choose` stage is one selection;
    `remember` writes the states. `among` is the selection whose pages a refinement is computed on, None for all.
    """

    kind: Literal["score", "choose", "remember"]
    nodes: tuple[Node, ...]
    among: Node | None = None

    @property
    def reads(self) -> tuple[Node, ...]:
        """Give what the stage reads that it does not compute: leaves, and results of earlier stages."""
        return tuple(dict.fromkeys(arg for node in self.nodes for arg in node.args if arg not in self.nodes))

    def __str__(self) -> str:
        names = " ".join(node.op for node in self.nodes)
        return f"{self.kind}: {names}" + (f", on the pages of {self.among.op}" if self.among else "")


def schedule(graph: Graph) -> tuple[Stage, ...]:
    """Cut select into stages."""
    cutter = _Cutter(graph)
    cutter.select(graph.selection)
    cutter.score([value for _, value in graph.updates], None)
    if graph.updates:
        cutter.stages.append(Stage("remember", ()))
    return tuple(cutter.stages)


def is_limited(selection: Node) -> bool:
    """Whether a selection's score is only computed on the pages of the selection that it refines."""
    return selection.op == "refine" and not any(map(mixes_pages, reachable((selection.args[1],), stop="field")))


class _Cutter:
    """Walks the selections, the refined ones first; `everywhere` is what some stage needs on all pages."""

    def __init__(self, graph: Graph) -> None:
        self.stages: list[Stage] = []
        self._done: set[Node] = set()
        self._depth = _depths(graph.select_nodes)
        selections = [node for node in graph.select_nodes if node.type.kind is Kind.SELECTION]
        scores = [arg for node in selections if not is_limited(node) for arg in _values(node)]
        self._everywhere = set(reachable((*scores, *(value for _, value in graph.updates)), stop="field"))

    def select(self, selection: Node) -> None:
        """Cut a selection and all that it waits for."""
        parts = [arg for arg in selection.args if arg.type.kind is Kind.SELECTION]
        for part in parts:
            self.select(part)
        if selection in self._done:
            return
        among = parts[0] if is_limited(selection) else None
        self.score(_values(selection), among)
        self._done.add(selection)
        if selection.args:
            self.stages.append(Stage("choose", (selection,), among))

    def score(self, values: Iterable[Node], among: Node | None) -> None:
        """Cut what has not been computed yet of some values."""
        missing = [node for node in reachable(tuple(values), stop="field") if node not in self._done]
        missing = [node for node in missing if node.op not in LEAVES]
        self._cut([node for node in missing if among is None or node in self._everywhere], None)
        self._cut([node for node in missing if among is not None and node not in self._everywhere], among)

    def _cut(self, nodes: list[Node], among: Node | None) -> None:
        for depth in sorted({self._depth[node] for node in nodes}):
            self.stages.append(Stage("score", tuple(node for node in nodes if self._depth[node] == depth), among))
        self._done.update(nodes)


def _values(selection: Node) -> list[Node]:
    return [arg for arg in selection.args if arg.type.kind is not Kind.SELECTION]


def _depths(nodes: tuple[Node, ...]) -> dict[Node, int]:
    """Count how many times pages were mixed before each node."""
    depth: dict[Node, int] = {}
    for node in nodes:
        below = () if node.op in LEAVES else node.args
        depth[node] = max((depth[arg] + mixes_pages(arg) for arg in below), default=0)
    return depth
