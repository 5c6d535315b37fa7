"""The records of a campaign as they come, and what each step may know of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from search.archive.archivist import Archivist
from search.archive.views import Beginning, KnownBefore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from search.archive.archive import Archive
    from search.config import CampaignConfig
    from search.records import Candidate, Context, Record


class History:
    """Records in step order. A step may see those of steps up to its own minus the lag, once all of them are finished.

    The first `num_given` steps see none: nobody proposes them. A record is *settled* when it and all before it are
    finished. Archives are kept as far back as a step that is not finished may look.
    """

    def __init__(self, config: CampaignConfig, num_given: int = 0) -> None:
        self.records: list[Record] = []
        self._config, self._lag, self._num_given = config, config.lag, num_given
        self._archivist = Archivist(config)
        self._archives = deque([self._archivist.archive])  # the last one after `num_settled` records
        self._known: dict[str, int] = {}  # digests, and the first step that knows each
        self._finished: set[int] = set()  # steps that are not settled yet
        self.num_settled = 0

    @property
    def num_steps(self) -> int:
        """Give the number of records, which is the next step."""
        return len(self.records)

    @property
    def is_settled(self) -> bool:
        """Whether every record is finished."""
        return self.num_settled == self.num_steps

    def add(self, record: Record, digests: Iterable[str]) -> None:
        """Take in the next step's record, with the digests of all that its program means."""
        for digest in digests:
            self._known.setdefault(digest, self.num_steps)
        self.records.append(record)

    def finish(self, step: int) -> None:
        """Note that nothing more will come of a step. Idempotent."""
        if step >= self.num_settled:
            self._finished.add(step)
        while self.num_settled in self._finished:
            self._finished.discard(self.num_settled)
            self._archives.append(self._archivist.add(self.records[self.num_settled]))
            self.num_settled += 1
            if len(self._archives) > self._lag and self.num_settled >= self._num_given:
                self._archives.popleft()

    def reopen(self) -> None:
        """Forget which steps are finished that are not settled: their records may have lost what finished them."""
        self._finished.clear()

    def is_finished(self, step: int) -> bool:
        """Say whether nothing more will come of a step."""
        return step < self.num_settled or step in self._finished

    def is_visible(self, step: int) -> bool:
        """Say whether all that a step may see is finished."""
        return self.num_settled >= self.num_visible(step)

    def visible(self, step: int) -> Beginning[Record]:
        """Give the records that a step may see."""
        return Beginning(self.records, self.num_visible(step))

    def archive(self, step: int) -> Archive:
        """Give what the records come to that a step may see, which is not finished yet."""
        back = self.num_settled - self.num_visible(step)
        assert 0 <= back < len(self._archives), f"step {step} looks {back} records back"
        return self._archives[-1 - back]

    def pending(self, step: int) -> tuple[Candidate, ...]:
        """Give the candidates before a step whose records it may not see."""
        return tuple(record.candidate for record in self.records[self.num_visible(step) : step])

    def known(self, step: int, *, ahead: bool = False) -> KnownBefore:
        """Give the digests of the steps before one; of a question asked `ahead`, of those that it may see."""
        return KnownBefore(self._known, self.num_visible(step) if ahead else step)

    def context(self, step: int, *, ahead: bool = False, reflects: bool = False) -> Context:
        """Give what the proposer of a step is shown. Asked `ahead`, it knows of no answer that is still out."""
        pending = () if ahead else self.pending(step)
        known = self.visible(step), self.known(step, ahead=ahead), self.archive(step)
        return self._config.context(step, *known, reflects=reflects, pending=pending)

    def archive_ahead(self, num: int) -> Archive:
        """Give what the first `num` records come to as they stand, all that are settled and maybe others."""
        assert num >= self.num_settled, f"{num} records are fewer than the {self.num_settled} that are settled"
        ahead = self._archivist.branch()
        for record in self.records[self.num_settled : num]:
            ahead.add(record)
        return ahead.archive

    def num_visible(self, step: int) -> int:
        """Give how many records a step may see."""
        return max(0, step - self._lag + 1) if step >= self._num_given else 0
