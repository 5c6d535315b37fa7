"""The figures that a hypothesis predicts, as agents write them: 'bytes_per_page <= 160 and kl < parent + 0.01 at 16'.

    prediction := comparison { "and" comparison } [ "at" RATIO [ "x" ] ]
    comparison := FIGURE ( "<" | "<=" | ">" | ">=" ) value
    value      := NUMBER | [ NUMBER [ "*" ] ] "parent" [ ( "+" | "-" ) NUMBER ]

A figure is one of `search.campaigns.comparisons.FIGURES`, `parent` the same figure of the program's first parent at
the same cost ratio. Without a ratio the prediction is made for every cost ratio at which the figure is measured: of
several the best is not chosen afterwards.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from search.campaigns.comparisons import NUMBER, SIGNS, UNSIGNED, ComparisonError, parse_comparisons
from search.journal.entries import MAX_PREDICTION, Hypothesis

MAX_COMPARISONS = 4
EXAMPLE = "'bytes_per_page <= 160 and kl < parent + 0.01 at 16'"
ABSOLUTE = re.compile(NUMBER, re.IGNORECASE)
RELATIVE = re.compile(rf"(?:({UNSIGNED})\s*\*?\s*)?parent(?:\s*([+-])\s*({UNSIGNED}))?", re.IGNORECASE)


class PredictionError(ValueError):
    """A prediction that cannot be read. The message says what of it, and how to write it."""


@dataclass(frozen=True)
class Predicted:
    """One figure against `factor` times the parent's plus `offset`; a factor of 0 is a number alone."""

    figure: str
    sign: str
    factor: float
    offset: float

    def holds(self, difference: float) -> bool:
        """Say whether it holds of a figure that is so much more than what it is compared with."""
        return SIGNS[self.sign](difference, 0.0)

    def __str__(self) -> str:
        if not self.factor:
            return f"{self.sign} {self.offset:g}"
        scaled = "parent" if self.factor == 1 else f"{self.factor:g} parent"
        more = f" {'+' if self.offset > 0 else '-'} {abs(self.offset):g}" if self.offset else ""
        return f"{self.sign} {scaled}{more}"


@dataclass(frozen=True)
class Prediction:
    """All comparisons at one cost ratio; at every one that is measured where it is None."""

    comparisons: tuple[Predicted, ...]
    ratio: float | None = None


def parse_prediction(text: str) -> Prediction:
    """Read a prediction. Raises PredictionError."""
    if not text.strip():
        raise PredictionError(f"it predicts no figure; write {EXAMPLE}")
    if len(text) > MAX_PREDICTION:
        raise PredictionError(f"a prediction has at most {MAX_PREDICTION} characters, but this one {len(text):,}")
    try:
        found = parse_comparisons(text, EXAMPLE)
    except ComparisonError as error:
        raise PredictionError(f"'{text}' is no prediction: {error}") from None
    if len(found.parts) > MAX_COMPARISONS:
        raise PredictionError(f"'{text}' has {len(found.parts)} comparisons; give at most {MAX_COMPARISONS}")
    if found.ratio is not None and not 0 < found.ratio < math.inf:
        raise PredictionError(f"'{text}' names the cost ratio {found.ratio:g}; give one of the campaign's, such as 8")
    return Prediction(tuple(_comparison(*part, text) for part in found.parts), found.ratio)


def fault(hypothesis: Hypothesis) -> str:
    """Say why a hypothesis can never be judged, nothing where it can."""
    try:
        parse_prediction(hypothesis.prediction)
    except PredictionError as error:
        return str(error)
    return ""


def _comparison(figure: str, sign: str, value: str, text: str) -> Predicted:
    factor, offset = _value(value, text)
    if not (math.isfinite(factor) and math.isfinite(offset)):
        raise PredictionError(f"'{text}' is no prediction: '{value}' is too large a number")
    return Predicted(figure, sign, factor, offset)


def _value(value: str, text: str) -> tuple[float, float]:
    """Read what a figure is compared with: the parent's factor, and a number."""
    if ABSOLUTE.fullmatch(value):
        return 0.0, float(value)
    found = RELATIVE.fullmatch(value)
    if found is None:
        raise PredictionError(
            f"'{text}' is no prediction: '{value}' is neither a number nor relative to the parent, such as "
            "'parent', '0.5 parent' or 'parent + 0.01'"
        )
    factor, sign, number = found.groups()
    return float(factor or 1), float(f"{sign}{number}") if number else 0.0
