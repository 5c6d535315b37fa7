"""How a program from outside enters the loop: it waits in the ledger until a step of its campaign takes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from search.contracts import ProposerError

if TYPE_CHECKING:
    from search.contracts import Ledger
    from search.records import Context, Proposal, StoredCampaign, Submission

POLL_S = 0.25


class Arrivals:
    """The proposer of the steps that programs from outside take, in order of arrival.

    Such a step is only put when its program is there, so that nobody is waited for. Which step a program takes hangs on
    when it came, and on nothing else that is not on record; it is written into the ledger before the step is asked for.
    So whoever resumes a campaign, or replays it, finds the same steps taken by the same programs.
    """

    name = "outside"

    def __init__(self, ledger: Ledger, campaign: StoredCampaign, agents: tuple[str, ...]) -> None:
        self._ledger, self._campaign_id, self._is_open = ledger, campaign.id, bool(agents)
        found = ledger.submissions(campaign.id) if agents else ()
        self._taken: dict[int, Submission] = {each.step: each for each in found if each.step is not None}
        self._next_look_s = 0.0

    def __contains__(self, step: int) -> bool:
        return step in self._taken

    def take(self, step: int) -> bool:
        """Give a step to what has waited longest, where anything waits, and say whether the step is taken so."""
        if self._is_open and step not in self._taken and time.monotonic() >= self._next_look_s:
            found = self._ledger.assign(self._campaign_id, step)
            if found is None:
                self._next_look_s = time.monotonic() + POLL_S
            else:
                self._taken[step] = found
        return step in self._taken

    def propose(self, context: Context) -> Proposal:
        """Give the program that took the step, under the name of the agent that brought it."""
        if context.step not in self._taken:
            raise ProposerError(f"nothing from outside has taken step {context.step}")
        return self._taken[context.step].proposal
