"""The recall stage in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.evaluator.arms import asked_of
from search.evaluator.outcomes import Outcome, outcome_of

if TYPE_CHECKING:
    from search.evaluator.arms import Arms
    from search.records import EvaluationTask


def run(arms: Arms, task: EvaluationTask) -> Outcome:
    """Measure what the program keeps of the model's attention."""
    return outcome_of(arms.sparse(task).call("recall", asked_of(task), arms.limits.recall_s))
