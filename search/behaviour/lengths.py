"""What can be told of a budget without running it: how much a rule reads at every length between those judged.

Answers are judged at some lengths and speed is timed at some, and costs are compared at a few. A budget that knows the
number of pages could be large where answers are judged and small where it costs, so every number of pages is looked at.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from search.records import Stage
from vortex_dsl.analysis.budget import Budget, depends_on_the_cache
from vortex_dsl.analysis.cost import OF_LAYERS, cost_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records import Workload
    from vortex_dsl.graph.graph import Graph

ANSWERING = (Stage.FIDELITY, Stage.PROBE)  # stages whose answers rank a program; retrieval has a gate of its own
JUDGED = (*ANSWERING, Stage.RETRIEVAL, Stage.CHECK, Stage.SERVE)
MOST_DECODED = 64  # tokens after a prompt, where a workload does not say how many
FALLS = 0.02  # of what was read at a shorter length, beside a page: rounding and no more
SHORT_OF = 0.02  # of a cost ratio
MOST_LENGTHS = 512  # that are looked at


def objection(graph: Graph, workloads: Sequence[Workload], num_layers: int, ratio: float) -> str:
    """Say why what a rule reads is not what it is judged by, in a sentence; nothing where it is.

    graph: of the program with the budget that is judged at the cost `ratio`, 0 where that is as written.
    """
    judged = [workload for workload in workloads if workload.stage in JUDGED]
    return _unsteady(graph, judged, num_layers, ratio) or ("" if ratio else _dense(graph, judged, num_layers))


def _unsteady(graph: Graph, judged: Sequence[Workload], num_layers: int, ratio: float) -> str:
    """Object to a budget that falls as texts grow, or costs more between the lengths at which costs are compared."""
    if not _knows(graph, ("page.count",)):
        return ""
    compared = [length for workload in judged if workload.stage is Stage.CHECK for length in workload.all_lengths]
    dearest = max(_share(graph, length, num_layers) for length in compared)
    most = 0.0
    for tokens in _lengths(judged, graph.page_size):
        pages = _pages(graph, tokens, num_layers)
        if pages < most * (1 - FALLS) - 1:
            return (
                f"at {tokens:,} tokens it reads {pages:,.0f} pages, and {most:,.0f} at a shorter length: what it is "
                "timed on is not what is judged; let the budget never fall as page.count grows"
            )
        most = max(most, pages)
        if tokens < min(compared) or _share(graph, tokens, num_layers) <= dearest:
            continue
        found = cost_of(graph, tokens, num_layers).ratio
        if found < ratio * (1 - SHORT_OF):
            return (
                f"at {tokens:,} tokens, which texts reach while they are judged, dense attention reads {found:.3g} "
                f"times its bytes instead of {ratio:g}: let the budget follow page.count evenly"
            )
    return ""


def _dense(graph: Graph, judged: Sequence[Workload], num_layers: int) -> str:
    """Object to a program, judged as written, that reads every page wherever a stage judges its answers."""
    if graph.selection.op == "every_page" or depends_on_the_cache(graph):
        return ""
    for workload in judged:
        lengths = workload.all_lengths if workload.stage in ANSWERING else ()
        if lengths and all(_share(graph, each, num_layers) == 1 for each in lengths):
            told = ", ".join(f"{each:,}" for each in sorted(set(lengths)))
            return (
                f"its budget covers every page at all lengths of {workload.stage.value} ({told} tokens): its answers "
                "are dense attention's; give it a smaller budget, or longer texts"
            )
    return ""


def _knows(graph: Graph, names: Sequence[str]) -> bool:
    """Say whether anything in select, a budget for one, depends on a scalar of these names."""
    return any(node.op == "input" and node.attr("name") in names for node in graph.select_nodes)


def _lengths(judged: Sequence[Workload], page_size: int) -> list[int]:
    """Give a length for each number of pages that texts have while they are judged, shorter ones first."""
    ends = [
        (length, length + (workload.num_decoded or MOST_DECODED))
        for workload in judged
        for length in workload.all_lengths
    ]
    first, last = min(start for start, _ in ends), max(end for _, end in ends)
    every = [*range(first, last, page_size), last]
    step = -(-len(every) // MOST_LENGTHS)
    told = {length for workload in judged for length in workload.all_lengths}
    return sorted({*every[::step], *told})


def _share(graph: Graph, tokens: int, num_layers: int) -> float:
    """Give the share of all pages that a layer which chooses reads, in the mean."""
    return _pages(graph, tokens, num_layers) / -(-tokens // graph.page_size)


@lru_cache(maxsize=4096)
def _pages(graph: Graph, tokens: int, num_layers: int) -> float:
    """Give the pages that a layer which chooses reads, in the mean over those, as `cost_of` counts them."""
    num_pages, first = -(-tokens // graph.page_size), graph.dense_layers
    reserved, last = min(num_pages, graph.sink + graph.window), max(num_layers, first + 1)
    starts = range(first, last, graph.share_layers if _knows(graph, OF_LAYERS) else last)
    chosen = [
        Budget(num_pages, reserved, at, last).chosen(graph.selection) * min(starts.step, last - at) for at in starts
    ]
    return reserved + sum(chosen) / (last - first)
