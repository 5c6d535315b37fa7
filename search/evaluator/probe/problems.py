"""Which problems a probe workload asks: drawn once, the same wherever it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.evaluator.probe import chains

if TYPE_CHECKING:
    from search.evaluator.probe.chains import Problem
    from search.records import Workload


def problems_of(workload: Workload, seed: int) -> list[Problem]:
    """Share a workload's prompts out evenly over the kinds of chains, in the order of the kinds."""
    each = max(1, workload.num_sequences // len(chains.KINDS))
    return [
        problem
        for kind in chains.KINDS
        for problem in chains.make_problems(kind, each, workload.num_tokens, seed, workload.split)
    ]
