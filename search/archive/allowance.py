"""How much of a campaign is left: candidates to admit, proposals to draw, dollars to spend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.records import Status

if TYPE_CHECKING:
    from search.config import CampaignConfig
    from search.records import Candidate


class Allowance:
    """Counts what a campaign has used, step by step; the seeds are free.

    `owed`: dollars of questions that no candidate pays.
    """

    def __init__(self, config: CampaignConfig, num_seeds: int, owed: float = 0.0) -> None:
        self._config, self._num_seeds, self._owed = config, num_seeds, owed
        self._most_drawn = 2 * config.num_candidates + config.lag  # of which too many may be refused
        self._num_steps = self._num_admitted = 0
        self._dollars = self._dearest = 0.0

    def add(self, candidate: Candidate) -> None:
        """Count the next step."""
        self._num_steps += 1
        if self._num_steps > self._num_seeds:
            self._num_admitted += candidate.status is Status.OK
            self._dollars += candidate.proposal.dollars
            self._dearest = max(self._dearest, candidate.proposal.dollars)

    @property
    def is_over(self) -> bool:
        """Whether the campaign has its candidates, or so many refused ones that it will not get them, or no money."""
        num_drawn = max(0, self._num_steps - self._num_seeds)
        return self._num_steps >= self._num_seeds and not (self._covers(0.0) and self._wants(num_drawn, 0))

    def is_needed(self, step: int, num_open: int) -> bool:
        """Whether a step to come will be reached, whatever becomes of those before it.

        Of `num_open` questions that are asked already each is taken to cost as much as the dearest so far. What is owed
        counts here alone: who asks in turn is told by the purse where it leaves too little.
        """
        is_told = self._config.max_dollars is None or self._dearest > 0 or not num_open
        is_paid = is_told and self._covers(self._owed + num_open * self._dearest)
        num_between = step - max(self._num_steps, self._num_seeds)
        return is_paid and self._wants(max(0, step - self._num_seeds), max(0, num_between))

    def _covers(self, more: float) -> bool:
        most = self._config.max_dollars
        return most is None or self._dollars + more < most

    def _wants(self, num_drawn: int, num_between: int) -> bool:
        return self._num_admitted + num_between < self._config.num_candidates and num_drawn < self._most_drawn
