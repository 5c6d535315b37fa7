"""When a campaign has enough: functions of its settings and of settled records alone.

Step s may be proposed unless the records that it may see, all of them finished, give a reason to stop. So a campaign
ends at the same step whoever measures, and however often it is interrupted.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.parents import REFERENCE, SEED, loss
from search.records import Stage, Status
from vortex_dsl.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from search.config import CampaignConfig
    from search.records import Record

# What a target may ask for: where it is measured, and under which name.
FIGURES = {
    "recall": (Stage.RECALL, "recall"),
    "mass": (Stage.RECALL, "mass"),
    "kl": (Stage.FIDELITY, "kl"),
    "retrieval": (Stage.RETRIEVAL, "accuracy"),
    "retrieval_loss": (Stage.RETRIEVAL, "loss"),
    "accuracy": (Stage.PROBE, "accuracy"),
    "speedup": (Stage.SERVE, "speedup"),
}
SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
EXAMPLE = "'kl < 0.05 at 8'"
MAX_CHARACTERS = 200
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
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
        """Say in words at which cost ratio a rule reaches it, nothing where it does not; yardsticks never do."""
        if record.candidate.proposal.operator == REFERENCE:
            return ""
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


class Stopping:
    """Reads settled records in step order, each once, and says whether there is a reason to stop.

    It costs the same per step, however many steps there were.
    """

    def __init__(self, config: CampaignConfig) -> None:
        self._config = config
        self._target = parse_target(config.stop_at) if config.stop_at else None
        self._num_read = 0
        self._reason = ""
        self._worker_s = 0.0
        self._best: dict[float, float] = {}  # what the best rule loses, by cost ratio
        self._num_idle = 0  # invented candidates since anything got better

    def reason(self, records: Sequence[Record]) -> str:
        """Give the first reason to stop, in words, nothing while there is none.

        `records`: all that are settled, from step 0 on; those that were read before are not read again.
        """
        while not self._reason and self._num_read < len(records):
            self._reason = self._read(records[self._num_read])
            self._num_read += 1
        return self._reason

    def _read(self, record: Record) -> str:
        config = self._config
        self._worker_s += worker_seconds(record)
        self._num_idle = 0 if self._progressed(record) else self._num_idle + _is_invented(record)
        if self._target is not None and (how := self._target.reached(record)):
            candidate = record.candidate
            return f"{candidate.name} of step {candidate.step} reaches the target '{self._target.text}': {how}"
        if config.patience is not None and self._num_idle >= config.patience:
            return f"the last {self._num_idle:,} candidates brought no progress at any cost ratio"
        if config.max_worker_seconds is not None and self._worker_s >= config.max_worker_seconds:
            return f"workers have spent their {config.max_worker_seconds:,.0f} s"
        return ""

    def _progressed(self, record: Record) -> bool:
        """Note what a rule loses, and say whether none lost less at one of the cost ratios."""
        if record.candidate.proposal.operator == REFERENCE:
            return False
        found = {ratio: loss(record, ratio) for ratio in {evaluation.ratio for evaluation in record.evaluations}}
        better = {r: lost for r, lost in found.items() if lost is not None and lost < self._best.get(r, float("inf"))}
        self._best |= better
        return bool(better)


def reason_to_stop(config: CampaignConfig, records: Sequence[Record]) -> str:
    """Give the reason why a campaign with these settled records, in step order, goes no further; nothing if it does."""
    return Stopping(config).reason(records)


def worker_seconds(record: Record) -> float:
    """Give the seconds that workers spent on a candidate; checking is done beside them.

    What another campaign measured counts as if it had been measured for this one: what is on record decides.
    """
    return sum(evaluation.elapsed_s for evaluation in record.evaluations if evaluation.key.stage is not Stage.CHECK)


def _is_invented(record: Record) -> bool:
    candidate = record.candidate
    return candidate.status is Status.OK and candidate.proposal.operator not in (SEED, REFERENCE)


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
