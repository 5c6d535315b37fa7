"""How well each figure of recall foretells each loss: rank correlations over the published rules at one cost ratio."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import ConstantInputWarning, kendalltau, spearmanr

from benchmarks.evaluator.campaign import Entry, Origin
from search.evaluator.intervals import Interval
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FIGURES = {"recall": -1, "mass": -1, "output_error": 1}  # sign: whether a rule with more of it should lose more
LOSSES = {Stage.FIDELITY: "kl", Stage.RETRIEVAL: "loss"}
LEAST_RULES = 5  # for a coefficient
NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class Correlation:
    """How one figure of recall goes with one loss. 1: it puts the rules into the order of the loss, best first.

    Coefficients with intervals of 95 % for which rules are drawn anew; None where rules are too few or all alike.
    """

    ratio: float
    figure: str
    stage: str
    loss: str
    num_rules: int
    spearman: Interval | None
    kendall: Interval | None


def correlations(entries: Sequence[Entry]) -> list[Correlation]:
    """Correlate each figure with each loss at each cost ratio, over published rules that have both."""
    rules: dict[tuple[int, float], dict[Stage, Entry]] = defaultdict(dict)
    for entry in entries:
        if entry.origin is Origin.PUBLISHED and entry.evaluation.status is Status.OK:
            rules[entry.candidate, entry.ratio][entry.stage] = entry
    found = []
    for ratio in sorted({ratio for (_, ratio), stages in rules.items() if Stage.RECALL in stages}):
        here = [stages for (_, each), stages in rules.items() if each == ratio]
        for stage, loss in LOSSES.items():
            for figure, sign in FIGURES.items():
                pairs = _pairs(here, figure, stage, loss) * (sign, 1)
                spearman, kendall = (coefficient(pairs, of) for of in (spearmanr, kendalltau))
                found.append(Correlation(ratio, figure, stage.value, loss, len(pairs), spearman, kendall))
    return found


def _pairs(rules: Sequence[dict[Stage, Entry]], figure: str, stage: Stage, loss: str) -> np.ndarray:
    """Give figure and loss of each rule that has both, [num_rules, 2]."""
    both = [(_value(rule, Stage.RECALL, figure), _value(rule, stage, loss)) for rule in rules]
    return np.array([pair for pair in both if None not in pair], dtype=float).reshape(-1, 2)


def _value(rule: dict[Stage, Entry], stage: Stage, name: str) -> float | None:
    return rule[stage].evaluation.value(name) if stage in rule else None


def coefficient(pairs: np.ndarray, of: Callable[..., Any]) -> Interval | None:
    """Give a rank correlation of [num_rules, 2] with its percentile interval; None where there is none to give."""
    if len(pairs) < LEAST_RULES:
        return None
    draws = np.random.default_rng(0).integers(0, len(pairs), (NUM_RESAMPLES, len(pairs)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)  # of some draws all rules are alike
        value, found = float(of(*pairs.T).statistic), [of(*pairs[draw].T).statistic for draw in draws]
    if np.isnan(value):
        return None
    low, high = np.nanquantile(found, (0.025, 0.975))
    return Interval(value, float(low), float(high), len(pairs))
