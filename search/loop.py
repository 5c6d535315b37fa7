"""ask -> propose -> admit -> evaluate -> record: a campaign as a function of its seed and of the ledger's records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from search.admission import admit, check
from search.agents.seeds import Seeds
from search.asking import Question
from search.config import LAG, CampaignConfig, ConfigError
from search.contracts import ProposerError
from search.dispatch import UNFINISHED, Dispatcher, Job
from search.observer import Observer, Silent
from search.parents import front, leaders
from search.records import (
    Campaign,
    Candidate,
    Context,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Proposal,
    Record,
    Stage,
    Status,
    Workload,
)
from search.stages import next_stage

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
    """What a run leaves: its end, the leaders (best first) and what confirmed them on the held-out split."""

    end: End
    message: str
    num_steps: int
    num_admitted: int
    leaders: tuple[Record, ...] = ()
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
        self._num_unmeasured = 0  # candidates in a row that no worker could measure
        self._draining = self._stopping = False

    def drain(self) -> None:
        """Let finish what runs and start nothing new. Safe in a signal handler and from other threads."""
        self._draining = True

    def stop(self) -> None:
        """Give everything back and return at once."""
        self._draining = True
        self._stopping = True

    def run(self) -> Outcome:
        """Go on until the campaign is complete, drained, stopped or out of order.

        Raises what is a fault of ours; the leases are given back first.
        """
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
            kept = tuple(e for e in record.evaluations if self._is_ours(e))
            self._records.append(Record(record.candidate, kept))
        num_finished = sum(self._finished(r) for r in self._records if r.candidate.status is Status.OK)
        self._observer.on_start(num_finished, self._seeds.num + self.config.num_candidates)
        for record in list(self._records):
            self._start_next(record)

    def _is_ours(self, evaluation: Evaluation) -> bool:
        """Say whether an evaluation is what this run would have measured, here and now, and finished."""
        key = evaluation.key
        if key.stage not in self.config.stages:
            return False
        expected = self._key(key.program_digest, self.config.workload(key.stage), self.config.evaluation_seed)
        return key == expected and evaluation.status not in UNFINISHED

    def _turn(self) -> None:
        self._ask()
        for evaluation in self._dispatcher.collect(0.0 if self._may_ask() else TURN_S):
            self._take(evaluation)

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
        visible = self._records[: max(0, len(self._records) - LAG + 1)]
        return all(self._finished(record) for record in visible)

    def _all_proposed(self) -> bool:
        """Say whether the campaign has its candidates, or so many refused ones that it will not get them."""
        drawn = self._records[self._seeds.num :]
        admitted = sum(record.candidate.status is Status.OK for record in drawn)
        spent = sum(record.candidate.proposal.dollars for record in drawn)
        if self.config.max_dollars is not None and spent >= self.config.max_dollars:
            return len(self._records) >= self._seeds.num
        limit = 2 * self.config.num_candidates + LAG
        return len(self._records) >= self._seeds.num and (admitted >= self.config.num_candidates or len(drawn) >= limit)

    def _proposer(self, step: int) -> Proposer:
        if step < self._seeds.num:
            return self._seeds
        return self._proposers[(step - self._seeds.num) % len(self._proposers)]

    def _context(self, step: int) -> Context:
        config = self.config
        visible = tuple(self._records[: max(0, step - LAG + 1)])
        seen = frozenset(r.candidate.program_digest for r in self._records if r.candidate.program_digest)
        return Context(config.seed, step, visible, seen, config.group, config.head_dim, config.num_tokens)

    def _admit(self, proposal: Proposal) -> None:
        step = len(self._records)
        seen = {record.candidate.program_digest for record in self._records}
        self._record(admit(proposal, self._campaign.id, step, self.config, seen))

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
        self._observer.on_candidate(record)
        self._start_next(record)

    # Evaluations

    def _finished(self, record: Record) -> bool:
        return next_stage(record, self.config) is None

    def _complete(self) -> bool:
        return self._all_proposed() and self._dispatcher.idle and all(map(self._finished, self._records))

    def _start_next(self, record: Record) -> None:
        stage = next_stage(record, self.config)
        if stage is None or self._draining:
            return
        task = self._task(record.candidate, self.config.workload(stage), self.config.evaluation_seed)
        self._steps[task.key] = record.candidate.step
        self._dispatcher.start(Job(task, record.candidate.id))

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
        if self._finished(record):
            self._observer.on_finished(record)
        self._start_next(record)

    def _key(self, digest: str, workload: Workload, seed: int) -> EvaluationKey:
        evaluator = self._evaluator
        where = (evaluator.model_digest, evaluator.environment.digest, evaluator.version)
        return EvaluationKey(digest, workload.stage, workload.digest, *where, seed)

    def _task(self, candidate: Candidate, workload: Workload, seed: int, *, fresh: bool = False) -> EvaluationTask:
        key = self._key(candidate.program_digest, workload, seed)
        return EvaluationTask(key, candidate.proposal.text, candidate.proposal.values, workload, fresh)

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
        workload = replace(self.config.workload(Stage.PROBE), split="held_out")
        for record in best:
            task = self._task(record.candidate, workload, self.config.evaluation_seed + 1, fresh=True)
            self._dispatcher.start(Job(task, record.candidate.id))
        confirmed: list[Evaluation] = []
        while not self._dispatcher.idle and not self._draining:
            confirmed += self._dispatcher.collect(TURN_S)
        return tuple(confirmed)

    def _outcome(self, confirmed: Sequence[Evaluation]) -> Outcome:
        if self._draining:
            return self._end(End.INTERRUPTED, "interrupted; resume goes on from here")
        if front(self._records):
            best = tuple(leaders(self._records))
            return replace(self._end(End.DONE, ""), leaders=best, confirmations=tuple(confirmed))
        ours = [r for r in self._records if r.status in (*UNFINISHED, Status.QUARANTINED)]
        if ours:
            return self._end(End.INFRASTRUCTURE, f"no candidate could be measured: {_reason(ours[-1])}")
        return self._end(End.NO_FEASIBLE, "no candidate passed the probe")

    def _end(self, end: End, message: str) -> Outcome:
        admitted = sum(record.candidate.status is Status.OK for record in self._records)
        return Outcome(end, message, len(self._records), admitted)


def _reason(record: Record) -> str:
    return record.evaluations[-1].message if record.evaluations else record.candidate.message
