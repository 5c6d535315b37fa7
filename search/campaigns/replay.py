"""A campaign once more from its record: the same loop, asked again whatever can be, measured nothing.

Answers of language models and measurements are taken from the record; every other proposer is asked again, and what
the language tells of a program is computed again. So whatever decides (proposers, gates, stop rules, leaders) decides
once more, and its decisions are compared with those on record.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.admission import check
from search.campaigns.proposers import proposer_of
from search.campaigns.replaying.differences import (
    DifferenceError,
    closed,
    compare_candidates,
    compare_checks,
    compare_proposals,
    named,
)
from search.config import CampaignConfig, ConfigError
from search.contracts import Claim, ProposerError
from search.dispatch import UNFINISHED
from search.kinds.elsewhere import REPEATED
from search.loop import Loop, start_campaign
from search.observer import Silent
from search.outcome import End
from search.ranking.simpler import is_simpler, num_searched
from search.records import Evaluation, Stage, Status
from search.store.ledger import SqlLedger
from search.store.shown.candidates import ALL
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from search.archive.unmeasured import Unmeasured
    from search.contracts import Ledger, Proposer
    from search.outcome import Outcome
    from search.records import (
        Candidate,
        Context,
        Environment,
        EvaluationKey,
        EvaluationTask,
        Proposal,
        Record,
        StoredCampaign,
        Submission,
    )

    Measured = tuple[int, Stage, float]  # step, stage and cost ratio

FAILED = "failed"  # the operator of a step for which a proposer gave nothing


@dataclass(frozen=True)
class Replay:
    """What a replay found. `difference` is the first; empty where there is none.

    `num_absent`: evaluations that the last steps ask for and the record does not have: it was interrupted before them.
    `asked_again` and `from_record` are the proposers whose proposals were made again, and were not. `late`: steps of
    which something was measured only when the campaign was resumed, and the first step that knew it, 0 where none does.
    """

    campaign: int
    num_steps: int
    num_evaluations: int
    num_absent: int
    asked_again: tuple[str, ...]
    from_record: tuple[str, ...]
    late: tuple[tuple[int, int], ...] = ()
    step: int | None = None
    difference: str = ""


def replay(ledger: Ledger, campaign: StoredCampaign) -> Replay:
    """Run a recorded campaign again without an engine, as far as its record goes; nothing is written to `ledger`.

    Raises ConfigError where it cannot be replayed: nothing was measured, or in several circumstances.
    """
    recorded = _Recorded.of(ledger, campaign)
    config = CampaignConfig.from_json(campaign.settings)
    proposers = [_Again(name, recorded) for name in config.proposers]
    with (
        tempfile.TemporaryDirectory(prefix="vortex-replay-") as folder,
        closing(_Scratch(f"sqlite:///{folder}/replay.db", recorded, config)) as scratch,
    ):
        found = _first_difference(scratch, recorded, config, proposers)
    again = dict.fromkeys(each.name for each in proposers if each.is_asked)
    taken = dict.fromkeys([*(each.name for each in proposers if not each.is_asked), *config.outside])
    return Replay(
        campaign.id,
        num_steps=len(recorded.records),
        num_evaluations=sum(len(record.evaluations) for record in recorded.records),
        num_absent=scratch.num_absent,
        asked_again=tuple(again),
        from_record=tuple(taken),
        late=tuple(dict.fromkeys((each.step, each.until) for each in recorded.unmeasured if each.until is not None)),
        step=found.step if found else None,
        difference=found.what if found else "",
    )


def _first_difference(
    scratch: _Scratch, recorded: _Recorded, config: CampaignConfig, proposers: Sequence[Proposer]
) -> DifferenceError | None:
    copy = start_campaign(scratch, config)
    num_steps, begun, outcomes = len(recorded.records), [], []

    def begin() -> Loop:
        begun.append(_Loop(scratch, _Nobody(recorded), proposers, copy, _Comparing(scratch, recorded)))
        return begun[-1]

    try:
        for scratch.resumed, until in (*recorded.pauses, (None, num_steps)):
            outcomes.append(outcome := _run(begin, until, pauses=scratch.resumed is not None))
            if outcome.num_steps < until:
                return _ended(outcome.num_steps, outcome.message or outcome.end)
        scratch.compare_stages()
        recorded.compare_confirmed(outcomes)
    except DifferenceError as difference:
        ended = begun[-1].ended  # then other leaders are timed, which tells less
        return difference if ended is None or ended[0] >= num_searched(recorded.records) else _ended(*ended)
    return None


def _ended(step: int, why: str) -> DifferenceError:
    return DifferenceError(step, f"the campaign ends before it ({why}), and goes on on record")


def _run(begin: Callable[[], Loop], num_steps: int, *, pauses: bool) -> Outcome:
    """Run as far as the record goes, and go on after each end out of order as whoever resumed it did.

    Too many proposals that fail in a row end a run; `vortex resume` goes on, until the next one that fails.
    """
    outcome, before = begin().run(num_steps, pauses=pauses), 0
    while outcome.end is End.INFRASTRUCTURE and before < outcome.num_steps < num_steps:
        before = outcome.num_steps
        outcome = begin().run(num_steps, pauses=pauses)
    return outcome


class _Loop(Loop):
    """Goes on whatever could not be measured: the record says how."""

    def _count_unmeasured(self, evaluation: Evaluation) -> None: ...


@dataclass(frozen=True)
class _Recorded:
    """What is on record of a campaign, in the one circumstance in which it was measured."""

    ledger: Ledger
    campaign: StoredCampaign
    records: tuple[Record, ...]
    place: tuple[str, str, str]  # digests of model and environment, and the evaluator's version
    unmeasured: tuple[Unmeasured, ...]  # there

    @classmethod
    def of(cls, ledger: Ledger, campaign: StoredCampaign) -> _Recorded:
        """Read it. Raises ConfigError where there is nothing to replay, or too much."""
        records = tuple(ledger.records(campaign.id))
        places: dict[tuple[str, str, str], set[Measured]] = {}
        for record in records:
            for e in record.evaluations:
                places.setdefault(e.key.place, set()).add((record.candidate.step, e.key.stage, e.ratio))
        if not places:
            raise ConfigError(f"nothing was measured in campaign {campaign.id}, so that there is nothing to replay")
        most = max(places, key=lambda place: len(places[place]))
        if not all(each is places[most] or _is_beside(each, places[most]) for each in places.values()):
            raise ConfigError(
                f"campaign {campaign.id} was measured in {len(places)} circumstances (models, machines or versions): "
                "its steps were decided by what is on record of neither alone, and are not replayed"
            )
        unmeasured = (each for each in ledger.unmeasured(campaign.id) if each.evaluation.key.place == most)
        return cls(ledger, campaign, tuple(record.at(most) for record in records), most, tuple(unmeasured))

    @property
    def environment(self) -> Environment:
        return self.ledger.environment(self.place[1])

    @property
    def pauses(self) -> list[tuple[int, int]]:
        """Give the resumptions by which something was measured after all, each with the first step that knew it."""
        return sorted({(e.resumed, e.until) for e in self.unmeasured if e.resumed is not None and e.until is not None})

    def candidate(self, step: int) -> Candidate:
        return self.records[step].candidate

    def evaluation(self, step: int, task: EvaluationTask) -> Evaluation | None:
        """Find what was measured of a step; what is held out is shown for one candidate at a time."""
        record = self.records[step]
        found = self.ledger.candidate(record.candidate.id) if task.workload.split == HELD_OUT else record
        return next((each for each in found.evaluations if each.key == task.key), None)

    def compare_confirmed(self, outcomes: Sequence[Outcome]) -> None:
        """Compare leaders and rivals with what is confirmed on record. An interrupted record has fewer."""
        standings = self.ledger.standings(self.campaign.id)
        on_record = {(s.id, s.ratio) for s in standings if s.confirmed and s.environment == self.place[1]}
        named = [each for outcome in outcomes for each in (*outcome.leaders, *outcome.rivals)]
        led = {(self.candidate(each.record.candidate.step).id, each.ratio) for each in named}
        if not on_record <= led:
            other, ratio = min(on_record - led)
            at = f" at {ratio:g}x" if ratio else ""
            last = len(self.records) - 1
            raise DifferenceError(
                last, f"candidate {other} is confirmed on record{at}, and neither leads nor is among the best published"
            )


class _Again:
    """Asks a proposer again and compares; takes the record's word for a language model's."""

    def __init__(self, name: str, recorded: _Recorded) -> None:
        self.name, self._recorded = name, recorded
        try:
            self._real: Proposer | None = proposer_of(name, {})
        except ConfigError:  # it needs an endpoint, or a person
            self._real = None

    @property
    def is_asked(self) -> bool:
        """Whether there is somebody to ask."""
        return self._real is not None

    def propose(self, context: Context) -> Proposal:
        """Give the step's proposal as it is on record, once it is known to be the same."""
        on_record = self._recorded.candidate(context.step).proposal
        if on_record.proposer != self.name:
            raise DifferenceError(context.step, f"it is the turn of {self.name}, and on record of {on_record.proposer}")
        if on_record.operator == FAILED and not on_record.text:
            raise ProposerError(on_record.rationale, on_record.dollars, works=True)
        if self._real is not None:
            compare_proposals(context.step, self._real.propose(context), on_record)
        return on_record


class _Scratch(SqlLedger):
    """A ledger of its own for the replay, which answers from the record what was measured."""

    def __init__(self, url: str, recorded: _Recorded, config: CampaignConfig) -> None:
        super().__init__(url)
        self._recorded, self._config = recorded, config
        self._steps: dict[int, int] = {}  # of candidates by their id here
        self._asked: set[tuple[int, EvaluationKey]] = set()  # by step
        self._absent: set[EvaluationKey] = set()
        self._failed = {each.place: each for each in recorded.unmeasured}
        self.resumed: int | None = None  # the resumption that comes next; None: none

    @property
    def num_absent(self) -> int:
        """How many evaluations were asked for that are not on record."""
        return len(self._absent)

    def add_candidate(self, candidate: Candidate) -> Candidate:
        """Compare what became of a proposal, and store it here."""
        compare_candidates(candidate, self._recorded.candidate(candidate.step))
        stored = super().add_candidate(candidate)
        self._steps[stored.id] = stored.step
        return stored

    def records(self, campaign_id: int, steps: range = ALL) -> list[Record]:
        """Give them with what has been asked for so far."""
        found = []
        for record in super().records(campaign_id, steps):
            measured = self._recorded.records[record.candidate.step].evaluations
            asked = (e for e in measured if (record.candidate.step, e.key) in self._asked)
            found.append(replace(record, evaluations=tuple(asked)))
        return found

    def unmeasured(self, campaign_id: int) -> list[Unmeasured]:  # noqa: ARG002 - the record's are told by `claim`
        """Give nothing: nobody is to try again."""
        return []

    def note_unmeasured(self, campaign_id: int, found: Sequence[Unmeasured]) -> None:
        """Note nothing: it is on record."""

    def submissions(self, campaign_id: int) -> list[Submission]:  # noqa: ARG002 - of the campaign that is replayed
        """Give what came from outside, with the steps that it took on record."""
        return self._recorded.ledger.submissions(self._recorded.campaign.id)

    def claim(
        self, task: EvaluationTask, owner: str, lease_s: float, candidate_id: int | None = None, *, begun: bool = False
    ) -> Evaluation | Claim:
        """Give what is on record; only what no step on record depends on can be missing."""
        assert candidate_id is not None, "the loop names the candidate whose record shows the result"
        step = self._steps[candidate_id]
        self._asked.add((step, task.key))
        failed = self._failed.get((step, task.key))
        if failed is not None and self._is_lacking(failed):
            return failed.evaluation
        found = self._recorded.evaluation(step, task)
        if found is not None and found.status not in UNFINISHED:
            if task.key.stage is Stage.CHECK:
                compare_checks(step, check(task, self._config), found)
            return found
        if found is None and task.workload.split != HELD_OUT and self._is_needed(step):
            raise DifferenceError(step, f"its gates open {named(task.key.stage, task.workload.ratio)}, never measured")
        self._absent.add(task.key)
        return super().claim(task, owner, lease_s, candidate_id, begun=begun)

    def _is_lacking(self, failed: Unmeasured) -> bool:
        """Say whether steps are still decided without what failed."""
        return failed.resumed is None or (self.resumed is not None and failed.resumed >= self.resumed)

    def _is_needed(self, step: int) -> bool:
        """Whether a later step on record waits for a step; none does in the end, when leaders are timed."""
        return len(self._steps) <= step + self._config.lag < len(self._recorded.records)

    def compare_stages(self) -> None:
        """Raise DifferenceError where more was measured on record: a gate is closed now that was open."""
        for step, record in enumerate(self._recorded.records):
            for each in record.evaluations:
                if (step, each.key) not in self._asked:
                    raise closed(step, each)


class _Nobody:
    """An evaluator that measures nothing: whatever is not on record stays so."""

    num_workers = 1

    def __init__(self, recorded: _Recorded) -> None:
        self.model_digest, _, self.version = recorded.place
        self.environment = recorded.environment
        self._asked: list[EvaluationTask] = []

    def submit(self, task: EvaluationTask) -> None:
        self._asked.append(task)

    def completed(self, timeout_s: float) -> list[Evaluation]:  # noqa: ARG002 - nothing is worth waiting for
        asked, self._asked = self._asked, []
        return [Evaluation(task.key, Status.INTERRUPTED, "it is not on record") for task in asked]

    def running(self) -> list[EvaluationKey]:
        return []

    def close(self) -> None: ...


class _Comparing(Silent):
    """Compares which stages a candidate went through, once it has none left."""

    def __init__(self, scratch: _Scratch, recorded: _Recorded) -> None:
        self._scratch, self._recorded = scratch, recorded

    def on_finished(self, record: Record) -> None:
        """Raise DifferenceError where a gate is closed now that was open.

        Leaders are timed in the end, and what is simplest of them goes through more stages. Once more is known, more of
        them may open.
        """
        if self._scratch.resumed is not None:
            return
        step = record.candidate.step
        taken = {(e.key.stage, e.ratio) for e in record.evaluations}
        for each in self._recorded.records[step].evaluations:
            in_the_end = each.key.stage is Stage.SERVE or is_simpler(record)
            if (each.key.stage, each.ratio) not in taken and not in_the_end:
                raise closed(step, each)


def _is_beside(measured: set[Measured], deciding: set[Measured]) -> bool:
    """Say whether a circumstance is that of a further kind of machines, which decides nothing."""
    return measured <= deciding and all(stage in REPEATED for _, stage, _ in measured)
