"""Figures against numbers, as people and agents write them: 'kl < 0.05 and speedup > 1.2 at 8'.

    text       := comparison { "and" comparison } [ "at" RATIO [ "x" ] ]
    comparison := FIGURE ( "<" | "<=" | ">" | ">=" ) value

What a value may be is for whoever asked: a number for a target, or one relative to a parent for a prediction.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.records import Stage
from vortex_dsl.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

# What may be asked for or predicted: where it is measured, and under which name.
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
UNSIGNED = r"(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
NUMBER = rf"[+-]?{UNSIGNED}"
COMPARISON = re.compile(r"(\w+)\s*(<=|>=|<|>)\s*(\S.*)")
AT = re.compile(rf"(.*\S)\s+at\s+({NUMBER})\s*x?\s*", re.IGNORECASE)
AND = re.compile(r"\s+and\s+", re.IGNORECASE)


class ComparisonError(ValueError):
    """What compares no figure that there is. The message says which part, and what can be written."""


@dataclass(frozen=True)
class Comparisons:
    """Each comparison as written: figure, sign, and the text of its value; and the cost ratio, if one is named."""

    parts: tuple[tuple[str, str, str], ...]
    ratio: float | None


def parse_comparisons(text: str, example: str) -> Comparisons:
    """Read comparisons that hold together; `example` is told to whoever wrote none. Raises ComparisonError."""
    ended = AT.fullmatch(text)
    asked, ratio = (ended[1], float(ended[2])) if ended else (text, None)
    return Comparisons(tuple(_comparison(part.strip(), example) for part in AND.split(asked.strip())), ratio)


def _comparison(part: str, example: str) -> tuple[str, str, str]:
    found = COMPARISON.fullmatch(part)
    if found is None:
        raise ComparisonError(f"'{part}' compares no figure with a number; write {example}")
    figure, sign, value = found.groups()
    if figure not in FIGURES:
        hint = did_you_mean(figure, FIGURES) or f"; there are {', '.join(FIGURES)}"
        raise ComparisonError(f"there is no figure '{figure}'{hint}")
    return figure, sign, value.strip()
