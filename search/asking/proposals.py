"""From whose turn it is to a step's candidate: who is asked when, what answers become, and when no more is asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.admission import admit
from search.agents.bounds import enforced
from search.archive.allowance import Allowance
from search.asking.questions import Questions
from search.campaigns.stopping import Stopping
from search.contracts import Distant, NoMoneyError, ProposerError, UnreachableError
from search.journal.reflecting import is_due
from search.outcome import OutOfOrderError
from search.ranking.simpler import SIMPLER
from search.records import Candidate, Proposal, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.agents.seeds import Seeds
    from search.archive.history import History
    from search.campaigns.turns import Turns
    from search.config import CampaignConfig
    from search.contracts import Proposer
    from search.outside.arrivals import Arrivals
    from search.records import Context

    Recording = Callable[[Candidate], None]

ANSWER_S = 0.02  # a proposer that computes answers within this; one that waits for a server is looked after so often
MAX_FAILURES = 5  # of proposals in a row


@dataclass(frozen=True)
class Whose:
    """Whose a step is: the seeds come first, then what is brought from outside, then the round in its turns."""

    seeds: Seeds
    turns: Turns
    arrivals: Arrivals
    history: History

    def of(self, step: int) -> Proposer:
        """Give who proposes a step."""
        if step < self.seeds.num:
            return self.seeds
        if step in self.arrivals or not self.turns:
            return self.arrivals
        return self.turns.of(step - self.seeds.num, self.history.archive(step))

    def is_somebody(self, step: int) -> bool:
        """Say whether there is somebody to ask for a step: a round of nobody waits for what is brought."""
        return bool(self.turns) or step < self.seeds.num or step in self.arrivals


class Proposals:
    """Asks for a campaign's steps and makes candidates of the answers, which come in any order, in that of the steps.

    A step may be asked for once every step that it may see is finished. `num_steps`: no more are asked for. `owed`:
    dollars of earlier questions that no candidate pays.
    """

    def __init__(self, config: CampaignConfig, whose: Whose, campaign_id: int, owed: float = 0.0) -> None:
        self.num_steps: int | None = None
        self._config, self._whose, self._campaign_id = config, whose, campaign_id
        self._seeds, self._arrivals, self._history = whose.seeds, whose.arrivals, whose.history
        self._num_steps_of: Counter[str] = Counter()  # by proposer
        self._questions = Questions()
        self._ahead = 0  # the first step that nobody was chosen for ahead of its turn
        self._unasked: list[int] = []  # steps before it whose proposer waits for a server and was too busy so far
        self._answered: set[str] = set()
        self._allowance = Allowance(config, whose.seeds.num, owed)
        self._no_money = ""  # why no more is asked, once that is so
        self._rules = Stopping(config)
        self._draining = self._is_left = False
        self._ended_at: int | None = None  # the first step after the search

    def drain(self) -> None:
        """Ask nothing new but what stands before a question that is open. Safe in signal handlers."""
        self._draining = True

    def note(self, candidate: Candidate) -> None:
        """Count the next step's candidate, whoever recorded it and when.

        Once there is one that simplifies a leader, the search is over.
        """
        if candidate.proposal.operator == SIMPLER:
            self._ended_at = candidate.step if self._ended_at is None else self._ended_at
            return
        self._allowance.add(candidate)
        self._num_steps_of[candidate.proposal.proposer] += 1

    def ask(self, record: Recording) -> None:
        """Put the questions that may be put, and `record` the next step's candidate once its answer is there.

        Raises OutOfOrderError where a proposer never worked, or too many failed in a row.
        """
        if self._is_left:
            return
        step = self._history.num_steps
        if self._may_ask(step) and step not in self._questions and (not self._draining or step < self._questions.last):
            self._put(step)
        self._ask_ahead()
        if self._may_ask(step) and step in self._questions:
            self._take_answer(step, record)

    @property
    def is_over(self) -> bool:
        """Whether nobody is asked for another step."""
        return self._history.num_steps == self.num_steps or self.has_ended

    @property
    def has_ended(self) -> bool:
        """Whether the search is over, and does not only pause after `num_steps`."""
        step = self._history.num_steps
        if self._ended_at is not None or self._allowance.is_over:
            return True
        return bool((self._no_money and not self._questions) or self._reason_to_stop(step))

    @property
    def why(self) -> str:
        """Say why no more is asked, nothing where the campaign has all that was wanted."""
        return self._no_money or self._reason_to_stop(
            self._history.num_steps if self._ended_at is None else self._ended_at
        )

    @property
    def is_at_hand(self) -> bool:
        """Whether the next step's proposal is there, or asked for and does not wait for a server."""
        step = self._history.num_steps
        if not (self._may_ask(step) and self._whose.is_somebody(step)):
            return False
        return self._questions.is_answered(step) or not isinstance(self._whose.of(step), Distant)

    @property
    def is_asking(self) -> bool:
        """Whether a question is open."""
        return bool(self._questions)

    @property
    def is_awaited(self) -> bool:
        """Whether a question is open whose answer may still become a candidate."""
        return self.is_asking and not (self._allowance.is_over or self._is_left)

    def admitted(self, proposal: Proposal) -> Candidate:
        """Make the next step's candidate of a proposal: admitted, or refused with the reason."""
        step = self._history.num_steps
        found = admit(proposal, self._campaign_id, step, self._config, self._history.known(step))
        return enforced(found, self._config.context(step, (), frozenset()))

    # Questions

    def _ask_ahead(self) -> None:
        """Put the questions to proposers that wait for a server, as far as their steps may look and will be needed.

        Whoever has as many as it takes at once lets its steps wait, and nobody else's.
        """
        now = self._history.num_steps
        self._ahead = max(self._ahead, now + 1)
        while self._may_ask_ahead(self._ahead):
            if isinstance(self._whose.of(self._ahead), Distant):
                self._unasked.append(self._ahead)
            self._ahead += 1
        self._unasked = [step for step in self._unasked if step > now and not self._put_ahead(step)]

    def _put_ahead(self, step: int) -> bool:
        proposer = self._whose.of(step)
        assert isinstance(proposer, Distant), "nobody else is asked ahead"
        is_put = self._questions.num_waiting(proposer) < proposer.num_at_once and self._may_ask_ahead(step)
        if is_put:
            self._put(step)
        return is_put

    def _may_ask(self, step: int) -> bool:
        return self._history.is_visible(step) and not self.is_over

    def _may_ask_ahead(self, step: int) -> bool:
        is_needed = self._allowance.is_needed(step, len(self._questions))
        is_visible = step >= self._seeds.num and self._history.is_visible(step)
        is_reached = (self.num_steps is None or step < self.num_steps) and not (self._no_money or self._draining)
        return is_needed and is_reached and is_visible and not self._reason_to_stop(step)

    def _put(self, step: int) -> None:
        """Ask whose turn a step is, unless something from outside takes it; a round of nobody waits for that."""
        is_taken = not self._draining and step >= self._seeds.num and self._arrivals.take(step)
        if is_taken or self._whose.is_somebody(step):
            self._questions.put(self._whose.of(step), self._context(step))

    def _context(self, step: int) -> Context:
        proposer = self._whose.of(step)
        num_asked = self._num_steps_of[proposer.name] + self._questions.num_to(proposer)
        reflects = is_due(num_asked, self._config.reflect_every)
        return self._history.context(step, ahead=isinstance(proposer, Distant), reflects=reflects)

    def _reason_to_stop(self, step: int) -> str:
        """Say why a step does not follow, from what it might see: nothing before the seeds are through."""
        ready = step >= self._seeds.num and self._history.is_visible(step)
        return self._rules.reason(self._history.visible(step)) if ready else ""

    # Answers

    def _take_answer(self, step: int, record: Recording) -> None:
        proposer = self._whose.of(step)
        name = proposer.name
        try:
            proposal = self._questions.take(step, 0.0 if isinstance(proposer, Distant) else ANSWER_S)
        except NoMoneyError as error:
            self._no_money = str(error)
            if self._questions:  # what is asked for later steps is paid for, and takes them
                record(self._failed(name, error))
            return
        except ProposerError as error:
            if self._draining and isinstance(error, UnreachableError):
                self._leave(proposer, error, record)
            else:
                self._take_failure(name, error, record)
            return
        if proposal is not None:
            self._answered.add(name)
            record(self.admitted(proposal))

    def _leave(self, proposer: Proposer, error: UnreachableError, record: Recording) -> None:
        """Leave a step to whoever goes on with the campaign, unless others were asked for later ones."""
        if self._questions.is_open_to_others(proposer):
            record(self._failed(proposer.name, error))
        else:
            self._is_left = True

    def _take_failure(self, name: str, error: ProposerError, record: Recording) -> None:
        """Record a step for which there is no proposal, unless the proposer never worked at all."""
        if not (name in self._answered or error.works):
            raise OutOfOrderError(f"proposer '{name}' gave no answer from the start: {error}")
        record(self._failed(name, error))
        last = self._history.records[-MAX_FAILURES:]
        if len(last) == MAX_FAILURES and all(r.candidate.status is Status.INFRASTRUCTURE for r in last):
            raise OutOfOrderError(f"the last {MAX_FAILURES} proposals failed, the last one with: {error}")

    def _failed(self, name: str, error: ProposerError) -> Candidate:
        why, questions = str(error), error.questions
        failed = Proposal("", name, "failed", rationale=why, dollars=error.dollars, questions=questions)
        return Candidate(self._campaign_id, self._history.num_steps, failed, Status.INFRASTRUCTURE, why)
