"""Leaders and their simplifications: programs that a part less makes of them, and that choose the same pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.evaluator import intervals
from search.ranking.comparison import TEXT, numbered
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records import Evaluation, Measurement, Record

SIMPLER = "leave_out"  # the operator of what is proposed after a search: a leader with a part less
FIGURES = {Stage.FIDELITY: "kl", Stage.PROBE: "accuracy", Stage.RETRIEVAL: "accuracy", Stage.SERVE: "speedup"}
LESS_IS_BETTER = (Stage.FIDELITY,)


def is_simpler(record: Record) -> bool:
    """Say whether a candidate was proposed to simplify a leader."""
    return record.candidate.proposal.operator == SIMPLER


def num_searched(records: Sequence[Record]) -> int:
    """Give how many steps are the search's: what simplifies its leaders comes after them."""
    return next((record.candidate.step for record in records if is_simpler(record)), len(records))


def replaced(records: Sequence[Record], ratio: float) -> set[int]:
    """Give the steps whose place at a cost ratio a simplification of them takes."""
    found = (stands_for(each, records, ratio) for each in records if is_simpler(each))
    return {each.candidate.step for each in found if each is not None}


def stands_for(simpler: Record, records: Sequence[Record], ratio: float) -> Record | None:
    """Give the longer one of these records whose place a candidate takes at a cost ratio, None where there is none."""
    if not (is_simpler(simpler) and any(simpler.evaluation(stage, ratio) for stage in FIGURES)):
        return None
    (digest,) = simpler.candidate.proposal.parents
    admitted = (each for each in records if each.candidate.status is Status.OK)
    longer = next((each for each in admitted if each.candidate.program_digest == digest), None)
    return longer if longer is not None and takes_over(simpler, longer, ratio) else None


def takes_over(simpler: Record, other: Record, ratio: float) -> bool:
    """Say whether a simplification takes the place of what it simplifies at a cost ratio.

    It has no more operations, and nothing that was measured of both tells that it is worse. Of what both answered one
    by one, the mean difference may be on either side of 0 by its interval; where nothing is paired, intervals have to
    overlap. What was measured of the longer one alone tells against it, speed aside.
    """
    if num_operations(simpler) > num_operations(other):
        return False
    known = [(stage, other.evaluation(stage, ratio)) for stage in FIGURES]
    measured = [(stage, each) for stage, each in known if each is not None and each.status is Status.OK]
    return bool(measured) and all(_is_no_worse(simpler.evaluation(stage, ratio), each) for stage, each in measured)


def num_operations(record: Record) -> int:
    """Give the operations of a program, 0 where it was never checked."""
    return int(record.value(Stage.CHECK, "operations") or 0)


def _is_no_worse(mine: Evaluation | None, theirs: Evaluation) -> bool:
    stage = theirs.key.stage
    if mine is None:
        return stage is Stage.SERVE  # a leader is timed in the end
    found, known = (each.measurement(FIGURES[stage]) for each in (mine, theirs))
    if mine.status is not Status.OK or found is None:
        return False
    if known is None:
        return True
    low, high = _gain(mine, theirs) or _apart(found, known)
    return low <= 0 if stage in LESS_IS_BETTER else high >= 0


def _gain(mine: Evaluation, theirs: Evaluation) -> tuple[float, float] | None:
    """Give the interval of the mean difference over texts or questions, None where they are not the same."""
    a, b = _pairs(mine), _pairs(theirs)
    if a.keys() != b.keys():
        return None
    found = intervals.mean([a[each] - b[each] for each in a]) if a else None
    return None if found is None or found.low is None or found.high is None else (found.low, found.high)


def _pairs(evaluation: Evaluation) -> dict[int, float]:
    return numbered(evaluation, TEXT) or {i: float(mark) for i, mark in enumerate(evaluation.correct)}


def _apart(found: Measurement, known: Measurement) -> tuple[float, float]:
    """Give the ends of a difference, as far as both intervals allow it."""
    (low, high), (least, most) = _ends(found), _ends(known)
    return low - most, high - least


def _ends(found: Measurement) -> tuple[float, float]:
    return (found.value if found.low is None else found.low), (found.value if found.high is None else found.high)
