"""How many candidates come through: the funnel of stages, the time that each takes, and what that gives in an hour.

The ledger does not say which worker measured a row. The first row of each worker waits until keys and values are
recorded, texts are prefilled or an engine starts; so of each stage as many of the first rows are left out as there are
workers, by when they began. A worker that comes to a stage later, or a campaign that was resumed, has another such row
among the others: hence medians, with means beside them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from search.evaluator.intervals import Interval, median_and_spread
from search.records import Stage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from benchmarks.evaluator.campaign import Entry
    from search.records import EvaluationKey

ACCURACY = (Stage.RECALL, Stage.FIDELITY, Stage.RETRIEVAL)
GOALS = {"recall": 3000, "accuracy": 250}  # candidates an hour


@dataclass(frozen=True)
class Step:
    """What came to one stage at one cost ratio on one split; `statuses` count evaluations by how they ended."""

    stage: str
    ratio: float
    split: str
    num: int
    statuses: dict[str, int]
    median_s: float
    total_s: float


@dataclass(frozen=True)
class Rate:
    """What takes how long: seconds of one worker, and how many all workers do in an hour at that pace.

    `num` were measured, beside `num_first` that are left out. `seconds`: the median with its interval of 95 %, None
    where none is left. `goal`: how many an hour are meant to be reached, 0 for none.
    """

    what: str
    num: int
    num_first: int
    seconds: Interval | None
    mean_s: float | None
    per_hour: float | None
    goal: int = 0


def funnel(entries: Sequence[Entry]) -> list[Step]:
    """Count what came to each stage at each cost ratio, references too, and how it ended."""
    steps: dict[tuple[Stage, str, float], list[Entry]] = defaultdict(list)
    for entry in entries:
        steps[entry.stage, entry.split, entry.ratio].append(entry)
    stages = list(Stage)
    order = sorted(steps, key=lambda step: (step[1] != "search", stages.index(step[0]), step[2]))
    return [_step(*step, steps[step]) for step in order]


def _step(stage: Stage, split: str, ratio: float, entries: Sequence[Entry]) -> Step:
    seconds = [entry.evaluation.elapsed_s for entry in entries]
    statuses = Counter(entry.evaluation.status.value for entry in entries)
    median_s = median_and_spread(seconds).value
    return Step(stage.value, ratio, split, len(entries), dict(sorted(statuses.items())), median_s, sum(seconds))


def rates(entries: Sequence[Entry], workers: int, ratios: Sequence[float]) -> list[Rate]:
    """Give the pace of each stage, and of a candidate through recall and through all accuracy stages.

    A candidate is judged at one cost ratio, or at all of `ratios`. `entries`: of the split that proposers see.
    """
    measured = _unique(entry for entry in entries if entry.is_measured and entry.stage is not Stage.CHECK)
    first = first_of_workers(measured, workers)
    found = [
        _rate(f"evaluation: {stage.value}", [[entry] for entry in measured if entry.stage is stage], first, workers)
        for stage in Stage
        if any(entry.stage is stage for entry in measured)
    ]
    for what, stages in (("recall", (Stage.RECALL,)), ("accuracy", ACCURACY)):
        each = [whole for ratio in ratios for whole in candidates(measured, stages, (ratio,))]
        found.append(_rate(f"{what}, at one cost ratio", each, first, workers, GOALS[what]))
        if len(ratios) > 1:
            every = candidates(measured, stages, ratios)
            found.append(_rate(f"{what}, at all {len(ratios)} cost ratios", every, first, workers, GOALS[what]))
    return found


def first_of_workers(entries: Sequence[Entry], workers: int) -> set[EvaluationKey]:
    """Give the rows that waited: of each stage the first that were begun, one for each worker."""
    found: set[EvaluationKey] = set()
    for stage in {entry.stage for entry in entries}:
        begun = sorted((entry for entry in entries if entry.stage is stage), key=lambda entry: entry.begun_s or 0.0)
        found.update(entry.evaluation.key for entry in begun[:workers])
    return found


def candidates(entries: Sequence[Entry], stages: Sequence[Stage], ratios: Sequence[float]) -> list[list[Entry]]:
    """Give all evaluations of each candidate that came through every stage at every ratio."""
    wanted = [(stage, ratio) for stage in stages for ratio in ratios]
    by_candidate: dict[int, dict[tuple[Stage, float], Entry]] = defaultdict(dict)
    for entry in entries:
        by_candidate[entry.candidate][entry.stage, entry.ratio] = entry
    whole = (found for found in by_candidate.values() if all(step in found for step in wanted))
    return [[found[step] for step in wanted] for found in whole]


def _rate(
    what: str, judged: Sequence[Sequence[Entry]], first: Collection[EvaluationKey], workers: int, goal: int = 0
) -> Rate:
    """Give the pace of what takes some evaluations each; whatever holds one of the first is left out."""
    kept = [each for each in judged if not any(entry.evaluation.key in first for entry in each)]
    seconds = [sum(entry.evaluation.elapsed_s for entry in each) for each in kept]
    num_first = len(judged) - len(kept)
    if not seconds:
        return Rate(what, 0, num_first, None, None, None, goal)
    middle = median_and_spread(seconds)
    return Rate(what, len(kept), num_first, middle, fmean(seconds), 3600 * workers / middle.value, goal)


def _unique(entries: Iterable[Entry]) -> list[Entry]:
    """Leave out what two candidates share: it took its time once."""
    return list({entry.evaluation.key: entry for entry in entries}.values())
