"""What a rule must reach for a campaign to stop, as people write it: 'kl < 0.05 and speedup > 1.2 at 8'."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.campaigns.comparisons import FIGURES, NUMBER, SIGNS, ComparisonError, parse_comparisons
from search.records import Status

if TYPE_CHECKING:
    from search.records import Record, Stage

EXAMPLE = "'kl < 0.05 at 8'"
MAX_CHARACTERS = 200
VALUE = re.compile(NUMBER, re.IGNORECASE)


class TargetError(ValueError):
    """A target that cannot be asked for. The message says what of it, and what can be."""


@dataclass(frozen=True)
class Comparison:
    """One figure of a candidate against a number."""

    figure: str
    sign: str
    number: float

    def holds(self, record: Record, ratio: float) -> bool:
        """Say whether the figure was measured at a cost ratio, and is so."""
        evaluation = record.evaluation(FIGURES[self.figure][0], ratio)
        found = _value(record, self.figure, ratio)
        passed = evaluation is not None and evaluation.status is Status.OK
        return passed and found is not None and SIGNS[self.sign](found, self.number)


@dataclass(frozen=True)
class Target:
    """What a rule must reach for a campaign to be content: all comparisons at one cost ratio, any where it is None."""

    text: str
    comparisons: tuple[Comparison, ...]
    ratio: float | None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Give the stages that measure what is asked for."""
        return tuple(dict.fromkeys(FIGURES[each.figure][0] for each in self.comparisons))

    def reached(self, record: Record) -> str:
        """Say in words by which figures and at which cost ratio a rule reaches it, nothing where it does not."""
        ratios = sorted({evaluation.ratio for evaluation in record.evaluations})
        for ratio in ratios if self.ratio is None else [self.ratio]:
            if all(each.holds(record, ratio) for each in self.comparisons):
                figures = [f"{each.figure} {_value(record, each.figure, ratio):.4g}" for each in self.comparisons]
                return f"{', '.join(figures)}{f' at {ratio:g}x' if ratio else ''}"
        return ""


def parse_target(text: str) -> Target:
    """Read a target such as 'kl < 0.05 and speedup > 1.2 at 8'. Raises TargetError."""
    if len(text) > MAX_CHARACTERS:
        raise TargetError(f"a target has at most {MAX_CHARACTERS} characters, but this one {len(text):,}")
    try:
        found = parse_comparisons(text, EXAMPLE)
    except ComparisonError as error:
        raise TargetError(f"'{text}' is no target: {error}") from None
    return Target(text, tuple(_comparison(*part, text) for part in found.parts), found.ratio)


def _value(record: Record, figure: str, ratio: float) -> float | None:
    stage, name = FIGURES[figure]
    return record.value(stage, name, ratio)


def _comparison(figure: str, sign: str, value: str, text: str) -> Comparison:
    if not VALUE.fullmatch(value):
        told = f"'{figure} {sign} {value}' compares no figure with a number; write {EXAMPLE}"
        raise TargetError(f"'{text}' is no target: {told}")
    return Comparison(figure, sign, float(value))
