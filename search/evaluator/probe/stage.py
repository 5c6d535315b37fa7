"""The probe stage in a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.evaluator.arms import asked_of
from search.evaluator.outcomes import Outcome, outcome_of

if TYPE_CHECKING:
    from search.evaluator.arms import Arms
    from search.records import EvaluationTask


def run(arms: Arms, task: EvaluationTask) -> Outcome:
    """Let the program answer the chains."""
    return outcome_of(arms.sparse(task).call("probe", asked_of(task), arms.limits.probe_s))
