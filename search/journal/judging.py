"""What became of a hypothesis, by the numbers and their intervals. Nobody's opinion, a model's least of all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from search.campaigns.comparisons import FIGURES
from search.evaluator.intervals import Interval, difference, mean
from search.journal.prediction import PredictionError, parse_prediction
from search.ranking.comparison import MEASURED, TEXT, circumstance, numbered
from search.records import Stage, Status
from search.report.wording import ended

if TYPE_CHECKING:
    from search.journal.entries import Hypothesis
    from search.journal.prediction import Predicted, Prediction
    from search.records import Evaluation, Record


class Verdict(StrEnum):
    """What the numbers say of a hypothesis."""

    CONFIRMED = "confirmed"  # the whole interval of 95 % of each figure lies where it was predicted
    REFUTED = "refuted"  # that of one figure lies wholly elsewhere
    NOT_TOLD_APART = "not told apart"  # one straddles what it is compared with, or has no interval
    NOT_MEASURED = "not measured"  # one was not measured, or can never be


# The verdict of several comparisons is the first of these that one of them has: all must hold, and one may fail.
DECISIVE = (Verdict.REFUTED, Verdict.NOT_MEASURED, Verdict.NOT_TOLD_APART, Verdict.CONFIRMED)
MAX_MESSAGE = 200  # characters of a stage's message


@dataclass(frozen=True)
class Judgement:
    """A verdict and the figures that it rests on, in words."""

    verdict: Verdict
    reason: str


class _MissingError(Exception):
    """A figure that is not there. The message says why."""


def judge(hypothesis: Hypothesis, record: Record, parent: Record | None) -> Judgement:
    """Judge a hypothesis by what was measured of its candidate, and of the first parent where it speaks of it.

    `parent`: None where the candidate has none. Both as proposers see them, without what is held out.
    """
    try:
        prediction = parse_prediction(hypothesis.prediction)
    except PredictionError as error:
        return Judgement(Verdict.NOT_MEASURED, str(error))
    if record.candidate.status is not Status.OK:
        return Judgement(Verdict.NOT_MEASURED, f"the program was refused: {_message(record.candidate.message)}")
    found = [each for predicted in prediction.comparisons for each in _judged(predicted, prediction, record, parent)]
    found.sort(key=lambda each: DECISIVE.index(each.verdict))
    return Judgement(found[0].verdict, "; ".join(each.reason for each in found))


def _judged(predicted: Predicted, prediction: Prediction, record: Record, parent: Record | None) -> list[Judgement]:
    """Judge one comparison at the cost ratio that is named, else at each at which it can be."""
    if prediction.ratio is not None:
        return [_at(predicted, record, parent, prediction.ratio)]
    ratios = sorted({evaluation.ratio for evaluation in record.evaluations}) or [0.0]
    found = [_at(predicted, record, parent, ratio) for ratio in ratios]
    return [each for each in found if each.verdict is not Verdict.NOT_MEASURED] or found[:1]


def _at(predicted: Predicted, record: Record, parent: Record | None, ratio: float) -> Judgement:
    where = f" at {ratio:g}x" if ratio else ""
    try:
        mine = _evaluation(record, predicted.figure, ratio)
        figure = _interval(mine, predicted.figure)
        told = f"{predicted.figure} {_shown(figure)}{where}, predicted {predicted}"
        if predicted.factor:
            theirs = _of_parent(parent, mine)
            told += f" ({_shown(_interval(theirs, predicted.figure))})"
            more = _more_than_parent(predicted, mine, theirs)
            told += f", difference {_shown(more)}" if more.low != more.value else ""
        else:
            more = difference(figure, _exactly(predicted.offset))
    except _MissingError as missing:
        return Judgement(Verdict.NOT_MEASURED, f"{predicted.figure}{where}: {missing}")
    if more.low is None or more.high is None:
        return Judgement(Verdict.NOT_TOLD_APART, f"{told}: it has no interval")
    ends = predicted.holds(more.low), predicted.holds(more.high)
    if all(ends):
        return Judgement(Verdict.CONFIRMED, told)
    return Judgement(Verdict.NOT_TOLD_APART if any(ends) else Verdict.REFUTED, told)


def _more_than_parent(predicted: Predicted, mine: Evaluation, theirs: Evaluation) -> Interval:
    """Give how much more the figure is than predicted of the parent's: text by text where texts were measured.

    Pairs leave out what both find hard, so that less tells two programs apart; of other figures the intervals count.
    """
    factor, offset = predicted.factor, predicted.offset
    if FIGURES[predicted.figure] == (Stage.FIDELITY, "kl"):
        ours, parents = (numbered(each, TEXT) for each in (mine, theirs))
        common = sorted(ours.keys() & parents.keys())
        if len(common) > 1:
            return mean([ours[i] - (factor * parents[i] + offset) for i in common])
    figure, other = (_interval(each, predicted.figure) for each in (mine, theirs))
    low, high = (None if end is None else factor * end + offset for end in (other.low, other.high))
    return difference(figure, Interval(factor * other.value + offset, low, high, other.num_samples))


def _of_parent(parent: Record | None, mine: Evaluation) -> Evaluation:
    """Find what the parent's figure was under the same circumstance: model, machine, version, texts, cost ratio."""
    if parent is None:
        raise _MissingError("it has no parent to be compared with")
    wanted = circumstance(mine.key)
    found = (e for e in parent.evaluations if e.status in MEASURED and circumstance(e.key) == wanted)
    evaluation = next(found, None)
    if evaluation is None:
        raise _MissingError(f"the parent {parent.candidate.name} was not measured so")
    return evaluation


def _evaluation(record: Record, figure: str, ratio: float) -> Evaluation:
    stage, _ = FIGURES[figure]
    evaluation = record.evaluation(stage, ratio)
    if evaluation is None:
        ended = next((e for e in reversed(record.evaluations) if e.status is not Status.OK), None)
        why = f"; {ended.key.stage} ended {ended.status}: {_message(ended.message)}" if ended else ""
        raise _MissingError(f"{stage} was not measured{why}")
    if evaluation.status not in MEASURED:
        raise _MissingError(f"{stage} ended {evaluation.status}: {_message(evaluation.message)}")
    return evaluation


def _interval(evaluation: Evaluation, figure: str) -> Interval:
    """Give a figure with its interval; what the check computes is exact."""
    stage, name = FIGURES[figure]
    taken = evaluation.measurement(name)
    if taken is None or math.isnan(taken.value):
        raise _MissingError(f"{stage} gave no such figure")
    if stage is Stage.CHECK:
        return _exactly(taken.value)
    return Interval(taken.value, taken.low, taken.high, taken.num_samples)


def _exactly(number: float) -> Interval:
    return Interval(number, number, number, 1)


def _shown(figure: Interval) -> str:
    is_exact = figure.low == figure.value
    spread = "" if is_exact else ended(figure.low, figure.high, "{:.4g}".format, ", ")
    return f"{figure.value:.4g} {spread}".rstrip()


def _message(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]}…"
