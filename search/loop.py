"""ask -> propose -> admit -> evaluate -> record: a campaign as a function of its seed and of the ledger's records."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from search.admission import check, meant
from search.agents.seeds import Seeds
from search.agents.simplifying import Simplifier
from search.archive.earlier import experience_with
from search.archive.history import History
from search.archive.published import Published
from search.archive.unmeasured import Unmeasured, as_settled
from search.asking.proposals import ANSWER_S, Proposals, Whose
from search.campaigns.saying import said
from search.campaigns.turns import Turns
from search.config import CampaignConfig, ConfigError
from search.contracts import Paid, Patient
from search.dispatch import UNFINISHED, Job, Tasks
from search.kinds.elsewhere import Everywhere
from search.observer import Observer, Running, Silent
from search.outcome import End, Outcome, OutOfOrderError, fruitful, fruitless
from search.outside.arrivals import Arrivals
from search.parents import front, leaders, untimed
from search.ranking.simpler import num_searched, stands_for
from search.records import (
    Candidate,
    Evaluation,
    EvaluationKey,
    Record,
    Stage,
    Status,
    StoredCampaign,
    Workload,
)
from search.stages import next_workload, rest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from search.contracts import Evaluator, Ledger, Proposer
    from search.records import Proposal

TURN_S = 0.25
MAX_UNMEASURED = 4  # candidates in a row


def start_campaign(ledger: Ledger, config: CampaignConfig) -> StoredCampaign:
    """Store a new campaign with these settings, and with the experience of earlier ones unless they bring their own."""
    config = replace(config, experience=config.experience or experience_with(config.model, ledger))
    return ledger.create_campaign(
        StoredCampaign(config.seed, config.num_candidates, config.proposers, config.model, config.to_json())
    )


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
        campaign: StoredCampaign,
        observer: Observer | None = None,
    ) -> None:
        self.config = CampaignConfig.from_json(campaign.settings)
        if len(proposers) != len(self.config.proposers):
            names = ", ".join(self.config.proposers)
            raise ConfigError(f"{len(proposers)} proposers were given for the campaign's {names}; give one for each")
        self._ledger, self._campaign, self._proposers = ledger, campaign, proposers
        for each in proposers:
            if isinstance(each, Paid):
                each.pay_from(ledger, campaign.id)
        self._patient = [each for each in proposers if isinstance(each, Patient)]
        for patient in self._patient:
            patient.waits = True
        self._seeds = Seeds(self.config)
        self._observer = observer or Silent()
        self._tasks = Tasks(evaluator, self.config)
        self._dispatcher = Everywhere(ledger, evaluator, lambda task: check(task, self.config), self.config)
        self._draining = self._stopping = False
        self._begin()

    def _begin(self) -> None:
        """Know nothing of the campaign, until it is restored."""
        ledger, campaign = self._ledger, self._campaign
        self._history = History(self.config, self._seeds.num)
        self._steps: dict[EvaluationKey, list[int]] = {}  # two rules may come to one program
        self._names: dict[int, str] = {}  # by candidate
        arrivals = Arrivals(ledger, campaign, self.config.outside)
        whose = Whose(self._seeds, Turns(self.config, self._proposers), arrivals, self._history)
        owing = ledger.owing(campaign.id) if self.config.max_dollars is not None else ()
        self._proposals = Proposals(self.config, whose, campaign.id, math.fsum(each.dollars for each in owing))
        self._held: deque[int] = deque()  # steps that wait for what they are compared with, in order
        self._published = Published(self._history.records, self.config, self._seeds.num)
        self._num_unmeasured = 0  # candidates in a row that no worker could measure
        if self._draining:
            self._proposals.drain()

    def drain(self) -> None:
        """Let finish what runs and start nothing new. Safe in a signal handler and from other threads."""
        self._draining = True
        self._proposals.drain()
        for each in self._patient:
            each.waits = False

    def stop(self) -> None:
        """Give everything back and return at once."""
        self._stopping = True
        self.drain()
        self._ledger.give_up()

    def let_go(self) -> None:
        """Give back every lease while the thread that runs the loop is stuck: another one ends the process next."""
        self._dispatcher.release()

    @property
    def ended(self) -> tuple[int, str] | None:
        """Give the step before which the search ended, and why; None while somebody is still asked for it."""
        return (self._num_searched, self._proposals.why) if self._proposals.is_over else None

    def run(self, num_steps: int | None = None, *, pauses: bool = False) -> Outcome:
        """Go on until the campaign is complete, drained, stopped or out of order; or has `num_steps` steps in all.

        `pauses`: another loop goes on then, so that leaders are timed only if the search is over, and not confirmed.
        Raises what is a fault of ours; the leases are given back first.
        """
        try:
            self._make_up()
            self._proposals.num_steps = num_steps
            self._restore()
            self._search(pauses=pauses)
            self._dispatcher.end_search()
            confirmed = () if self._draining or pauses else self._confirm()
            self._settle_rest()
            return self._outcome(confirmed)
        except OutOfOrderError as reason:
            return self._end(End.INFRASTRUCTURE, str(reason))
        finally:
            self._dispatcher.release()

    def _make_up(self) -> None:
        """Finish all steps as earlier runs had begun them, then let what these could not measure be measured after all.

        So it is on record which steps know what: those before were decided without it, and are so whoever resumes or
        replays the campaign; those to come wait for it.
        """
        if not (lacking := self._lacking()):
            return
        self._restore(lacking)
        self._proposals.num_steps = num_steps = self._history.num_steps
        self._search(pauses=True)
        if not self._draining:
            resumed = 1 + max((each.resumed or 0 for each in self._ledger.unmeasured(self._campaign.id)), default=0)
            known = [replace(each, until=num_steps, resumed=resumed) for each in self._lacking()]
            self._ledger.note_unmeasured(self._campaign.id, known)
            self._begin()

    def _lacking(self) -> list[Unmeasured]:
        """Give what steps were settled without, here, and nobody has tried again."""
        noted = self._ledger.unmeasured(self._campaign.id)
        return [each for each in noted if each.until is None and each.evaluation.key.place == self._tasks.place]

    def _restore(self, lacking: Sequence[Unmeasured] = ()) -> None:
        """Read what is recorded, with what steps were settled without, and start again what has a stage left."""
        with said(f"reading what is known of campaign {self._campaign.id}", at_once=False):
            self._read(lacking)
        history = self._history
        for step in range(history.num_steps):
            self._next(step)
        finished = (history.records[step] for step in range(self._num_searched) if history.is_finished(step))
        num_finished = sum(record.candidate.status is Status.OK for record in finished)
        self._observer.on_start(num_finished, self._seeds.num + self.config.num_candidates)
        held = set(self._held)
        for step in [s for s in range(history.num_settled, history.num_steps) if s not in held]:
            self._start_next(step)

    def _read(self, lacking: Sequence[Unmeasured]) -> None:
        """Remember all steps on record, with what was measured of them here and now."""
        settled = {each.place for each in lacking}
        for recorded in self._ledger.records(self._campaign.id):
            record = as_settled(recorded, lacking)
            step, here = record.candidate.step, self._tasks.are_here(record)
            kept = tuple(e for e in here if e.status not in UNFINISHED or (step, e.key) in settled)
            self._remember(known := Record(record.candidate, kept))
            self._dispatcher.follow(known, *kept)

    def _search(self, *, pauses: bool) -> None:
        """Take steps until there are no more, and see to the leaders."""
        while not self._draining and not self._complete():
            self._turn()
        if self._proposals.has_ended or not pauses:
            self._simplify_leaders()
            self._time_leaders()

    def _turn(self) -> None:
        self._proposals.ask(self._record)
        asking_s = ANSWER_S if self._proposals.is_asking else TURN_S
        for evaluation in self._collect(0.0 if self._proposals.is_at_hand else asking_s):
            self._take(evaluation)
        self._dispatcher.go_on()  # before anybody is asked: that may take a while

    def _collect(self, timeout_s: float) -> list[Evaluation]:
        """Collect what is finished, and let people see what is not."""
        done = self._dispatcher.collect(timeout_s)
        under_way = self._dispatcher.under_way
        running = [
            Running(self._names[job.candidate_id], job.task.workload, age_s, job.task.key) for job, age_s in under_way
        ]
        self._observer.on_waiting(running, self._dispatcher.num_running - len(running))
        return done

    # Steps

    def _record(self, candidate: Candidate) -> None:
        record = Record(self._ledger.add_candidate(candidate))
        self._remember(record)
        self._observer.on_candidate(record)
        self._start_next(record.candidate.step)

    def _remember(self, record: Record) -> None:
        """Note a step, and which programs it means, so that no later one repeats it."""
        candidate = record.candidate
        self._history.add(record, meant(record, self.config))
        self._proposals.note(candidate)
        self._names[candidate.id] = candidate.name

    # Evaluations

    def _complete(self) -> bool:
        return self._history.is_settled and self._dispatcher.idle and self._proposals.is_over

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
        task = self._tasks.next_task(self._history.records[candidate.step], workload)
        self._steps.setdefault(task.key, []).append(candidate.step)
        self._dispatcher.start(Job(task, candidate.id))

    def _take(self, evaluation: Evaluation) -> None:
        """Add a result to its candidate's record and start what comes next."""
        step, *others = self._steps.pop(evaluation.key)
        if others:
            self._steps[evaluation.key] = others
        was_finished = self._history.is_finished(step)  # a leader that is timed in the end
        before = self._history.records[step]
        record = replace(before, evaluations=(*before.evaluations, evaluation))
        self._history.records[step] = record
        self._observer.on_evaluation(record, evaluation)
        self._dispatcher.follow(record, evaluation)
        self._count_unmeasured(evaluation)
        if evaluation.status in UNFINISHED and not (was_finished or self._draining):
            self._ledger.note_unmeasured(self._campaign.id, [Unmeasured(step, evaluation)])
        self._start_next(step)
        if self._history.is_finished(step) and not was_finished:
            self._observer.on_finished(record)

    def _count_unmeasured(self, evaluation: Evaluation) -> None:
        """Raise OutOfOrderError once too many in a row could not be measured: this one is looked at no more."""
        self._num_unmeasured = self._num_unmeasured + 1 if evaluation.status is Status.INFRASTRUCTURE else 0
        if self._num_unmeasured == MAX_UNMEASURED:
            raise OutOfOrderError(f"{MAX_UNMEASURED} candidates in a row could not be measured: {evaluation.message}")

    def _settle_rest(self) -> None:
        """Drained: wait for what still runs and for the answers that are asked for, unless stopped meanwhile."""
        self._dispatcher.drain()
        while not self._stopping and (self._dispatcher.num_running or self._proposals.is_awaited):
            self._proposals.ask(self._record)
            for evaluation in self._dispatcher.collect(TURN_S):
                if evaluation.key in self._steps:
                    self._take(evaluation)

    # The end

    @property
    def _num_searched(self) -> int:
        return num_searched(self._history.records)

    def _simplify_leaders(self) -> None:
        """Look for leaders with a part less that attend to the same, within a bound of trials; measure the shortest."""
        records, step = self._history.records, self._num_searched
        if self._draining or not self.config.simplify_trials:
            return
        simplifier = Simplifier(records[:step], self.config)
        while tried := simplifier.proposals(step):
            if not self._has_screened(tried, step):
                return
            simplifier.take(records[step : step + len(tried)])
            step += len(tried)
        while not self._draining and (left := self._left_of(simplifier.found)):
            for candidate, workload in left:
                self._measure(candidate, workload)
            for evaluation in self._rest():
                self._take(evaluation)

    def _has_screened(self, proposals: Sequence[Proposal], step: int) -> bool:
        """Make the next steps of proposals, unless they are on record, and wait for their screens; no if drained."""
        for number, proposal in enumerate(proposals, step):
            if number == self._history.num_steps:
                if self._draining or number == self._proposals.num_steps:
                    return False
                self._record(self._proposals.admitted(proposal))
        for evaluation in self._rest():
            self._take(evaluation)
        return not self._draining

    def _left_of(self, steps: Iterable[int]) -> list[tuple[Candidate, Workload]]:
        """Give what the shortest forms of leaders have still to run on."""
        found = [self._history.records[step] for step in steps]
        following = ((record.candidate, rest_of(record, self.config)) for record in found)
        return [(candidate, workload) for candidate, workload in following if workload is not None]

    def _time_leaders(self) -> None:
        """Time leaders that no step was allowed to: the first steps have nobody to be compared with.

        Who turns out slower than was foretold leaves its place to others, until all who lead are timed. So nothing is
        left to whoever resumes a campaign that has ended.
        """
        config, is_asked = self.config, Stage.SERVE in self.config.stages
        while is_asked and not self._draining:
            left = untimed(self._history.records, config.serve_floor, config.steered_on)
            for each in left:
                self._measure(each.record.candidate, config.workload(Stage.SERVE, each.ratio))
            for evaluation in self._rest():
                self._take(evaluation)
            is_asked = bool(left)

    def _confirm(self) -> tuple[Evaluation, ...]:
        """Measure leaders and rivals again, on the held-out split."""
        self._observer.on_confirming(leaders(self._history.records, steered_on=self.config.steered_on))
        for job in self._tasks.confirming(self._history.records):
            self._dispatcher.start(job)
        return tuple(self._rest())

    def _rest(self) -> Iterator[Evaluation]:
        """Give what is still measured, as it comes."""
        while not (self._dispatcher.is_settled or self._draining):
            yield from self._collect(TURN_S)

    def _outcome(self, confirmed: Sequence[Evaluation]) -> Outcome:
        if self._draining:
            return self._end(End.INTERRUPTED, "interrupted; resume goes on from here")
        if front(self._history.records):
            records = self._history.records
            best = tuple(leaders(records, steered_on=self.config.steered_on))
            others = tuple(self._tasks.rivals(records))
            done = self._end(*fruitful(self._dispatcher.missing, self._proposals.why))
            pairs = ((each, stands_for(each.record, records, each.ratio)) for each in best)
            longer = {each.record.candidate.step: (each.record, other) for each, other in pairs if other is not None}
            confirmed, simplified = tuple(confirmed), tuple(longer.values())
            return replace(done, leaders=best, rivals=others, confirmations=confirmed, simplified=simplified)
        return self._end(*fruitless(self._history.records))

    def _end(self, end: End, message: str) -> Outcome:
        admitted = sum(record.candidate.status is Status.OK for record in self._history.records)
        return Outcome(end, message, self._history.num_steps, admitted)
