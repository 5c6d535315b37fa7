"""What an engine has decoded since its counters began anew, and what a program may read for it: rows beside others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from search.records import Measurement

if TYPE_CHECKING:
    from vortex_dsl.graph.graph import Graph

SLACK_PAGES = 1.0  # of a mean over layers whose windows are limited, or over rounded budgets


@dataclass
class Decoded:
    """Requests that were answered: the tokens of each prompt, and how many tokens were decoded at which length.

    `num_preemptions`: of an engine since its start, none of which a stage survives.
    """

    prompts: list[int] = field(default_factory=list)
    lengths: Counter[int] = field(default_factory=Counter)
    num_preemptions: int = 0

    def add(self, prompt: int, answer: int) -> None:
        """Add a request with a prompt of so many tokens and an answer of so many, the first of which is prefill's."""
        if answer > 1:
            self.prompts.append(prompt)
            self.lengths.update(range(prompt + 1, prompt + answer))

    def measurements(self) -> list[Measurement]:
        """Say at which lengths prompts were drawn, and that no request was preempted."""
        number = len(self.prompts)
        return [
            Measurement("shortest_prompt", float(min(self.prompts, default=0)), num_samples=number),
            Measurement("longest_prompt", float(max(self.prompts, default=0)), num_samples=number),
            Measurement("preemptions", float(self.num_preemptions), num_samples=number),
        ]


@dataclass(frozen=True)
class Done:
    """What an engine did since its counters began anew: those of every layer, and what was decoded."""

    layers: list[dict[str, int]]
    decoded: Decoded


def claimed_pages(graph: Graph, decoded: Decoded, num_layers: int) -> float:
    """Give the pages that a program's budget lets a decoded token read at most, in the mean over tokens and layers."""
    from vortex_dsl.analysis.cost import cost_of

    by_pages: Counter[int] = Counter()
    for length, number in decoded.lengths.items():
        by_pages[-(-length // graph.page_size)] += number
    read = sum(
        number * cost_of(graph, pages * graph.page_size, num_layers).pages_read for pages, number in by_pages.items()
    )
    return read / max(1, by_pages.total())
