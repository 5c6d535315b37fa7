"""How a run of a campaign ended, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from search.dispatch import UNFINISHED
from search.records import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.parents import Leader
    from search.records import Evaluation, Record


class End(StrEnum):
    """How a run of a campaign ended."""

    DONE = "done"
    INTERRUPTED = "interrupted"  # drained or stopped: resume continues
    NO_FEASIBLE = "no feasible candidate"
    INFRASTRUCTURE = "infrastructure"  # a proposer or the evaluator is out of order


class OutOfOrderError(Exception):
    """A run cannot go on; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: its end, the leaders (by cost ratio, best first) and what confirmed them, held out.

    `rivals`: the best published rules that lead nowhere, which are measured beside the leaders. `simplified`: leaders
    that stand for longer ones, each with that.
    """

    end: End
    message: str
    num_steps: int
    num_admitted: int
    leaders: tuple[Leader, ...] = ()
    rivals: tuple[Leader, ...] = ()
    confirmations: tuple[Evaluation, ...] = ()
    simplified: tuple[tuple[Record, Record], ...] = ()


def fruitful(missing: str, why: str) -> tuple[End, str]:
    """Say how a run ended that has found something: what could not be measured elsewhere, if anything, or why."""
    return (End.INFRASTRUCTURE, f"{missing}; `vortex resume` makes up for it") if missing else (End.DONE, why)


def fruitless(records: Sequence[Record]) -> tuple[End, str]:
    """Say how a run ended whose candidates nothing tells apart: by our own fault, or since none was good enough."""
    ours = [record for record in records if record.status in (*UNFINISHED, Status.QUARANTINED)]
    if not ours:
        return End.NO_FEASIBLE, "no candidate passed what tells them apart"
    last = ours[-1]
    why = last.evaluations[-1].message if last.evaluations else last.candidate.message
    return End.INFRASTRUCTURE, f"no candidate could be measured: {why}"
