"""When a campaign has enough: functions of its settings and of settled records alone.

Step s may be proposed unless the records that it may see, all of them finished, give a reason to stop. So a campaign
ends at the same step whoever measures, and however often it is interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.campaigns.target import parse_target
from search.parents import REFERENCE, SEED, loss
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.config import CampaignConfig
    from search.records import Record


class Stopping:
    """Reads settled records in step order, each once, and says whether there is a reason to stop.

    It costs the same per step, however many steps there were.
    """

    def __init__(self, config: CampaignConfig) -> None:
        self._config = config
        self._target = parse_target(config.stop_at) if config.stop_at else None
        self._never_stops = not (config.stop_at or config.patience is not None or config.max_worker_seconds is not None)
        self._num_read = 0
        self._reason = ""
        self._worker_s = 0.0
        self._best: dict[float, float] = {}  # what the best rule loses, by cost ratio
        self._num_idle = 0  # invented candidates since anything got better

    def reason(self, records: Sequence[Record]) -> str:
        """Give the first reason to stop that these records hold, in words, nothing while there is none.

        `records`: settled, from step 0 on. More of them may have been read before, and none is read again.
        """
        if self._never_stops:
            return ""
        while not self._reason and self._num_read < len(records):
            self._reason = self._read(records[self._num_read])
            self._num_read += 1
        return self._reason if self._num_read <= len(records) else ""

    def _read(self, record: Record) -> str:
        config = self._config
        self._worker_s += worker_seconds(record)
        self._num_idle = 0 if self._progressed(record) else self._num_idle + _is_invented(record)
        candidate = record.candidate
        is_rule = candidate.proposal.operator != REFERENCE
        if self._target is not None and is_rule and (how := self._target.reached(record)):
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
