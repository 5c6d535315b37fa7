"""How much of a campaign is left: candidates to admit, proposals to draw, dollars to spend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.records import Status

if TYPE_CHECKING:
    from search.config import CampaignConfig
    from search.records import Candidate


class Allowance:
    """Counts what a campaign has used, step by step; the seeds are free."""

    def __init__(self, config: CampaignConfig, num_seeds: int) -> None:
        self._config, self._num_seeds = config, num_seeds
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
        return self._num_steps >= self._num_seeds and not self._covers(self._num_drawn, 0)

    def is_needed(self, step: int, num_open: int) -> bool:
        """Whether a step to come will be reached, whatever becomes of those before it.

        Of `num_open` questions that are asked already each is taken to cost as much as the dearest so far.
        """
        return self._covers(max(0, step - self._num_seeds), num_open, step - max(self._num_steps, self._num_seeds))

    @property
    def _num_drawn(self) -> int:
        return max(0, self._num_steps - self._num_seeds)

    def _covers(self, num_drawn: int, num_open: int, num_between: int = 0) -> bool:
        most = self._config.max_dollars
        is_paid = most is None or (
            self._dollars + num_open * self._dearest < most and (self._dearest > 0 or not num_open)
        )
        is_wanted = self._num_admitted + max(0, num_between) < self._config.num_candidates
        return is_paid and is_wanted and num_drawn < self._most_drawn
