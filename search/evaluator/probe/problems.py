"""Which problems a probe workload asks: drawn once, the same wherever it is asked."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from search.evaluator.probe import chains

if TYPE_CHECKING:
    from search.evaluator.probe.chains import Problem
    from search.records import Workload


def problems_of(workload: Workload, seed: int) -> list[Problem]:
    """Share a workload's prompts out over the kinds of chains and over its lengths, in the order of the kinds.

    Prompt by prompt the kinds take turns, and after each turn every kind goes on to the next length, so that no count
    of kinds and of lengths leaves a pair of them out for ever.
    """
    kinds, lengths = chains.KINDS, workload.all_lengths
    asked = Counter(
        (i % len(kinds), (i % len(kinds) + i // len(kinds)) % len(lengths)) for i in range(workload.num_sequences)
    )
    return [
        problem
        for (kind, length), num in sorted(asked.items())
        for problem in chains.make_problems(kinds[kind], num, lengths[length], seed, workload.split)
    ]
