"""ask -> propose -> admit -> evaluate -> record: a campaign as a function of its seed and of the ledger's records."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING

from search.admission import admit, check, digests
from search.agents.bounds import enforced
from search.agents.seeds import Seeds
from search.archive.allowance import Allowance
from search.archive.earlier import experience_with
from search.archive.history import History
from search.archive.published import Published
from search.asking import Questions
from search.campaigns.stopping import Stopping
from search.campaigns.turns import Turns
from search.config import CampaignConfig, ConfigError
from search.contracts import Distant, NoMoneyError, ProposerError
from search.dispatch import UNFINISHED, Dispatcher, Job, Tasks
from search.journal.reflecting import is_due
from search.observer import Observer, Running, Silent
from search.outcome import End, Outcome, fruitless
from search.outside.arrivals import Arrivals
from search.parents import LOSSES, front, leaders, rivals, untimed
from search.records import (
    Campaign,
    Candidate,
    Evaluation,
    EvaluationKey,
    Proposal,
    Record,
    Stage,
    Status,
    Workload,
)
from search.stages import next_workload
from search.workloads import held_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from search.contracts import Evaluator, Ledger, Proposer
    from search.records import Context

TURN_S = 0.25
ANSWER_S = 0.02  # a proposer that computes answers within this; one that waits for a server is looked after so often
MAX_FAILURES = 5  # of proposals in a row
MAX_UNMEASURED = 4  # candidates in a row


def start_campaign(ledger: Ledger, config: CampaignConfig) -> Campaign:
    """Store a new campaign with these settings, and with the experience of earlier ones unless they bring their own."""
    config = replace(config, experience=config.experience or experience_with(config.model, ledger))
    return ledger.create_campaign(
        Campaign(config.seed, config.num_candidates, config.proposers, config.model, config.to_json())
    )


class _OutOfOrderError(Exception):
    """The run cannot go on; the message says why."""


class Loop:
    """Runs a campaign from wherever its records stand. `proposers` go with `config.proposers`, one for each.

    Step s is proposed once every step up to s - lag is finished, and from those records alone; steps are recorded in
    order, whichever answer comes first. So the number of workers decides the pace and not the sequence.
    """

    def __init__(
        self,
        ledger: Ledger,
        evaluator: Evaluator,
        proposers: Sequence[Proposer],
        campaign: Campaign,
        observer: Observer | None = None,
    ) -> None:
        self.config = CampaignConfig.from_json(campaign.settings)
        if len(proposers) != len(self.config.proposers):
            names = ", ".join(self.config.proposers)
            raise ConfigError(f"{len(proposers)} proposers were given for the campaign's {names}; give one for each")
        self._ledger, self._campaign = ledger, campaign
        self._seeds, self._turns = Seeds(self.config), Turns(self.config, proposers)
        self._observer = observer or Silent()
        self._tasks = Tasks(evaluator, self.config)
        self._dispatcher = Dispatcher(ledger, evaluator, lambda task: check(task, self.config))
        self._history = History(self.config, self._seeds.num)
        self._steps: dict[EvaluationKey, int] = {}
        self._names: dict[int, str] = {}  # by candidate
        self._num_steps_of: Counter[str] = Counter()  # by proposer
        self._questions = Questions()
        self._arrivals = Arrivals(ledger, campaign, self.config.outside)
        self._ahead = 0  # the first step that nobody was chosen for ahead of its turn
        self._unasked: list[int] = []  # steps before it whose proposer waits for a server and was too busy so far
        self._answered: set[str] = set()
        self._allowance = Allowance(self.config, self._seeds.num)
        self._no_money = ""  # why no more is asked, once that is so
        self._rules = Stopping(self.config)
        self._num_steps: int | None = None
        self._held: deque[int] = deque()  # steps that wait for what they are compared with, in order
        self._published = Published(self._history.records, self.config, self._seeds.num)
        self._num_unmeasured = 0  # candidates in a row that no worker could measure
        self._draining = self._stopping = False

    def drain(self) -> None:
        """Let finish what runs and start nothing new. Safe in a signal handler and from other threads."""
        self._draining = True

    def stop(self) -> None:
        """Give everything back and return at once."""
        self._draining = self._stopping = True
        self._ledger.give_up()

    def let_go(self) -> None:
        """Give back every lease while the thread that runs the loop is stuck: another one ends the process next."""
        self._dispatcher.release()

    def run(self, num_steps: int | None = None) -> Outcome:
        """Go on until the campaign is complete, drained, stopped or out of order; or has `num_steps` steps in all.

        Raises what is a fault of ours; the leases are given back first.
        """
        self._num_steps = num_steps
        try:
            self._restore()
            while not self._draining and not self._complete():
                self._turn()
            self._time_leaders()
            confirmed = () if self._draining else self._confirm()
            self._settle_rest()
            return self._outcome(confirmed)
        except _OutOfOrderError as reason:
            return self._end(End.INFRASTRUCTURE, str(reason))
        finally:
            self._dispatcher.release()

    def _restore(self) -> None:
        """Read what is recorded, and start again what has a stage left."""
        for record in self._ledger.records(self._campaign.id):
            ours = self._tasks.keys(record.candidate)
            kept = tuple(e for e in record.evaluations if e.key in ours and e.status not in UNFINISHED)
            self._remember(Record(record.candidate, kept))
        history = self._history
        for step in range(history.num_steps):
            self._next(step)
        finished = (history.records[step] for step in range(history.num_steps) if history.is_finished(step))
        num_finished = sum(record.candidate.status is Status.OK for record in finished)
        self._observer.on_start(num_finished, self._seeds.num + self.config.num_candidates)
        held = set(self._held)
        for step in [s for s in range(history.num_settled, history.num_steps) if s not in held]:
            self._start_next(step)

    def _turn(self) -> None:
        self._ask()
        for evaluation in self._collect(0.0 if self._is_at_hand() else ANSWER_S if self._questions else TURN_S):
            self._take(evaluation)

    def _collect(self, timeout_s: float) -> list[Evaluation]:
        """Collect what is finished, and let people see what is not."""
        done = self._dispatcher.collect(timeout_s)
        under_way = self._dispatcher.under_way
        running = [
            Running(self._names[job.candidate_id], job.task.workload, age_s, job.task.key) for job, age_s in under_way
        ]
        self._observer.on_waiting(running, self._dispatcher.num_running - len(running))
        return done

    # Proposals

    def _ask(self) -> None:
        """Put the questions that may be put, and record the next step's answer once it is there."""
        step = self._history.num_steps
        if self._may_ask(step) and step not in self._questions and (not self._draining or step < self._questions.last):
            self._put(step)
        self._ask_ahead()
        if self._may_ask(step) and step in self._questions:
            self._take_answer(step)

    def _ask_ahead(self) -> None:
        """Put the questions to proposers that wait for a server, as far as their steps may look and will be needed.

        Whoever has as many as it takes at once lets its steps wait, and nobody else's.
        """
        now = self._history.num_steps
        self._ahead = max(self._ahead, now + 1)
        while self._may_ask_ahead(self._ahead):
            if isinstance(self._proposer(self._ahead), Distant):
                self._unasked.append(self._ahead)
            self._ahead += 1
        self._unasked = [step for step in self._unasked if step > now and not self._put_ahead(step)]

    def _put_ahead(self, step: int) -> bool:
        proposer = self._proposer(step)
        assert isinstance(proposer, Distant), "nobody else is asked ahead"
        is_put = self._questions.num_waiting(proposer) < proposer.num_at_once and self._may_ask_ahead(step)
        if is_put:
            self._put(step)
        return is_put

    def _may_ask_ahead(self, step: int) -> bool:
        is_needed = self._allowance.is_needed(step, len(self._questions))
        is_visible = step >= self._seeds.num and self._history.is_visible(step)
        is_reached = (self._num_steps is None or step < self._num_steps) and not (self._no_money or self._draining)
        return is_needed and is_reached and is_visible and not self._reason_to_stop(step)

    def _put(self, step: int) -> None:
        """Ask whose turn a step is, unless something from outside takes it; a round of nobody waits for that."""
        is_taken = not self._draining and step >= self._seeds.num and self._arrivals.take(step)
        if is_taken or self._is_due(step):
            self._questions.put(self._proposer(step), self._context(step))

    def _is_due(self, step: int) -> bool:
        """Whether there is somebody to ask for a step."""
        return bool(self._turns) or step < self._seeds.num or step in self._arrivals

    def _take_answer(self, step: int) -> None:
        proposer = self._proposer(step)
        name = proposer.name
        try:
            proposal = self._questions.take(step, 0.0 if isinstance(proposer, Distant) else ANSWER_S)
        except NoMoneyError as error:
            self._no_money = str(error)
            if self._questions:  # what is asked for later steps is paid for, and takes them
                self._record_failed(name, error)
            return
        except ProposerError as error:
            self._record_failure(name, error)
            return
        if proposal is not None:
            self._answered.add(name)
            found = admit(proposal, self._campaign.id, step, self.config, self._history.known(step))
            self._record(enforced(found, self.config.context(step, (), frozenset())))

    def _may_ask(self, step: int) -> bool:
        return self._history.is_visible(step) and not self._is_over(step)

    def _is_over(self, step: int) -> bool:
        is_over = self._allowance.is_over or step == self._num_steps
        return is_over or bool((self._no_money and not self._questions) or self._reason_to_stop(step))

    def _reason_to_stop(self, step: int) -> str:
        """Say why a step does not follow, from what it might see: nothing before the seeds are through."""
        ready = step >= self._seeds.num and self._history.is_visible(step)
        return self._rules.reason(self._history.visible(step)) if ready else ""

    def _is_at_hand(self) -> bool:
        """Whether the next step's proposal is there, or asked for and does not wait for a server."""
        step = self._history.num_steps
        if not (self._may_ask(step) and self._is_due(step)):
            return False
        return self._questions.is_answered(step) or not isinstance(self._proposer(step), Distant)

    def _proposer(self, step: int) -> Proposer:
        if step < self._seeds.num:
            return self._seeds
        if step in self._arrivals or not self._turns:
            return self._arrivals
        return self._turns.of(step - self._seeds.num, self._history.archive(step))

    def _context(self, step: int) -> Context:
        proposer = self._proposer(step)
        num_asked = self._num_steps_of[proposer.name] + self._questions.num_to(proposer)
        reflects = is_due(num_asked, self.config.reflect_every)
        return self._history.context(step, ahead=isinstance(proposer, Distant), reflects=reflects)

    def _record_failure(self, name: str, error: ProposerError) -> None:
        """Record a step for which there is no proposal, unless the proposer never worked at all."""
        if not (name in self._answered or error.works):
            raise _OutOfOrderError(f"proposer '{name}' gave no answer from the start: {error}")
        self._record_failed(name, error)
        last = self._history.records[-MAX_FAILURES:]
        if len(last) == MAX_FAILURES and all(r.candidate.status is Status.INFRASTRUCTURE for r in last):
            raise _OutOfOrderError(f"the last {MAX_FAILURES} proposals failed, the last one with: {error}")

    def _record_failed(self, name: str, error: ProposerError) -> None:
        failed = Proposal("", name, "failed", rationale=str(error), dollars=error.dollars)
        step = self._history.num_steps
        self._record(Candidate(self._campaign.id, step, failed, Status.INFRASTRUCTURE, str(error)))

    def _record(self, candidate: Candidate) -> None:
        record = Record(self._ledger.add_candidate(candidate))
        self._remember(record)
        self._observer.on_candidate(record)
        self._start_next(record.candidate.step)

    def _remember(self, record: Record) -> None:
        """Note a step, and which programs it means, so that no later one repeats it."""
        candidate = record.candidate
        known = [candidate.program_digest] if candidate.program_digest else []
        if candidate.status is Status.OK:
            known += digests(candidate.proposal, self.config.terms, self.config.ratios)
        self._history.add(record, known)
        self._allowance.add(candidate)
        self._names[candidate.id] = candidate.name
        self._num_steps_of[candidate.proposal.proposer] += 1

    # Evaluations

    def _complete(self) -> bool:
        return self._history.is_settled and self._dispatcher.idle and self._is_over(self._history.num_steps)

    def _next(self, step: int) -> Workload | None:
        """Give what a step goes to next, and note where there is nothing left or what it waits for."""
        record = self._history.records[step]
        workload = None
        if record.candidate.status is Status.OK:
            if not self._history.is_visible(step):
                self._held.append(step)  # a campaign that is measured again elsewhere
                return None
            workload = next_workload(record, self._history.archive(step), self.config, self._published)
            if self._published.delays(record, workload):
                return None
        if workload is None:
            self._history.finish(step)
        return workload

    def _start_next(self, step: int) -> None:
        self._start(step)
        for each in self._published.freed():
            self._start(each)
        while self._held and self._history.is_visible(self._held[0]):
            self._start(self._held.popleft())

    def _start(self, step: int) -> None:
        workload = None if self._history.is_finished(step) else self._next(step)
        if workload is not None and not self._draining:
            self._measure(self._history.records[step].candidate, workload)

    def _measure(self, candidate: Candidate, workload: Workload) -> None:
        task = self._tasks.task(candidate, workload, self.config.evaluation_seed)
        self._steps[task.key] = candidate.step
        self._dispatcher.start(Job(task, candidate.id))

    def _take(self, evaluation: Evaluation) -> None:
        """Add a result to its candidate's record and start what comes next."""
        step = self._steps.pop(evaluation.key)
        was_finished = self._history.is_finished(step)  # a leader that is timed in the end
        before = self._history.records[step]
        record = replace(before, evaluations=(*before.evaluations, evaluation))
        self._history.records[step] = record
        self._observer.on_evaluation(record, evaluation)
        self._num_unmeasured = self._num_unmeasured + 1 if evaluation.status is Status.INFRASTRUCTURE else 0
        if self._num_unmeasured == MAX_UNMEASURED:
            raise _OutOfOrderError(f"{MAX_UNMEASURED} candidates in a row could not be measured: {evaluation.message}")
        self._start_next(step)
        if self._history.is_finished(step) and not was_finished:
            self._observer.on_finished(record)

    def _settle_rest(self) -> None:
        """Drained: wait for what still runs and for the answers that are asked for, unless stopped meanwhile."""
        self._dispatcher.drain()
        while not self._stopping and (
            self._dispatcher.num_running or (self._questions and not self._allowance.is_over)
        ):
            self._ask()
            for evaluation in self._dispatcher.collect(TURN_S):
                if evaluation.key in self._steps:
                    self._take(evaluation)

    # The end

    def _time_leaders(self) -> None:
        """Time leaders that no step was allowed to: the first steps have nobody to be compared with."""
        is_asked = Stage.SERVE in self.config.stages and not self._draining
        for each in untimed(self._history.records, self.config.serve_floor) if is_asked else ():
            self._measure(each.record.candidate, self.config.workload(Stage.SERVE, each.ratio))
        for evaluation in self._rest():
            self._take(evaluation)

    def _confirm(self) -> tuple[Evaluation, ...]:
        """Measure leaders and rivals again: fresh engine, other problems, on the split that no proposer is shown."""
        self._observer.on_confirming(best := leaders(self._history.records))
        seed = self.config.evaluation_seed + 1
        for stage in (stage for stage in LOSSES if stage in self.config.stages):
            for each in (*best, *rivals(self._history.records)):
                workload = held_out(self.config.workload(stage, each.ratio), seed)
                task = self._tasks.task(each.record.candidate, workload, seed, fresh=True)
                self._dispatcher.start(Job(task, each.record.candidate.id))
        return tuple(self._rest())

    def _rest(self) -> Iterator[Evaluation]:
        """Give what is still measured, as it comes."""
        while not self._dispatcher.idle and not self._draining:
            yield from self._collect(TURN_S)

    def _outcome(self, confirmed: Sequence[Evaluation]) -> Outcome:
        if self._draining:
            return self._end(End.INTERRUPTED, "interrupted; resume goes on from here")
        if front(self._history.records):
            best, others = (tuple(found(self._history.records)) for found in (leaders, rivals))
            done = self._end(End.DONE, self._no_money or self._reason_to_stop(self._history.num_steps))
            return replace(done, leaders=best, rivals=others, confirmations=tuple(confirmed))
        return self._end(*fruitless(self._history.records))

    def _end(self, end: End, message: str) -> Outcome:
        admitted = sum(record.candidate.status is Status.OK for record in self._history.records)
        return Outcome(end, message, self._history.num_steps, admitted)
