"""What a rule must reach for a campaign to stop, as people write it: 'kl < 0.05 and speedup > 1.2 at 8'."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.records import Record, Stage, Status
from vortex_dsl.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

# What a target may ask for: where it is measured, and under which name.
FIGURES = {
    "recall": (Stage.RECALL, "recall"),
    "mass": (Stage.RECALL, "mass"),
    "kl": (Stage.FIDELITY, "kl"),
    "retrieval": (Stage.RETRIEVAL, "accuracy"),
    "retrieval_loss": (Stage.RETRIEVAL, "loss"),
    "accuracy": (Stage.PROBE, "accuracy"),
    "speedup": (Stage.SERVE, "speedup"),
    "screen_mass": (Stage.SCREEN, "mass"),
    "bytes_per_page": (Stage.CHECK, "bytes_per_page"),
    "cost_ratio": (Stage.CHECK, "cost_ratio"),
}
SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
EXAMPLE = "'kl < 0.05 at 8'"
MAX_CHARACTERS = 200
UNSIGNED = r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
NUMBER = rf"[+-]?{UNSIGNED}"
COMPARISON = re.compile(rf"\s*(\w+)\s*(<=|>=|<|>)\s*({NUMBER})\s*", re.IGNORECASE)
AT = re.compile(rf"(.*\S)\s+at\s+({NUMBER})\s*x?\s*", re.IGNORECASE)


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
    ended = AT.fullmatch(text)
    asked, ratio = (ended[1], float(ended[2])) if ended else (text, None)
    return Target(text, tuple(_comparison(part, text) for part in re.split(r"\s+and\s+", asked)), ratio)


def _value(record: Record, figure: str, ratio: float) -> float | None:
    stage, name = FIGURES[figure]
    return record.value(stage, name, ratio)


def _comparison(part: str, text: str) -> Comparison:
    found = COMPARISON.fullmatch(part)
    if found is None:
        raise TargetError(f"'{text}' is no target: '{part.strip()}' compares no figure with a number; write {EXAMPLE}")
    figure, sign, number = found[1], found[2], float(found[3])
    if figure not in FIGURES:
        hint = did_you_mean(figure, FIGURES) or f"; there are {', '.join(FIGURES)}"
        raise TargetError(f"'{text}' is no target: there is no figure '{figure}'{hint}")
    return Comparison(figure, sign, number)
