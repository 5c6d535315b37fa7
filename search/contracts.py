"""The joints between the rooms: one Protocol for each, written before its implementations."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from search.archive.unmeasured import Unmeasured
    from search.asking.owing import Owing, Reserved
    from search.behaviour import Sketched
    from search.ranking.front import Front
    from search.ranking.standing import Standing
    from search.records import (
        Candidate,
        Choice,
        Context,
        Environment,
        Evaluation,
        EvaluationKey,
        EvaluationTask,
        Measurement,
        Progress,
        Proposal,
        Record,
        StoredCampaign,
        Submission,
        Workload,
    )
    from search.store.shown.board import Page
    from search.store.spent import Spent


class Proposer(Protocol):
    """Suggests programs. A pure function of the context, an LLM's answers aside."""

    name: str

    def propose(self, context: Context) -> Proposal:
        """Give one proposal for `context.step`. It need not parse: the loop records what was refused."""
        ...


@runtime_checkable
class Distant(Proposer, Protocol):
    """A proposer that waits for a server: it is asked ahead of its turn, up to `num_at_once` questions at a time.

    What a question of it tells must not depend on answers to others, so it knows no program of the last `lag` steps.
    """

    num_at_once: int


@runtime_checkable
class Paid(Proposer, Protocol):
    """A proposer whose questions cost dollars, and which keeps them back in the ledger of whoever asks it."""

    def pay_from(self, ledger: Ledger, campaign_id: int) -> None:
        """Keep back what is asked from now on in this ledger."""
        ...


@runtime_checkable
class Patient(Proposer, Protocol):
    """A proposer that is patient with a server which cannot be reached for as long as it `waits`.

    Who runs a campaign says so, in signal handlers too.
    """

    waits: bool


class Looker(Protocol):
    """Tells within seconds, and without an engine, what a program keeps of the model's attention."""

    def look(self, text: str, values: tuple[tuple[str, float | int | str], ...]) -> tuple[Measurement, ...]:
        """Give figures of recall on recorded queries, keys and values: see `search.evaluator.recall.looking`.

        Raises LookError where there are none. Safe from several threads.
        """
        ...

    def statistics(self) -> tuple[Measurement, ...]:
        """Describe those queries and keys: see `search.evaluator.recall.describing`.

        Raises LookError where there are none. Safe from several threads.
        """
        ...

    def close(self) -> None:
        """Let go of whatever looks. Idempotent."""
        ...


class Evaluator(Protocol):
    """Measures programs. Returns values and knows no database; a failing program is an Evaluation too.

    The loop hands it no more than `num_workers` evaluations at a time.
    """

    environment: Environment
    model_digest: str
    version: str
    num_workers: int

    def submit(self, task: EvaluationTask) -> None:
        """Queue one stage of one program. Does not block."""
        ...

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Give what has finished since the last call, waiting up to `timeout_s` for the first."""
        ...

    def running(self) -> list[EvaluationKey]:
        """Give what is in a worker's hands now; the rest of what was submitted waits its turn."""
        ...

    def close(self) -> None:
        """Kill every worker with all its children. Idempotent."""
        ...


@runtime_checkable
class OfKinds(Evaluator, Protocol):
    """An evaluator with machines of several kinds. Its own figures decide a search; `further` measure beside them.

    Each of those has an environment of its own. Whoever closes this one closes them too.
    """

    further: Sequence[Evaluator]


@runtime_checkable
class Telling(Protocol):
    """An evaluator that can say what its workers do at the moment."""

    def doing(self, keys: Collection[EvaluationKey]) -> dict[EvaluationKey, str]:
        """Give what is done right now for some evaluations in workers' hands, in words, as far as that is known."""
        ...


class Claim(StrEnum):
    """What became of an attempt to take an evaluation."""

    TAKEN = "taken"  # ours until the lease runs out
    BUSY = "busy"  # somebody else's lease is running


class Ledger(Protocol):
    """The only memory. Every method is one transaction; all are safe from several processes at once.

    A database that is away is asked again for as long as whoever opened it has patience.
    """

    def give_up(self) -> None:
        """Wait no more for a database that is away: what waits fails now. Safe in signal handlers."""
        ...

    def create_campaign(self, campaign: StoredCampaign) -> StoredCampaign:
        """Store a campaign and give it back with its id."""
        ...

    def campaign(self, campaign_id: int | None = None) -> StoredCampaign:
        """Give a campaign, the newest without an id. Raises LookupError where there is none."""
        ...

    def add_candidate(self, candidate: Candidate) -> Candidate:
        """Store a step's candidate; the stored one comes back if that step is already there.

        Its hypotheses and notes are stored in the same transaction, so before anything of it is measured; the questions
        that it paid for are owed no more, unless the step was somebody else's.
        """
        ...

    def records(self, campaign_id: int, steps: range = range(2**62)) -> list[Record]:
        """Give a campaign's candidates in step order with their finished evaluations in stage order.

        All of them, or those of some `steps`, a range without gaps. These are what proposers may see: evaluations on
        the held-out split are never among them.
        """
        ...

    def submit(self, submission: Submission) -> Submission:
        """Let a proposal from outside wait for a step, and give it back with its id.

        The same text with the same values from the same agent is the same submission, which comes back as it stands.
        Raises LookupError where there is no campaign, SubmissionError where as many of the agent's wait as may.
        """
        ...

    def submissions(self, campaign_id: int) -> list[Submission]:
        """Give what came from outside, in order of arrival."""
        ...

    def submission(self, submission_id: int) -> Submission:
        """Give one of them by its id. Raises LookupError where there is none."""
        ...

    def assign(self, campaign_id: int, step: int) -> Submission | None:
        """Give a step to whatever has waited longest; None where nothing waits. A step that has one keeps it."""
        ...

    def reserve(self, asked: Reserved, most: float) -> float | None:
        """Keep back a question's dollars before it is sent: None once they are.

        Where `most` does not cover them beside all that the campaign has cost and keeps back, nothing is kept, and that
        sum comes back. With the same id again it is as much as is asked for now. Raises LookupError where there is no
        campaign.
        """
        ...

    def settle(self, question: str, dollars: float) -> None:
        """Note what a question cost, once that is known. `add_candidate` takes it over with its proposal's dollars."""
        ...

    def owing(self, campaign_id: int | None = None) -> list[Owing]:
        """Give what questions cost that no candidate has paid, by proposer: of one campaign or of all."""
        ...

    def claim(
        self, task: EvaluationTask, owner: str, lease_s: float, candidate_id: int | None = None, *, begun: bool = False
    ) -> Evaluation | Claim:
        """Take an evaluation, or give what has been measured under the same key before (the cache).

        Whatever comes of it, the evaluation belongs to `candidate_id` from now on: its record and its
        standing show the result as soon as there is one, whoever measures it.
        `lease_s` is at most `search.store.lease.LONGEST_S`; a lease that says it ends later than that from now is cut
        to `lease_s`. A lease that ran out is taken over, unless the database itself was away until just now. If its
        owner had begun, that was a death: after the third, the row becomes QUARANTINED instead and is returned as such.
        A row whose last status is INFRASTRUCTURE or INTERRUPTED may be taken again. `begun`: whoever takes it is at
        work at once, as `begin` would note it.
        """
        ...

    def begin(self, keys: Sequence[EvaluationKey], owner: str) -> None:
        """Note that these leases of ours are at work now: if the owner is lost from here on, they are blamed."""
        ...

    def forgive(self, candidate_ids: Sequence[int]) -> list[Evaluation]:
        """Lift the quarantine of these candidates, for every campaign; gives the evaluations that were in it.

        Raises LookupError where one of them is not there or not quarantined; then nothing is changed.
        """
        ...

    def note_unmeasured(self, campaign_id: int, found: Sequence[Unmeasured]) -> None:
        """Note what steps were settled without by our own fault, or since when it may be known after all.

        In place of what was noted of the same evaluations of the same steps.
        """
        ...

    def unmeasured(self, campaign_id: int) -> list[Unmeasured]:
        """Give what is so noted, in step order."""
        ...

    def heartbeat(self, keys: Sequence[EvaluationKey], owner: str, lease_s: float) -> list[EvaluationKey]:
        """Prolong our leases. Gives those that are ours no more: they ran out, and stay with whoever took them."""
        ...

    def absolve(self, keys: Sequence[EvaluationKey]) -> None:
        """Take back the death that was counted for each of these when it was taken from us: we were only suspended.

        What is in quarantine for it comes out.
        """
        ...

    def finish(self, evaluation: Evaluation, owner: str, environment: Environment) -> None:
        """Store a result and end the lease; the leaderboard follows in the same transaction.

        A second result for a finished key changes nothing (the first one counts). Raises LookupError for a key that
        nobody has claimed.
        """
        ...

    def release(self, keys: Sequence[EvaluationKey], owner: str) -> None:
        """Give leases back unfinished (drained, not failed)."""
        ...

    def standings(
        self, campaign_id: int | None = None, limit: int | None = None, choice: Choice | None = None
    ) -> list[Standing]:
        """Give rows of the leaderboard, best first, of one campaign or of all; `limit` cuts them off.

        A candidate has a row for each cost ratio and circumstance under which it was measured, one at least. Best
        first: ratios apart (programs as written last), references last, then less kl, less retrieval loss, more
        accuracy, more speedup, fewer bytes per page, the older; unmeasured ones last. `choice` may choose and sort
        otherwise. Raises `search.ranking.conditions.ConditionError` for what it cannot ask.
        """
        ...

    def page(self, campaign_id: int | None, limit: int | None, choice: Choice = ..., after: str = "") -> Page:
        """Give `standings` page by page: each says what the next one begins `after`, and costs the same as the first.

        Raises `search.ranking.conditions.ConditionError`.
        """
        ...

    def listed(self, campaign_id: int | None = None, choice: Choice = ...) -> Iterator[tuple[Standing, bool]]:
        """Give all of `standings` one after the other, each with whether it is on the front of those that are chosen.

        They are of one moment, and however many there are, few are held at a time. A database that goes away later than
        before the first is not waited for. Raises `search.ranking.conditions.ConditionError`.
        """
        ...

    def fronts(self, campaign_id: int | None = None, choice: Choice = ..., *, published: bool = False) -> list[Front]:
        """Give the Pareto front of every section: of all rows, though few are read. Of one campaign or of all.

        A section holds the rows that may be compared: of one cost ratio, lengths, model, machine, evaluator's version
        and workload. They come in the order of their first rows in `standings`. `choice` may choose by ratio, model and
        device alone, and raises ValueError where it asks for more. `published`: published rules and confirmed ones
        behind the front are given with it.
        """
        ...

    def campaigns(self) -> list[StoredCampaign]:
        """Give all campaigns, the oldest first."""
        ...

    def progress(self, campaign_id: int) -> Progress:
        """Count a campaign's candidates by how far they got, and the evaluations under way."""
        ...

    def spent(self, campaign_id: int) -> Spent:
        """Tell what a campaign's evaluations took, held-out ones included, and when. Raises LookupError. For people."""
        ...

    def candidate(self, candidate_id: int) -> Record:
        """Give one candidate with everything measured of it, held-out split included, and its conversation. For people.

        Raises LookupError where there is none.
        """
        ...

    def step_of(self, campaign_id: int, digest: str) -> int | None:
        """Give the first step of a campaign whose program has this digest, None where none has."""
        ...

    def sketched(self, campaign_id: int, steps: range) -> list[Sketched]:
        """Give those candidates of some steps of whose behaviour a screen noted something, in step order."""
        ...

    def find(self, name: str) -> Record:
        """Give the candidate with this id, or the newest admitted one whose program digest begins so.

        The digests of the programs that its budget was fitted to find it as well.

        Raises LookupError where none or several programs fit.
        """
        ...

    def environment(self, digest: str) -> Environment:
        """Give where an evaluation was measured. Raises LookupError where there is none."""
        ...

    def workload(self, digest: str) -> Workload:
        """Give what an evaluation ran on. Raises LookupError where there is none."""
        ...

    def close(self) -> None:
        """Let go of the database. Idempotent."""
        ...


class ProposerError(Exception):
    """A proposer has nothing to give, for a reason outside the program: its endpoint is away, refuses or is broken.

    `dollars` is the most that asking in vain has cost, and `questions` are its rows in the ledger. `works`: others who
    asked were answered, so that it is no mistake of whoever named the endpoint.
    """

    def __init__(self, message: str, dollars: float = 0.0, *, works: bool = False) -> None:
        super().__init__(message)
        self.dollars, self.works = dollars, works
        self.questions: tuple[str, ...] = ()


class SubmissionError(Exception):
    """A submission from outside is not taken. The message is one sentence for whoever brought it."""


class LookError(Exception):
    """There is no look at a program to be had; the message is a sentence that says why."""


class UnreachableError(ProposerError):
    """Nobody was there to be asked, or who was asked for a rest, as long as that was waited for."""


class NoMoneyError(ProposerError):
    """What is left of a campaign's dollars does not cover what another proposal may cost: nothing was asked."""
