"""The published rules of a campaign beside each other, before anything is known that was found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from search.archive.archive import Archive
from search.archive.archivist import RANKED
from search.parents import is_published
from search.records import Stage
from search.stages import CHEAP, next_workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.config import CampaignConfig
    from search.records import Record, Workload


class Published:
    """Lets so many of them into an engine, the best by recall.

    Where that is not all of them they wait until nothing is left to be measured of any without an engine. What a person
    gave waits for nobody, and yardsticks.

    `records`: of a campaign as they come, its `num_given` first steps first.
    """

    def __init__(self, records: Sequence[Record], config: CampaignConfig, num_given: int) -> None:
        self._records, self._config, self._num_given = records, config, num_given
        self._are_compared = config.published_share == 1
        self._waiting: set[int] = set()  # steps

    def delays(self, record: Record, following: Workload | None) -> bool:
        """Say whether what follows for a record, or that nothing does, has to wait; and keep its step until then."""
        is_cheap = following is not None and following.stage in CHEAP
        if is_cheap or not is_published(record) or self._look():
            return False
        self._waiting.add(record.candidate.step)
        return True

    def freed(self) -> list[int]:
        """Give the steps that wait once all are compared: what follows for them may be another thing now."""
        if not (self._waiting and self._look()):
            return []
        free, self._waiting = sorted(self._waiting), set()
        return free

    def enter(self, record: Record, ratio: float) -> bool:
        """Say whether a record is one of the best by recall, or none of these rules."""
        if self._config.published_share == 1 or not is_published(record):
            return True
        found = ((each.candidate.step, each.value(Stage.RECALL, RANKED, ratio)) for each in self._rules())
        ranked = sorted((-recall, step) for step, recall in found if recall is not None)
        entering = ranked[: math.ceil(self._config.published_share * len(ranked))]
        return any(step == record.candidate.step for _, step in entering)

    def _look(self) -> bool:
        """Find whether all are compared by now."""
        if not self._are_compared and len(self._records) >= self._num_given:
            following = (next_workload(each, Archive(), self._config, self) for each in self._rules())
            self._are_compared = not any(each is not None and each.stage in CHEAP for each in following)
        return self._are_compared

    def _rules(self) -> list[Record]:
        return [each for each in self._records[: self._num_given] if is_published(each)]
