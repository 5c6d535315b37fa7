"""The way of one evaluation: claim, run or take from the cache, finish. Keeps leases, waits for busy keys, retries."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.contracts import Claim
from search.fit import Fitted, fit
from search.parents import LOSSES, leaders, rivals
from search.records import Evaluation, EvaluationKey, EvaluationTask, Stage, Status
from search.stages import course
from search.workloads import HELD_OUT, held_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from search.config import CampaignConfig
    from search.contracts import Evaluator, Ledger
    from search.parents import Leader
    from search.records import Candidate, Record, Workload

LEASE_S = 30.0  # how long a killed driver's evaluations stay blocked
HEARTBEAT_S = 10.0
BUSY_POLL_S = 0.5
MAX_ATTEMPTS = 3  # of what fails by our own fault; the next run of the campaign tries again
UNFINISHED = (Status.INFRASTRUCTURE, Status.INTERRUPTED)
TIMED_SHARE = 0.8  # of the pages read where answers are judged: other steps of the same documents, so not quite as many


@dataclass(frozen=True)
class Job:
    """A task, and the candidate whose record shows the result."""

    task: EvaluationTask
    candidate_id: int


class Tasks:
    """What is asked of an evaluator: each workload of a candidate, of the program with the budget that is fitted."""

    def __init__(self, evaluator: Evaluator, config: CampaignConfig) -> None:
        self._config = config
        self.place = (evaluator.model_digest, evaluator.environment.digest, evaluator.version)

    def task(self, candidate: Candidate, workload: Workload, seed: int, *, fresh: bool = False) -> EvaluationTask:
        """Ask for a workload, of the program with the budget that its cost ratio allows."""
        text, values = candidate.proposal.text, candidate.proposal.values
        if not workload.ratio:
            return EvaluationTask(self._key(candidate.program_digest, workload, seed), text, values, workload, fresh)
        fitted = self._fitted(candidate, workload)
        return EvaluationTask(self._key(fitted.digest, workload, seed), text, fitted.values, workload, fresh)

    def next_task(self, record: Record, workload: Workload) -> EvaluationTask:
        """Ask for what follows in a candidate's record: what is timed has to read as much as where it was judged."""
        task = self.task(record.candidate, workload, self._config.evaluation_seed)
        return replace(task, least_read=least_read(record, workload))

    def confirming(self, records: Sequence[Record]) -> Iterator[Job]:
        """Ask for leaders and rivals again: fresh engine, other problems, on the split that no proposer is shown."""
        seed, device = self._config.evaluation_seed + 1, self._config.steered_on
        found = (*leaders(records, steered_on=device), *self.rivals(records))
        for stage in (stage for stage in LOSSES if stage in self._config.stages):
            for each in found:
                candidate = each.record.candidate
                workload = held_out(self._config.workload(stage, each.ratio), seed)
                if not self._is_refused(candidate, workload):  # as at the lengths of questions, which are shorter
                    yield Job(self.task(candidate, workload, seed, fresh=True), candidate.id)

    def rivals(self, records: Sequence[Record]) -> list[Leader]:
        """Give the published rules that are confirmed beside leaders (`search.parents.rivals`)."""
        config = self._config
        are_all_decoded = config.published_share == 1 and Stage.FIDELITY in config.stages
        decoded = {ratio: config.workload(Stage.FIDELITY, ratio) for ratio in config.ratios} if are_all_decoded else {}
        return rivals(records, config.steered_on, decoded)

    def are_here(self, record: Record) -> list[Evaluation]:
        """Give what a record holds of all that a run would measure of its candidate here and now.

        No budget is fitted for it, which takes a tenth of a second a candidate: a ledger gives those evaluations that
        were asked for this candidate, and under one version of the evaluator a rule is fitted to one budget.
        """
        candidate, config = record.candidate, self._config
        if candidate.status is not Status.OK:
            return []
        asked = {(stage, config.workload(stage, ratio).digest) for stage, ratio in course(candidate, config)}
        mine = (self.place, config.evaluation_seed, 0)
        here = [e for e in record.evaluations if (e.key.place, e.key.seed, e.key.repeat) == mine]
        return [e for e in here if (e.key.stage, e.key.workload_digest) in asked]

    def _is_refused(self, candidate: Candidate, workload: Workload) -> bool:
        """Say whether no budget brings it to the cost ratio at these lengths: it would be another rule's row."""
        return bool(workload.ratio and self._fitted(candidate, workload).refusal)

    def _fitted(self, candidate: Candidate, workload: Workload) -> Fitted:
        proposal = candidate.proposal
        return fit(proposal.text, proposal.values, self._config.terms_of(workload), workload.ratio)

    def _key(self, digest: str, workload: Workload, seed: int) -> EvaluationKey:
        return EvaluationKey(digest, workload.stage, workload.digest, *self.place, seed)


def least_read(record: Record, workload: Workload) -> float:
    """Give the least share of all pages that timed steps have to read, by what fidelity's read of the same documents.

    A program may see where it is timed: by the lengths of prompts, or by the number of steps, which are few there.
    """
    judged = record.evaluation(Stage.FIDELITY, workload.ratio) if workload.stage is Stage.SERVE else None
    read, every = (judged.value(name) if judged else None for name in ("pages_attended", "pages_dense"))
    return TIMED_SHARE * read / every if read and every else 0.0


class Dispatcher:
    """Carries jobs to an evaluator and their results to the ledger. One thread uses it.

    `check` measures tasks of stage CHECK in this process. The evaluator is handed no more than its workers can begin:
    what waits here can be given back, and nobody is blamed for it. A worker that is done waits, once its result was
    collected, for what follows of the same program, whose fields it has at hand: until that is started, or `go_on`.
    """

    def __init__(self, ledger: Ledger, evaluator: Evaluator, check: Callable[[EvaluationTask], Evaluation]) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._ledger, self._evaluator, self._check = ledger, evaluator, check
        self._waiting: deque[Job] = deque()
        self._running: dict[EvaluationKey, Job] = {}  # whose leases are ours
        self._queue: deque[EvaluationKey] = deque()  # of those, what no worker is free for
        self._handed: set[EvaluationKey] = set()  # of those, what the evaluator holds
        self._lost: set[EvaluationKey] = set()  # of those, what somebody else has leased since
        self._served: set[str] = set()  # texts of the programs that workers who are free now have served
        self._awaits = False  # whether these wait for what follows
        self._done: list[Evaluation] = []
        self._attempts: Counter[EvaluationKey] = Counter()
        self._retry_at = 0.0
        self._beat_at = time.monotonic() + HEARTBEAT_S
        self._begun: dict[EvaluationKey, float] = {}  # and when
        self._draining = False

    @property
    def num_running(self) -> int:
        """Evaluations whose leases are ours, under way or not."""
        return len(self._running)

    @property
    def under_way(self) -> list[tuple[Job, float]]:
        """What is in a worker's hands, and for how many seconds, the longest first."""
        now = time.monotonic()
        return [(self._running[key], now - begun) for key, begun in self._begun.items()]

    @property
    def idle(self) -> bool:
        """Whether nothing runs, waits for somebody else or has still to be collected."""
        return not (self._running or self._waiting or self._done)

    def start(self, job: Job) -> None:
        """Take on a job. Its result comes from `collect`."""
        self._claim(job)

    def collect(self, timeout_s: float) -> list[Evaluation]:
        """Give what is finished and stored, waiting up to `timeout_s` for the first."""
        self._keep_leases()
        self._try_busy()
        self.go_on()
        patience = 0.0 if self._done else min(timeout_s, BUSY_POLL_S)
        if self._handed:
            finished = self._evaluator.completed(patience)
            self._handed -= {evaluation.key for evaluation in finished}
            self._served, self._awaits = {self._text(evaluation.key) for evaluation in finished}, True
            for evaluation in finished:
                self._finish(evaluation)
        elif patience:
            time.sleep(min(patience, max(0.0, self._retry_at - time.monotonic())))
        done, self._done = self._done, []
        return done

    def go_on(self) -> None:
        """Give workers what waits: all that follows what was collected is started. `collect` does so first."""
        self._awaits = False
        self._begin(self._hand_over())

    def drain(self) -> None:
        """Let run what runs; give back what waits for a worker, and drop what waits for others or for another try."""
        self._draining = True
        self._waiting.clear()
        self._ledger.release(list(self._queue), self.owner)
        for key in self._queue:
            del self._running[key]
        self._queue.clear()

    def release(self) -> None:
        """Give back every lease. Safe from another thread while the one that uses all this is stuck."""
        self._ledger.release(list(self._running), self.owner)
        for each in (self._running, self._queue, self._handed, self._begun, self._lost, self._waiting):
            each.clear()

    def _claim(self, job: Job) -> None:
        is_ours = job.task.key.stage is Stage.CHECK  # done in this process, as soon as nobody else does it
        claim = self._ledger.claim(job.task, self.owner, LEASE_S, job.candidate_id, begun=is_ours)
        if isinstance(claim, Evaluation):
            self._done.append(claim)
        elif claim is Claim.BUSY:
            self._wait(job)
        else:
            self._run(job)

    def _wait(self, job: Job) -> None:
        if not self._draining:
            self._waiting.append(job)

    def _run(self, job: Job) -> None:
        self._running[job.task.key] = job
        self._attempts[job.task.key] += 1
        if job.task.key.stage is Stage.CHECK:
            self._begun[job.task.key] = time.monotonic()
            self._finish(self._check(job.task))
        else:
            self._queue.append(job.task.key)
            self._begin(self._hand_over())

    def _hand_over(self) -> Sequence[EvaluationKey]:
        """Hand as much to the evaluator as its workers can begin; gives what has come into their hands."""
        while (key := self._next()) is not None:
            self._handed.add(key)
            self._evaluator.submit(self._running[key].task)
        new = [key for key in self._evaluator.running() if key in self._running and key not in self._begun]
        self._begun |= dict.fromkeys(new, time.monotonic())
        return new

    def _next(self) -> EvaluationKey | None:
        """Take what goes to a free worker: what waits of the program that it has served, for which its engine is ready.

        Else of a program that nobody serves, so that each worker goes on with its own; else the first. None where
        nothing waits, or nobody is free but who waits for what follows. What confirms comes in order: held-out texts
        and questions do not fit into an engine's cache together, and prefilling them anew takes longer than a program's
        swap.
        """
        num_free = self._evaluator.num_workers - len(self._handed)
        if not self._queue or num_free <= 0:
            return None
        under_way = set(map(self._text, self._handed))
        waiting = [(place, self._text(key)) for place, key in enumerate(self._queue)]
        own = next((place for place, text in waiting if text in self._served), None)
        if own is None and self._awaits and num_free <= len(self._served):
            return None
        free = (place for place, text in waiting if text not in under_way)
        place = 0 if self._confirms(self._queue[0]) else next(free, 0) if own is None else own
        key = self._queue[place]
        del self._queue[place]
        self._served.discard(self._text(key))
        return key

    def _confirms(self, key: EvaluationKey) -> bool:
        job = self._running.get(key)
        return job is not None and job.task.workload.split == HELD_OUT

    def _text(self, key: EvaluationKey) -> str:
        job = self._running.get(key)
        return job.task.text if job else ""

    def _begin(self, new: Sequence[EvaluationKey]) -> None:
        """Tell the ledger what has come into a worker's hands: if we die now, that and nothing else is blamed."""
        if new:
            self._ledger.begin(new, self.owner)

    def _finish(self, evaluation: Evaluation) -> None:
        """Store a result."""
        job = self._running.get(evaluation.key)
        if job is None:  # a retry's late twin; the ledger has the first
            return
        evaluation = replace(evaluation, ratio=job.task.workload.ratio)  # whoever wrote it, a lost worker's place too
        self._ledger.finish(evaluation, self.owner, self._evaluator.environment)
        del self._running[evaluation.key]  # only now: what could not be stored is given back
        self._begun.pop(evaluation.key, None)
        self._lost.discard(evaluation.key)
        if evaluation.status in UNFINISHED and self._attempts[evaluation.key] < MAX_ATTEMPTS:
            self._wait(job)
        else:
            self._done.append(evaluation)

    def _try_busy(self) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            return
        self._retry_at = now + BUSY_POLL_S
        for _ in range(len(self._waiting)):
            self._claim(self._waiting.popleft())

    def _keep_leases(self) -> None:
        """Prolong our leases. Whoever was suspended has lost some, and takes back what that was taken for."""
        now = time.monotonic()
        if now >= self._beat_at and self._running:
            ours = [key for key in self._running if key not in self._lost]
            lost = self._ledger.heartbeat(ours, self.owner, LEASE_S)
            self._lost.update(lost)
            self._ledger.absolve([key for key in lost if key in self._begun])
            self._beat_at = now + HEARTBEAT_S
