"""What could not be measured by our own fault, and what steps know of it that was measured later after all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from search.records import Evaluation, EvaluationKey, Record


@dataclass(frozen=True)
class Unmeasured:
    """An evaluation that failed by our own fault, so that nothing followed for its step.

    `until`: the first step that may know what was measured since, None while nobody has tried it again. The steps
    before are decided as if nothing ever came of it. `resumed`: by which resumption it was tried again, from 1; several
    may come before one step.
    """

    step: int
    evaluation: Evaluation
    until: int | None = None
    resumed: int | None = None

    @property
    def place(self) -> tuple[int, EvaluationKey]:
        """What tells it apart within a campaign."""
        return self.step, self.evaluation.key


def as_settled(record: Record, unmeasured: Iterable[Unmeasured]) -> Record:
    """Give a record as its step was settled, whoever has measured since what it lacked then."""
    failed = {each.evaluation.key: each.evaluation for each in unmeasured if each.step == record.candidate.step}
    others = (each for each in record.evaluations if each.key not in failed)
    return replace(record, evaluations=(*others, *failed.values())) if failed else record
