"""What is each part of a question worth? A scripted student searches with all of it, and without one after another.

The campaign is the real one (loop, ledger, questions, conversation, looks), on what `benchmarks.search` searches on:
recorded queries, keys and values, in this process. The student (`benchmarks.agents.student`) reads each question with
some of it cut out; what it chose is told by the mass that it keeps on documents and layers that no step saw.

Arms are compared at equal proposals, seed by seed. A conversation that looks gives several answers to come to one
proposal, so that answers and tokens are told beside: whether looks pay, for whom tokens are dear, is another question.

What this can show: whether facts reach a reader who acts on them by plain rules fixed beforehand, and whether acting
on them pays, on one recorded model. What it cannot: what a language model makes of them. A section may lose here
because the student's rule for it is poor, and one for which it has no rule (the gates, the journal, the curve) is not
tried. Sections are cut from finished questions, so that what they leave is not filled by others.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from benchmarks.agents import reading, student
from benchmarks.agents.student import Student
from benchmarks.search.evaluator import InProcess
from benchmarks.search.problems import SEARCH, BenchmarkError
from benchmarks.search.runs import best_of, config_of, judge, mass
from benchmarks.search.trials import begin
from search.agents.llm.conversation import Conversation
from search.agents.llm.operators import ask
from search.agents.llm.tools import Desk
from search.agents.look import statistics_of
from search.config import TURNS
from search.contracts import LookError
from search.evaluator.intervals import clustered_mean
from search.fit import traced
from search.loop import Loop, start_campaign
from search.outcome import End
from search.parents import SEED
from search.records import Measurement
from search.store.ledger import SqlLedger
from vortex_dsl import ProgramError

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from benchmarks.search.problems import Problem
    from benchmarks.search.trials import Where
    from search.evaluator.intervals import Interval
    from search.records import Context, Proposal

RATIO, NUM_PROPOSALS = 16.0, 30
LAG = 4  # steps, by which the records that a question tells of stay behind
STUDENT = "student"
WHOLE, FACTS_ALONE = "the whole question and looks", "the whole question, no look"
LOOKS_ALONE, BEFORE = "names of the best alone, and looks", "names of the best alone, no look, as it was before"
PARTS = (
    reading.MODEL,
    reading.LEADERS,
    reading.FAMILIES,
    reading.CHANGES,
    reading.UNDER_WAY,
    reading.FAILED,
    reading.INSPIRATION,
    reading.PUBLISHED,
    reading.MEASURED,
    reading.COST,
)
OF_LOOKS = "mass_layer_", "mass_kind_"  # figures of which a look tells something else beside


@dataclass(frozen=True)
class Arm:
    """One way to ask. `cut` makes of a question what the student reads; `turns` are answers to one question at most."""

    name: str
    cut: Callable[[str], str] = field(default=str, compare=False)
    looks: bool = True
    turns: int = TURNS


ARMS = (
    Arm(WHOLE),
    Arm(FACTS_ALONE, looks=False),
    Arm(LOOKS_ALONE, reading.as_before),
    Arm(BEFORE, reading.as_before, looks=False, turns=1),
    *(Arm(f"without '{part}'", partial(reading.without, title=part)) for part in PARTS),
)
NUM_FIRST = 4  # arms that are compared in all seeds before any other is


@dataclass(frozen=True)
class Rise:
    """What one search came to: the mass that its choice keeps of what it saw and of what it did not, beside the seeds'.

    `seeds` is the held-out mass of the published rule that one would choose by the same data. Of `num_proposals`,
    `num_programs` were measured and the others in vain; they took `num_answers` of the student and as many tokens, read
    and written, as `search.agents.shown.section.tokens_of` estimates. `choice` was made by `operator`.
    """

    arm: str
    seed: int
    search: float
    held_out: float
    seeds: float
    num_proposals: int
    num_programs: int
    num_answers: int
    num_tokens: int
    choice: str
    operator: str

    @property
    def gain(self) -> float:
        """Give the rise of the held-out mass over the published rules."""
        return self.held_out - self.seeds


@dataclass(frozen=True)
class Worth:
    """How far an arm rises, and how much farther the whole does with the same seeds: means with intervals of 95 %.

    Intervals are bootstrapped over seeds (`search.evaluator.intervals.clustered_mean`), of differences over pairs.
    `less_seen` is `less` of what the search saw; answers and tokens are means of a search.
    """

    arm: str
    seen: Interval
    rise: Interval
    less: Interval  # than the whole rises
    less_seen: Interval
    share_refused: float
    num_answers: float
    num_tokens: float


class _Looks:
    """`search.contracts.Looker` on a problem: what a search may see of it."""

    def __init__(self, problem: Problem) -> None:
        self._problem, self._described = problem, problem.described(SEARCH)

    def look(self, text: str, values: tuple[tuple[str, float | int | str], ...]) -> tuple[Measurement, ...]:
        """Give figures of recall."""
        try:
            found = self._problem.measured(traced(text, values, self._problem.terms.shape)[1], SEARCH).figures
        except (LookupError, ProgramError) as error:
            raise LookError(str(error)) from error
        return tuple(Measurement(name, value) for name, value in found.items() if not name.startswith(OF_LOOKS))

    def statistics(self) -> tuple[Measurement, ...]:
        """Describe what a search may see of queries and keys."""
        return self._described

    def close(self) -> None:
        """Nothing is held."""


class _Pupil:
    """`search.contracts.Proposer`: asks a student as `search.agents.llm.conversation.Llm` asks a model."""

    name = STUDENT

    def __init__(self, arm: Arm, student: Student, problem: Problem) -> None:
        self._arm, self._student = arm, student
        self._looks = _Looks(problem)

    def propose(self, context: Context) -> Proposal:
        """Give the program that a conversation comes to."""
        asked = ask(context, self.name, statistics_of(self._looks, context))
        asked = replace(asked, question=self._arm.cut(asked.question))
        desk = Desk(context, self._looks if self._arm.looks else None, asked.parents)
        conversation = Conversation(self._student, desk, asked)  # type: ignore[arg-type]
        conversation.run(self._arm.turns)
        return conversation.proposal(self.name)


def rise(problem: Problem, arm: Arm, seed: int, num: int = NUM_PROPOSALS, ratio: float = RATIO) -> Rise:
    """Search once with so many proposals. Raises BenchmarkError where the campaign has no end."""
    config = replace(config_of(problem.terms, (STUDENT,), ratio, seed, num), lag=LAG, reflect_every=0)
    pupil = Student(seed, num, problem.terms.shape)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SqlLedger(f"sqlite:///{Path(folder) / 'results.db'}")) as ledger,
    ):
        campaign = start_campaign(ledger, config)
        outcome = Loop(ledger, InProcess(problem), [_Pupil(arm, pupil, problem)], campaign).run()
        if outcome.end is not End.DONE:
            raise BenchmarkError(f"the search by a student ended early: {outcome.message}")
        records = ledger.records(campaign.id)
    own = [each for each in records if each.candidate.proposal.proposer == STUDENT]
    ranked = best_of(records, ratio)
    first, published = ranked[0], next(each for each in ranked if each.candidate.proposal.operator == SEED)
    masses = []
    for each in (first, published):
        proposal = each.candidate.proposal
        judged = judge(problem, proposal.text, proposal.values, ratio, proposal.proposer)
        assert judged is not None, "what was measured on one part is measured on the other"
        masses.append(judged)
    proposals = [each.candidate.proposal for each in own]
    return Rise(
        arm.name,
        seed,
        masses[0].search,
        masses[0].held_out,
        masses[1].held_out,
        len(own),
        sum(mass(each, ratio) is not None for each in own),
        pupil.num_given,
        sum(each.prompt_tokens + each.completion_tokens for each in proposals),
        masses[0].name,
        first.candidate.proposal.operator,
    )


def version() -> str:
    """Give a digest of what a student does and how it is asked: searches of one version can be compared."""
    files = (Path(each.__file__) for each in (student, reading))
    return hashlib.sha256(b"".join(file.read_bytes() for file in (*files, Path(__file__)))).hexdigest()[:16]


def rises_of(
    where: Where, seeds: Sequence[int], num: int, workers: int, known: Container[tuple[str, int]], until_s: float
) -> Iterator[Rise]:
    """Search with each arm on a recording, in so many processes, but for the arms and seeds that are known.

    First the whole, the looks or the facts alone and neither, then one part after another left out, each seed after
    seed: whatever is there when time is up compares what most seeds have. Nothing is begun after `until_s`, in seconds
    of the monotonic clock. Raises FileNotFoundError, and ValueError where the recording cannot be cut in two.
    """
    where.selection()  # what cannot be read is told here, once
    first, parts = range(NUM_FIRST), range(NUM_FIRST, len(ARMS))
    order = [(at, seed) for group in (first, parts) for seed in seeds for at in group]
    wanted = [(at, seed) for at, seed in order if (ARMS[at].name, seed) not in known]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=begin) as pool:
        futures = [pool.submit(rise_in_time, where, at, seed, num, until_s) for at, seed in wanted]
        for future in as_completed(futures):
            if (found := future.result()) is not None:
                yield found


def rise_in_time(where: Where, at: int, seed: int, num: int, until_s: float) -> Rise | None:
    """Search with an arm by its place in `ARMS`, unless time is up."""
    return rise(where.problem(seed), ARMS[at], seed, num) if time.monotonic() < until_s else None


def worths(rises: Sequence[Rise]) -> list[Worth]:
    """Compare each arm with the whole question, over the seeds that both had, in the order of the arms."""
    by_arm: dict[str, dict[int, Rise]] = {arm.name: {} for arm in ARMS}
    for each in rises:
        by_arm.setdefault(each.arm, {})[each.seed] = each
    whole = by_arm[WHOLE]
    return [_worth(name, own, whole) for name, own in by_arm.items() if own.keys() & whole.keys()]


def _worth(name: str, own: dict[int, Rise], whole: dict[int, Rise]) -> Worth:
    pairs = [(whole[seed], each) for seed, each in sorted(own.items()) if seed in whole]
    num_proposals = sum(each.num_proposals for _, each in pairs)
    return Worth(
        name,
        _mean([each.search for _, each in pairs]),
        _mean([each.gain for _, each in pairs]),
        _mean([best.held_out - each.held_out for best, each in pairs]),
        _mean([best.search - each.search for best, each in pairs]),
        1.0 - sum(each.num_programs for _, each in pairs) / num_proposals,
        mean([each.num_answers for _, each in pairs]),
        mean([each.num_tokens for _, each in pairs]),
    )


def _mean(values: Sequence[float]) -> Interval:
    return clustered_mean([[value] for value in values])
