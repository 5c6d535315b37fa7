"""What can be told of a budget without running it: how much a rule reads at every length between those judged.

Answers are judged at some lengths and speed is timed at some, and costs are compared at a few. A budget that knows the
number of pages could be large where answers are judged and small where it costs, so every number of pages is looked at.
"""

from __future__ import annotations

import random
from functools import lru_cache
from operator import le
from typing import TYPE_CHECKING

from search.records import Stage
from search.workloads import LARGEST_PAGE
from vortex_dsl.analysis.budget import Budget, depends_on_the_cache
from vortex_dsl.analysis.cost import OF_LAYERS, cost_of
from vortex_dsl.analysis.schedule import schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records import Workload
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.node import Node

ANSWERING = (Stage.FIDELITY, Stage.PROBE)  # stages whose answers rank a program; retrieval has a gate of its own
JUDGED = (*ANSWERING, Stage.RETRIEVAL, Stage.TASK, Stage.CHECK, Stage.SERVE)
AT_MOST = (Stage.RETRIEVAL, Stage.TASK)  # stages whose texts are not as long as their lengths say, but up to that
MOST_CUT = 2 * LARGEST_PAGE  # tokens by which a prompt that is timed may be shorter
MOST_DECODED = 64  # tokens after a prompt, where a workload does not say how many
FALLS = 0.02  # of what was read at a shorter length, beside a page: rounding and no more
SHORT_OF = 0.02  # of a cost ratio
MOST_LENGTHS = 512  # that are looked at beside those of texts that are known
MOST_RUN = 1024  # tokens of a text that are looked at page by page


def objection(graph: Graph, workloads: Sequence[Workload], num_layers: int, ratio: float) -> str:
    """Say why what a rule reads is not what it is judged by, in a sentence; nothing where it is.

    graph: of the program with the budget that is judged at the cost `ratio`, 0 where that is as written.
    """
    judged = [workload for workload in workloads if workload.stage in JUDGED]
    told = _dearer(graph, judged, num_layers, ratio) or unsteady(graph, judged, num_layers)
    return told or ("" if ratio else _dense(graph, judged, num_layers))


def unsteady(graph: Graph, judged: Sequence[Workload], num_layers: int) -> str:
    """Say where a rule reads, or looks at, another number of pages than can be told of its length alone, or fewer."""
    return _uncounted(graph, judged, num_layers) or _falls(graph, judged, num_layers)


def _uncounted(graph: Graph, judged: Sequence[Workload], num_layers: int) -> str:
    """Object to refinements of as many pages as scores or states decide: an engine counts what is attended to."""
    last = max(length for workload in judged for length in workload.all_lengths)
    for budget, _ in _budgets(graph, last, num_layers):
        found = next((each for each in _refined(graph) if not budget.is_known(each)), None)
        if found is not None:
            return (
                f"how many pages of '{found.op}' its refinement looks at cannot be told beforehand on every KV head, "
                f"{budget.chosen(found):,} are charged, and nothing counts them where it is timed: let topk choose "
                "them, of a number that is known"
            )
    return ""


def _falls(graph: Graph, judged: Sequence[Workload], num_layers: int) -> str:
    """Object to what is less than at a shorter length."""
    if not _knows(graph, ("page.count",)):
        return ""
    most = [0.0] * len(_read(graph, 1, num_layers))
    for tokens in _lengths(judged, graph):
        read = _read(graph, tokens, num_layers)
        for pages, before in zip(read, most, strict=True):
            if pages < before * (1 - FALLS) - 1:
                return (
                    f"at {tokens:,} tokens it reads {pages:,.0f} pages, and {before:,.0f} at a shorter length: what it "
                    "is timed on is not what is judged; let the budget never fall as page.count grows"
                )
        most = [max(pair) for pair in zip(read, most, strict=True)]
    return ""


def _dearer(graph: Graph, judged: Sequence[Workload], num_layers: int, ratio: float) -> str:
    """Object to what costs more between the lengths at which costs are compared."""
    if not _knows(graph, ("page.count",)):
        return ""
    compared = [length for workload in judged if workload.stage is Stage.CHECK for length in workload.all_lengths]
    dearest = [max(shares) for shares in zip(*(_shares(graph, each, num_layers) for each in compared), strict=True)]
    for tokens in _lengths(judged, graph):
        shares = _shares(graph, tokens, num_layers)
        if tokens < min(compared) or all(map(le, shares, dearest)):
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
        if lengths and all(_shares(graph, each, num_layers)[0] == 1 for each in lengths):
            told = ", ".join(f"{each:,}" for each in sorted(set(lengths)))
            return (
                f"its budget covers every page at all lengths of {workload.stage.value} ({told} tokens): its answers "
                "are dense attention's; give it a smaller budget, or longer texts"
            )
    return ""


def _knows(graph: Graph, names: Sequence[str]) -> bool:
    """Say whether anything in select, a budget for one, depends on a scalar of these names."""
    return any(node.op == "input" and node.attr("name") in names for node in graph.select_nodes)


def _lengths(judged: Sequence[Workload], graph: Graph) -> list[int]:
    """Give lengths at which texts are judged, shorter ones first: one for each number of pages that known ones have.

    And of those between, where others may lie that are held out, one for each number of pages, or as many as are drawn.
    A rule whose budget was made for those that are drawn would be another one, for which others are.
    """
    size, runs = graph.page_size, [_run(workload, length) for workload in judged for length in workload.all_lengths]
    first, last = min(run[0] for run in runs), max(run[-1] for run in runs)
    every = range(first, last, size)
    drawn = random.Random(graph.digest).sample(every, min(len(every), MOST_LENGTHS))
    known = (length for run in runs if len(run) <= MOST_RUN for length in (*run[::size], run[-1]))
    return sorted({-(-tokens // size): tokens for tokens in (*drawn, last, *known)}.values())


def _run(workload: Workload, length: int) -> range:
    """Give the lengths that texts have while they are judged: from a prompt to the end of what follows it."""
    if workload.stage in AT_MOST:
        return range(1 if workload.stage is Stage.TASK else max(1, length // 2), length + 1)
    first = max(1, length - MOST_CUT) if workload.stage is Stage.SERVE else length
    return range(first, length + (workload.num_decoded or MOST_DECODED) + 1)


def _shares(graph: Graph, tokens: int, num_layers: int) -> list[float]:
    """Give the shares of all pages that `_read` gives the numbers of."""
    return [pages / -(-tokens // graph.page_size) for pages in _read(graph, tokens, num_layers)]


@lru_cache(maxsize=4096)
def _read(graph: Graph, tokens: int, num_layers: int) -> tuple[float, ...]:
    """Give the pages that a layer which chooses attends to, and those that each of its refinements looks at.

    In the mean over those layers, as `cost_of` counts them.
    """
    budgets = _budgets(graph, tokens, num_layers)
    layers = sum(number for _, number in budgets)
    attended, *refined = (
        sum(budget.chosen(each) * number for budget, number in budgets) / layers
        for each in (graph.selection, *_refined(graph))
    )
    return budgets[0][0].reserved + attended, *refined


def _budgets(graph: Graph, tokens: int, num_layers: int) -> list[tuple[Budget, int]]:
    """Give the budgets of layers that choose, each with the number of layers that use its choice."""
    num_pages, first = -(-tokens // graph.page_size), graph.dense_layers
    reserved, last = min(num_pages, graph.sink + graph.window), max(num_layers, first + 1)
    starts = range(first, last, graph.share_layers if _knows(graph, OF_LAYERS) else last)
    return [(Budget(num_pages, reserved, at, last), min(starts.step, last - at)) for at in starts]


@lru_cache(maxsize=256)
def _refined(graph: Graph) -> tuple[Node, ...]:
    """Give the selections whose pages a refinement looks at, and no others."""
    stages = (stage for stage in schedule(graph) if stage.kind == "score")
    return tuple(dict.fromkeys(stage.among for stage in stages if stage.among is not None))
