"""What became of a submission: refused, waiting for a step, measured so far, finished."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from search.records import Status
from search.report.wording import cut, ended
from search.stages import has_stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.records import Evaluation, Measurement, Record, Submission

PARTS = ("_layer_", "_kind_")  # in names of figures of a part, which `show` tells
MAX_MESSAGE = 400  # characters


class State(StrEnum):
    """How far a submission is."""

    REFUSED = "refused"
    WAITING = "waiting"  # for a step: a running campaign gives it the next one
    UNDER_WAY = "under way"
    FINISHED = "finished"  # no stage is left


@dataclass(frozen=True)
class Result:
    """What a stage made of it at a cost ratio, 0 for as written."""

    stage: str
    ratio: float
    status: str
    message: str
    measured: tuple[Measurement, ...]

    def __str__(self) -> str:
        figures = ", ".join(f"{each.name} {each.value:.4g}{_interval(each)}" for each in self.measured)
        at = f" at {self.ratio:g}x" if self.ratio else ""
        told = ": ".join(part for part in (self.message, figures) if part)
        return f"* {self.stage}{at}: {self.status}{f'; {told}' if told else ''}"


@dataclass(frozen=True)
class Fate:
    """How far a submission is, with its reasons where it was refused and its results so far, of the search split alone.

    `submission` is 0 where it was refused at the door and nothing is kept of it.
    """

    submission: int
    state: State
    reasons: tuple[str, ...] = ()
    step: int | None = None
    candidate: int | None = None
    name: str = ""
    results: tuple[Result, ...] = ()

    def told(self) -> str:
        """Say it in a few lines."""
        named = f"submission {self.submission}" if self.submission else "the program"
        at = "" if self.step is None else f" (step {self.step})"
        known = f": {self.name}, candidate {self.candidate}" if self.candidate else ""
        reasons = [f"* {each}" for each in self.reasons]
        return "\n".join([f"{named} is {self.state}{at}{known}", *reasons, *map(str, self.results)])


def fate_of(submission: Submission, record: Record | None, is_finished: Callable[[int], bool]) -> Fate:
    """Tell how far a submission is; `record`: of the step that it took, None where that is not recorded yet.

    `is_finished` says whether the loop's gates leave no stage to a step, and is asked only where they decide.
    """
    if record is None:
        return Fate(submission.id, State.WAITING, step=submission.step)
    candidate = record.candidate
    if candidate.status is not Status.OK:
        return Fate(submission.id, State.REFUSED, (candidate.message,), candidate.step, candidate.id, candidate.name)
    is_through = has_stopped(record) or is_finished(candidate.step)
    state = State.FINISHED if is_through else State.UNDER_WAY
    results = tuple(_result(each) for each in record.evaluations)
    return Fate(submission.id, state, (), candidate.step, candidate.id, candidate.name, results)


def _result(evaluation: Evaluation) -> Result:
    whole = tuple(each for each in evaluation.measurements if not any(part in each.name for part in PARTS))
    message = cut(evaluation.message, MAX_MESSAGE)
    return Result(evaluation.key.stage, evaluation.ratio, evaluation.status, message, whole)


def _interval(measurement: Measurement) -> str:
    ends = ended(measurement.low, measurement.high, "{:.4g}".format, " to ")
    return f" ({ends[1:-1]})" if ends else ""
