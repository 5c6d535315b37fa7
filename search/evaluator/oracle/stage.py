"""The oracle stage in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.evaluator.outcomes import Outcome, outcome_of

if TYPE_CHECKING:
    from search.evaluator.arms import Arms
    from search.records import EvaluationTask


def run(arms: Arms, task: EvaluationTask) -> Outcome:
    """Judge what serves the program, by an engine that runs already if there is one."""
    args = {"text": task.text, "values": task.values, "seed": task.key.seed}
    return outcome_of(arms.sparse(task).call("oracle", args, arms.limits.oracle_s))
