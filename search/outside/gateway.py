"""All that an agent from outside can do: be told, check, look, submit, wait, and read what is known."""

from __future__ import annotations

import difflib
import json
import time
from dataclasses import dataclass, field
from functools import partial
from threading import BoundedSemaphore, Event
from typing import TYPE_CHECKING

from search.agents.bounds import objections
from search.agents.breed import baked
from search.agents.llm.tools import Desk
from search.config import CampaignConfig
from search.contracts import SubmissionError
from search.journal.answers import HYPOTHESES, NOTES, entries_of
from search.journal.entries import MAX_HYPOTHESES, MAX_NOTES
from search.journal.journal import journal_of
from search.journal.section import journal_section
from search.outside.briefs import Brief, brief
from search.outside.bringing import brought
from search.outside.fates import Fate, State, fate_of
from search.outside.following import Followed
from search.outside.tickets import MAX_PARENTS, Ticket
from search.records import Proposal, Status, Submission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.contracts import Ledger, Looker
    from search.outside.lookers import Lookers
    from search.records import Context, Record, StoredCampaign

BROUGHT = "brought"  # the operator of a program that came without a ticket
POLL_S = 0.2
MAX_WAITS = 16  # calls that wait at a time: each asks the database again and again
ENDED = (State.REFUSED, State.FINISHED)


@dataclass(frozen=True)
class Gateway:
    """The door of a ledger for one agent. `campaign_id` and `agent` are found where they are left out.

    The campaign is then the newest that takes programs from the agent, at the time of each call, and the agent the only
    one that the campaign names. Whatever cannot be done raises SubmissionError, whose message is for the agent.
    """

    ledger: Ledger
    agent: str = ""
    campaign_id: int | None = None
    lookers: Lookers | None = None
    closing: Event = field(default_factory=Event)  # set: whoever waits is let go
    _followed: Followed = field(default_factory=Followed, init=False, repr=False)
    _waits: BoundedSemaphore = field(default_factory=partial(BoundedSemaphore, MAX_WAITS), init=False, repr=False)

    def brief(self) -> Brief:
        """Tell what to invent next, with a ticket for it. A campaign that is over asks for nothing more."""
        here = self._open()
        return brief(here.context, here.campaign, here.agent, self._looker(here))

    def desk(self) -> Desk:
        """Give the desk at which programs are checked and looked at, with all that is measured so far."""
        here = self._here()
        return Desk(here.context, self._looker(here))

    def _looker(self, here: _Here) -> Looker | None:
        return self.lookers.of(here.config) if self.lookers else None

    def submit(
        self,
        program: str,
        ticket: str = "",
        rationale: str = "",
        parents: Sequence[str] = (),
        hypotheses: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> Fate:
        """Check a program with the bounds that all proposers keep to, and let it wait for the next step.

        `program` may be an answer as the brief asks for it (`search.outside.bringing`). `parents`: names, numbers or
        digests of candidates, the ticket's if left out. `hypotheses` and `notes` are lines for the journal
        (`search.journal.answers`), beside those that stand in the answer.
        """
        here = self._open()
        asked = Ticket.parse(ticket) if ticket else Ticket(here.campaign.id, 0, BROUGHT)
        if asked.campaign_id != here.campaign.id:
            ours = f"campaign {here.campaign.id}"
            raise SubmissionError(f"the ticket is of campaign {asked.campaign_id}, and this is {ours}; ask for a brief")
        digests = here.digests(parents or asked.parents)
        found = brought(program, here.shown(digests), here.context)
        if found.draft.complaint:
            return Fate(0, State.REFUSED, (found.draft.complaint,))
        written = entries_of(_as_answer(hypotheses, notes))
        proposal = Proposal(
            found.draft.text, here.agent, asked.operator, digests, rationale or found.draft.rationale,
            hypotheses=(*written.hypotheses, *found.hypotheses)[:MAX_HYPOTHESES],
            notes=(*written.notes, *found.notes)[:MAX_NOTES],
        )  # fmt: skip
        reasons = tuple(objections(proposal, here.context))
        if reasons:
            return Fate(0, State.REFUSED, reasons)
        return self._fate(self.ledger.submit(Submission(here.campaign.id, proposal)))

    def wait(self, submission: int, timeout_s: float, num_known: int = 0, gone: Event | None = None) -> Fate:
        """Tell how far a submission is once there is more than `num_known` results of it, or it has ended.

        After `timeout_s` seconds it is told in any case. More than `MAX_WAITS` calls cannot wait at a time; one whose
        caller is `gone` gives its place to another.
        """
        until = time.monotonic() + timeout_s
        fate = self._fate(self._submission(submission))
        if timeout_s and _is_awaited(fate, num_known):
            if not self._waits.acquire(blocking=False):
                raise SubmissionError(
                    f"{MAX_WAITS} calls wait already; wait again once one of them is answered, or with timeout_s 0"
                )
            try:
                fate = self._awaited(fate, num_known, until, gone or Event())
            finally:
                self._waits.release()
        return fate

    def _awaited(self, fate: Fate, num_known: int, until: float, gone: Event) -> Fate:
        while _is_awaited(fate, num_known) and time.monotonic() < until:
            if gone.wait(min(POLL_S, max(0.0, until - time.monotonic()))) or self.closing.is_set():
                break
            fate = self._fate(self._submission(fate.submission))
        return fate

    def diff(self, name: str, other: str) -> str:
        """Show how two candidates' texts differ."""
        here = self._here()
        first, second = (here.candidate(each) for each in (name, other))
        old, new = (each.candidate.proposal.text.splitlines() for each in (first, second))
        a, b = (f"{each.candidate.name or 'refused'} ({each.candidate.id})" for each in (first, second))
        return "\n".join(difflib.unified_diff(old, new, a, b, lineterm="")) or f"{a} and {b} have the same text"

    def journal(self, agent: str = "") -> str:
        """Tell what agents noted, and their hypotheses with what the numbers say of them."""
        found = journal_of(self._here().context.records).of(agent)
        return journal_section(found.notes, found.hypotheses) or "nothing has been predicted or noted yet"

    def hypotheses(self, agent: str = "") -> str:
        """Tell hypotheses alone."""
        found = journal_of(self._here().context.records).of(agent)
        return journal_section((), found.hypotheses) or "nothing has been predicted yet"

    def _open(self) -> _Here:
        """Give the campaign. Raises SubmissionError where it takes nothing more."""
        here = self._here()
        end = self._followed.end(self.ledger, here.campaign)
        if end:
            raise SubmissionError(end)
        return here

    def _here(self) -> _Here:
        campaign = self._campaign()
        config = CampaignConfig.from_json(campaign.settings)
        agent = self.agent or (config.outside[0] if len(config.outside) == 1 else "")
        if agent not in config.outside:
            named = ", ".join(config.outside) or "nobody"
            asked = repr(self.agent) if self.agent else "an agent without a name"
            raise SubmissionError(
                f"campaign {campaign.id} takes no programs from {asked}, but from {named}; start one with "
                f"`vortex run --outside {self.agent or 'NAME'}`"
            )
        return _Here(campaign, config, agent, self._followed.context(self.ledger, campaign))

    def _campaign(self) -> StoredCampaign:
        if self.campaign_id is not None:
            try:
                return self.ledger.campaign(self.campaign_id)
            except LookupError as error:
                told = "leave it out, for the newest that takes your programs"
                raise SubmissionError(f"{error.args[0]}; {told}") from None
        for campaign in reversed(self.ledger.campaigns()):
            names = CampaignConfig.from_json(campaign.settings).outside
            if self.agent in names or (names and not self.agent):
                return campaign
        raise SubmissionError(
            f"no campaign takes programs from {self.agent or 'outside'} here; start one with "
            f"`vortex run --outside {self.agent or 'NAME'}`"
        )

    def _submission(self, submission: int) -> Submission:
        try:
            return self.ledger.submission(submission)
        except LookupError as error:
            raise SubmissionError(f"{error.args[0]}; give the number that was told when it was brought") from None

    def _fate(self, submission: Submission) -> Fate:
        """Tell how far a submission is; one that no step has taken when its campaign ends will never be measured."""
        record = self._taken(submission)
        if record is None:
            end = self._followed.end(self.ledger, self.ledger.campaign(submission.campaign_id))
            record = self._taken(self._submission(submission.id)) if end else None  # it may have been the last
            if end and record is None:
                return Fate(submission.id, State.REFUSED, (end,))
        return fate_of(submission, record, partial(self._is_finished, submission.campaign_id))

    def _taken(self, submission: Submission) -> Record | None:
        """Give the record of the step that a submission took, None where there is none yet."""
        step = submission.step
        if not submission.candidate_id or step is None:
            return None
        (record,) = self.ledger.records(submission.campaign_id, range(step, step + 1))
        return record

    def _is_finished(self, campaign_id: int, step: int) -> bool:
        return self._followed.is_finished(self.ledger, self.ledger.campaign(campaign_id), step)


@dataclass(frozen=True)
class _Here:
    """A campaign as an agent finds it."""

    campaign: StoredCampaign
    config: CampaignConfig
    agent: str
    context: Context

    def candidate(self, name: str) -> Record:
        """Find a candidate of the campaign. Raises SubmissionError."""
        found = Desk(self.context).find(name)
        if found is None:
            where = f"campaign {self.campaign.id}"
            raise SubmissionError(f"{where} has no candidate {name[:80]!r}; leaderboard names the best")
        return found

    def shown(self, parents: Sequence[str]) -> str:
        """Give the text that a brief about one program shows, nothing where it is about none or several."""
        if len(parents) != 1:
            return ""
        return baked(self.candidate(parents[0]), self.context.head_dim).text().strip()

    def digests(self, parents: Sequence[str]) -> tuple[str, ...]:
        """Give parents by their programs' digests. Raises SubmissionError for one that was not admitted."""
        if len(parents) > MAX_PARENTS:
            raise SubmissionError(f"there are {len(parents)} parents; name at most {MAX_PARENTS}")
        found = [self.candidate(each).candidate for each in parents]
        refused = next((each for each in found if each.status is not Status.OK), None)
        if refused is not None:
            raise SubmissionError(f"candidate {refused.id} was refused, and is no parent; name one that was measured")
        return tuple(dict.fromkeys(each.program_digest for each in found))


def _is_awaited(fate: Fate, num_known: int) -> bool:
    return fate.state not in ENDED and len(fate.results) <= num_known


def _as_answer(hypotheses: Sequence[str], notes: Sequence[str]) -> str:
    """Write lines for the journal as an answer that holds nothing else."""
    return json.dumps({HYPOTHESES: list(hypotheses), NOTES: list(notes)})
