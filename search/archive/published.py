"""The published rules of a campaign beside each other, before anything is known that was found."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING

from search.archive.archive import NUM_LEADERS, Archive
from search.archive.archivist import RANKED
from search.archive.racing import Field, is_behind, raced_kl, text_losses
from search.parents import GIVEN, SEED
from search.records import Stage
from search.stages import CHEAP, EARLY, next_workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.config import CampaignConfig
    from search.records import Record, Workload


class Known(IntEnum):
    """What is known of all of them."""

    NOTHING = 0
    RECALL = 1  # nothing is left to be measured without an engine
    RACES = 2  # and nobody has a race to run


class Published:
    """Lets so many of them into an engine, the best by recall, and stops whoever is surely behind in the races.

    For both they wait for each other. What a person gave waits for nobody, and yardsticks.

    `records`: of a campaign as they come, its `num_given` first steps first.
    """

    def __init__(self, records: Sequence[Record], config: CampaignConfig, num_given: int) -> None:
        self._records, self._config, self._num_given = records, config, num_given
        self._known = Known.NOTHING
        self._waiting: set[int] = set()  # steps
        self._known_before = Known.NOTHING  # when they were looked at last

    def delays(self, record: Record, following: Workload | None) -> bool:
        """Say whether what follows for a record, or that nothing does, has to wait; and keep its step until then."""
        needed = self._needed(following) if _is_published(record) else Known.NOTHING
        if needed <= self._look():
            return False
        self._waiting.add(record.candidate.step)
        return True

    def freed(self) -> list[int]:
        """Give the steps that wait once more is known: what follows for them may be another thing now."""
        known = self._look() if self._waiting else self._known_before
        if known == self._known_before:
            return []
        self._known_before = known
        free, self._waiting = sorted(self._waiting), set()
        return free

    def enter(self, record: Record, ratio: float) -> bool:
        """Say whether a record is one of the best by recall, or none of these rules."""
        if self._config.published_share == 1 or not _is_published(record):
            return True
        found = ((each.candidate.step, each.value(Stage.RECALL, RANKED, ratio)) for each in self._rules())
        ranked = sorted((-recall, step) for step, recall in found if recall is not None)
        entering = ranked[: math.ceil(self._config.published_share * len(ranked))]
        return any(step == record.candidate.step for _, step in entering)

    def stops(self, record: Record, ratio: float, texts: tuple[float, ...]) -> bool:
        """Say whether one of these rules that lost so much in the texts of its race is surely behind the best."""
        if not (texts and _is_published(record)):
            return False
        field = Field(NUM_LEADERS)
        for each in self._rules():
            lost = raced_kl(each, ratio)
            if lost is not None:
                field.add(lost, each.candidate.step, text_losses(each, ratio))
        return is_behind(texts, field.bar)

    def _needed(self, following: Workload | None) -> Known:
        """Give what has to be known before this follows; where nothing follows, all: others may yet let it go on."""
        stage = None if following is None else following.stage
        if stage in CHEAP:
            return Known.NOTHING
        if stage not in EARLY and Stage.RACE in self._config.stages:
            return Known.RACES
        return Known.RECALL if self._config.published_share < 1 else Known.NOTHING

    def _look(self) -> Known:
        """Find how much is known by now: it never becomes less."""
        if self._known < Known.RACES and len(self._records) >= self._num_given:
            following = [next_workload(each, Archive(), self._config, self) for each in self._rules()]
            left = [each.stage for each in following if each is not None]
            for known, stages in ((Known.RECALL, CHEAP), (Known.RACES, EARLY)):
                if not any(stage in stages for stage in left):
                    self._known = max(self._known, known)
        return self._known

    def _rules(self) -> list[Record]:
        return [each for each in self._records[: self._num_given] if _is_published(each)]


def _is_published(record: Record) -> bool:
    proposal = record.candidate.proposal
    return proposal.operator == SEED and proposal.proposer != GIVEN
