"""ask -> propose -> admit -> evaluate -> record: a campaign as a function of its seed and of the ledger's records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from search.admission import admit, check, digests
from search.agents.seeds import Seeds
from search.asking import Question
from search.campaigns.stopping import Stopping
from search.config import LAG, CampaignConfig, ConfigError
from search.contracts import ProposerError
from search.dispatch import UNFINISHED, Dispatcher, Job
from search.fit import fit
from search.observer import Observer, Running, Silent
from search.parents import LOSSES, Leader, front, leaders
from search.records import (
    Campaign,
    Candidate,
    Context,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Proposal,
    Record,
    Status,
    Workload,
)
from search.stages import course, next_workload
from search.workloads import held_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.contracts import Evaluator, Ledger, Proposer

TURN_S = 0.25
ANSWER_S = 0.02  # a proposer that computes answers within this; one that waits for a server is looked after later
MAX_FAILURES = 5  # of proposals in a row
MAX_UNMEASURED = 4  # candidates in a row


class End(StrEnum):
    """How a run of a campaign ended."""

    DONE = "done"
    INTERRUPTED = "interrupted"  # drained or stopped: resume continues
    NO_FEASIBLE = "no feasible candidate"
    INFRASTRUCTURE = "infrastructure"  # a proposer or the evaluator is out of order


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: its end, the leaders (by cost ratio, best first) and what confirmed them, held out."""

    end: End
    message: str
    num_steps: int
    num_admitted: int
    leaders: tuple[Leader, ...] = ()
    confirmations: tuple[Evaluation, ...] = ()


def start_campaign(ledger: Ledger, config: CampaignConfig) -> Campaign:
    """Store a new campaign with these settings."""
    return ledger.create_campaign(
        Campaign(config.seed, config.num_candidates, config.proposers, config.model, config.to_json())
    )


class _OutOfOrderError(Exception):
    """The run cannot go on; the message says why."""


class Loop:
    """Runs a campaign from wherever its records stand. `proposers` go with `config.proposers`, one for each.

    Step s is proposed once every step up to s - LAG is finished, and from those records alone. So the number of
    workers decides the pace and not the sequence.
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
        self._ledger, self._evaluator, self._campaign = ledger, evaluator, campaign
        self._seeds, self._proposers = Seeds(self.config), tuple(proposers)
        self._observer = observer or Silent()
        self._dispatcher = Dispatcher(ledger, evaluator, lambda task: check(task, self.config))
        self._records: list[Record] = []
        self._steps: dict[EvaluationKey, int] = {}
        self._question: Question | None = None
        self._answered: set[str] = set()
        self._seen: set[str] = set()
        self._finished: set[int] = set()  # steps that have no stage left
        self._num_settled = 0  # steps from the first on, all of them finished
        self._held: set[int] = set()  # steps that wait for what they are compared with
        self._num_unmeasured = 0  # candidates in a row that no worker could measure
        self._draining = self._stopping = False
        self._rules = Stopping(self.config)
        self._num_steps: int | None = None

    def drain(self) -> None:
        """Let finish what runs and start nothing new. Safe in a signal handler and from other threads."""
        self._draining = True

    def stop(self) -> None:
        """Give everything back and return at once."""
        self._draining = True
        self._stopping = True

    def run(self, num_steps: int | None = None) -> Outcome:
        """Go on until the campaign is complete, drained, stopped or out of order; or has `num_steps` steps in all.

        Raises what is a fault of ours; the leases are given back first.
        """
        self._num_steps = num_steps
        try:
            self._restore()
            while not self._draining and not self._complete():
                self._turn()
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
            ours = self._keys(record.candidate)
            kept = tuple(e for e in record.evaluations if e.key in ours and e.status not in UNFINISHED)
            self._records.append(Record(record.candidate, kept))
            self._remember(record.candidate)
        for step in range(len(self._records)):
            self._next(step)
        num_finished = sum(self._records[step].candidate.status is Status.OK for step in self._finished)
        self._observer.on_start(num_finished, self._seeds.num + self.config.num_candidates)
        for step in [step for step in range(len(self._records)) if step not in self._held]:
            self._start_next(step)

    def _keys(self, candidate: Candidate) -> set[EvaluationKey]:
        """Give the keys of all that this run would measure of a candidate, here and now."""
        if candidate.status is not Status.OK:
            return set()
        workloads = (self.config.workload(*each) for each in course(candidate, self.config))
        return {self._task(candidate, workload, self.config.evaluation_seed).key for workload in workloads}

    def _turn(self) -> None:
        self._ask()
        for evaluation in self._collect(0.0 if self._may_ask() else TURN_S):
            self._take(evaluation)

    def _collect(self, timeout_s: float) -> list[Evaluation]:
        """Collect what is finished, and let people see what is not."""
        done = self._dispatcher.collect(timeout_s)
        under_way = self._dispatcher.under_way
        names = {record.candidate.id: record.candidate.name for record in self._records if under_way}
        running = [Running(names[job.candidate_id], job.task.workload, age_s) for job, age_s in under_way]
        self._observer.on_waiting(running, self._dispatcher.num_running - len(running))
        return done

    # Proposals

    def _ask(self) -> None:
        """Put the next step's question once it may be put, and record the answer once it is there."""
        if self._question is None and self._may_ask():
            step = len(self._records)
            self._question = Question(self._proposer(step), self._context(step))
        if self._question is None:
            return
        try:
            proposal = self._question.answer(ANSWER_S)
        except ProposerError as error:
            self._record_failure(error)
            return
        if proposal is not None:
            self._answered.add(self._question.proposer.name)
            self._question = None
            self._admit(proposal)

    def _may_ask(self) -> bool:
        if self._question is not None or self._all_proposed():
            return False
        return self._is_settled(len(self._records))

    def _is_settled(self, step: int) -> bool:
        """Say whether all that a step may see is finished."""
        return self._num_settled >= min(step - LAG + 1, len(self._records))

    def _visible(self, step: int) -> tuple[Record, ...]:
        return tuple(self._records[: max(0, step - LAG + 1)])

    def _all_proposed(self) -> bool:
        """Say whether the campaign has its candidates, or so many refused ones that it will not get them, or enough."""
        if len(self._records) == self._num_steps or self._reason_to_stop():
            return True
        drawn = self._records[self._seeds.num :]
        admitted = sum(record.candidate.status is Status.OK for record in drawn)
        spent = sum(record.candidate.proposal.dollars for record in drawn)
        if self.config.max_dollars is not None and spent >= self.config.max_dollars:
            return len(self._records) >= self._seeds.num
        limit = 2 * self.config.num_candidates + LAG
        return len(self._records) >= self._seeds.num and (admitted >= self.config.num_candidates or len(drawn) >= limit)

    def _reason_to_stop(self) -> str:
        """Say why no step follows, from what that step might see: nothing before the seeds are through."""
        step = len(self._records)
        ready = step >= self._seeds.num and self._is_settled(step)
        return self._rules.reason(self._visible(step)) if ready else ""

    def _proposer(self, step: int) -> Proposer:
        if step < self._seeds.num:
            return self._seeds
        return self._proposers[(step - self._seeds.num) % len(self._proposers)]

    def _context(self, step: int) -> Context:
        config = self.config
        visible, seen = self._visible(step), frozenset(self._seen)
        return Context(
            config.seed,
            step,
            visible,
            seen,
            config.group,
            config.head_dim,
            config.num_tokens,
            config.num_layers,
            config.terms.lengths,
            config.ratios,
        )

    def _admit(self, proposal: Proposal) -> None:
        self._record(admit(proposal, self._campaign.id, len(self._records), self.config, self._seen))

    def _record_failure(self, error: ProposerError) -> None:
        """Record a step for which there is no proposal, unless the proposer never worked at all."""
        assert self._question is not None
        name, self._question = self._question.proposer.name, None
        if name not in self._answered:
            raise _OutOfOrderError(f"proposer '{name}' gave no answer from the start: {error}")
        failed = Proposal("", name, "failed", rationale=str(error))
        self._record(Candidate(self._campaign.id, len(self._records), failed, Status.INFRASTRUCTURE, str(error)))
        last = self._records[-MAX_FAILURES:]
        if len(last) == MAX_FAILURES and all(r.candidate.status is Status.INFRASTRUCTURE for r in last):
            raise _OutOfOrderError(f"the last {MAX_FAILURES} proposals failed, the last one with: {error}")

    def _record(self, candidate: Candidate) -> None:
        record = Record(self._ledger.add_candidate(candidate))
        self._records.append(record)
        self._remember(record.candidate)
        self._observer.on_candidate(record)
        self._start_next(len(self._records) - 1)

    def _remember(self, candidate: Candidate) -> None:
        """Note which programs a step means, so that no later one repeats it."""
        if candidate.program_digest:
            self._seen.add(candidate.program_digest)
        if candidate.status is Status.OK:
            self._seen.update(digests(candidate.proposal, self.config.terms, self.config.ratios))

    # Evaluations

    def _complete(self) -> bool:
        return self._all_proposed() and self._dispatcher.idle and len(self._finished) == len(self._records)

    def _next(self, step: int) -> Workload | None:
        """Give what a step goes to next, and note where there is nothing left or what it waits for."""
        record = self._records[step]
        if record.candidate.status is Status.OK and not self._is_settled(step):
            self._held.add(step)  # a campaign that is measured again elsewhere
            return None
        workload = next_workload(record, self._visible(step), self.config)
        if workload is None:
            self._finished.add(step)
            while self._num_settled in self._finished:
                self._num_settled += 1
        return workload

    def _start_next(self, step: int) -> None:
        workload = self._next(step)
        if workload is not None and not self._draining:
            candidate = self._records[step].candidate
            task = self._task(candidate, workload, self.config.evaluation_seed)
            self._steps[task.key] = step
            self._dispatcher.start(Job(task, candidate.id))
        while self._held and self._is_settled(first := min(self._held)):
            self._held.discard(first)
            self._start_next(first)

    def _take(self, evaluation: Evaluation) -> None:
        """Add a result to its candidate's record and start what comes next."""
        step = self._steps.pop(evaluation.key)
        before = self._records[step]
        record = replace(before, evaluations=(*before.evaluations, evaluation))
        self._records[step] = record
        self._observer.on_evaluation(record, evaluation)
        self._num_unmeasured = self._num_unmeasured + 1 if evaluation.status is Status.INFRASTRUCTURE else 0
        if self._num_unmeasured == MAX_UNMEASURED:
            raise _OutOfOrderError(f"{MAX_UNMEASURED} candidates in a row could not be measured: {evaluation.message}")
        self._start_next(step)
        if step in self._finished:
            self._observer.on_finished(record)

    def _key(self, digest: str, workload: Workload, seed: int) -> EvaluationKey:
        evaluator = self._evaluator
        where = (evaluator.model_digest, evaluator.environment.digest, evaluator.version)
        return EvaluationKey(digest, workload.stage, workload.digest, *where, seed)

    def _task(self, candidate: Candidate, workload: Workload, seed: int, *, fresh: bool = False) -> EvaluationTask:
        """Ask for a workload, of the program with the budget that its cost ratio allows."""
        text, values = candidate.proposal.text, candidate.proposal.values
        if not workload.ratio:
            return EvaluationTask(self._key(candidate.program_digest, workload, seed), text, values, workload, fresh)
        fitted = fit(text, values, self.config.terms_of(workload), workload.ratio)
        return EvaluationTask(self._key(fitted.digest, workload, seed), text, fitted.values, workload, fresh)

    def _settle_rest(self) -> None:
        """Drained: wait for what still runs and for the answer that is asked for, unless stopped meanwhile."""
        self._dispatcher.drain()
        while self._question is not None and not self._stopping:
            self._ask()
        while self._dispatcher.num_running and not self._stopping:
            for evaluation in self._dispatcher.collect(TURN_S):
                if evaluation.key in self._steps:
                    self._take(evaluation)

    # The end

    def _confirm(self) -> tuple[Evaluation, ...]:
        """Measure the leaders again: fresh engine, other problems, on the split that no proposer is shown."""
        best = leaders(self._records)
        self._observer.on_confirming(best)
        seed = self.config.evaluation_seed + 1
        for stage in (stage for stage in LOSSES if stage in self.config.stages):
            for each in best:
                workload = held_out(self.config.workload(stage, each.ratio), seed)
                task = self._task(each.record.candidate, workload, seed, fresh=True)
                self._dispatcher.start(Job(task, each.record.candidate.id))
        confirmed: list[Evaluation] = []
        while not self._dispatcher.idle and not self._draining:
            confirmed += self._collect(TURN_S)
        return tuple(confirmed)

    def _outcome(self, confirmed: Sequence[Evaluation]) -> Outcome:
        if self._draining:
            return self._end(End.INTERRUPTED, "interrupted; resume goes on from here")
        if front(self._records):
            best = tuple(leaders(self._records))
            return replace(self._end(End.DONE, self._reason_to_stop()), leaders=best, confirmations=tuple(confirmed))
        ours = [r for r in self._records if r.status in (*UNFINISHED, Status.QUARANTINED)]
        if ours:
            return self._end(End.INFRASTRUCTURE, f"no candidate could be measured: {_reason(ours[-1])}")
        return self._end(End.NO_FEASIBLE, "no candidate passed what tells them apart")

    def _end(self, end: End, message: str) -> Outcome:
        admitted = sum(record.candidate.status is Status.OK for record in self._records)
        return Outcome(end, message, len(self._records), admitted)


def _reason(record: Record) -> str:
    return record.evaluations[-1].message if record.evaluations else record.candidate.message
