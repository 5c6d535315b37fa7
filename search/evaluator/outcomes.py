"""What a stage makes of a program in a worker, before the ledger's key is put to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.records import Measurement, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from search.evaluator.intervals import Interval


@dataclass(frozen=True)
class Outcome:
    """An evaluation without its key: see `search.records.Evaluation`."""

    status: Status = Status.OK
    message: str = ""
    measurements: tuple[Measurement, ...] = ()
    correct: str = ""
    answers: str = ""


class DenseFailedError(Exception):
    """vLLM's own backend failed, which is never the program's fault; `status` is the dense engine's own."""

    def __init__(self, message: str, status: Status = Status.INFRASTRUCTURE) -> None:
        super().__init__(message)
        self.status = status


def measured(name: str, interval: Interval) -> Measurement:
    """Give an interval a name."""
    return Measurement(name, interval.value, interval.low, interval.high, interval.num_samples)


def plain(measurements: Iterable[Measurement]) -> list[list[Any]]:
    """Write measurements as JSON can hold them; `outcome_of` reads them again."""
    return [[m.name, m.value, m.low, m.high, m.num_samples] for m in measurements]


def outcome_of(reply: dict[str, Any]) -> Outcome:
    """Read an engine's reply; a figure that is not finite is a wrong result, not a figure.

    A reply without "status" is OK.
    """
    measurements = tuple(Measurement(*row) for row in reply["measurements"])
    odd = [m.name for m in measurements if not math.isfinite(m.value)]
    if odd:
        return Outcome(Status.WRONG_RESULT, f"not a finite number: {', '.join(odd)}")
    message, correct, answers = (str(reply.get(name, "")) for name in ("message", "correct", "answers"))
    return Outcome(Status(reply.get("status", Status.OK)), message, measurements, correct, answers)
