"""What is each part of a question worth? A scripted student searches with all of it, and without one after another.

The campaign is the real one (loop, ledger, questions, conversation, looks), on what `benchmarks.search` searches on:
recorded queries, keys and values, in this process. The student (`benchmarks.agents.student`) reads each question with
some of it cut out; what it chose is told by the mass that it keeps on documents and layers that no step saw.

What this can show: whether facts reach a reader who acts on them by plain rules fixed beforehand, and whether acting
on them pays, on one recorded model. What it cannot: what a language model makes of them. A section may lose here
because the student's rule for it is poor, and one for which it has no rule (the gates, the journal, the curve) is not
tried. Sections are cut from finished questions, so that what they leave is not filled by others. An answer counts
whether it is measured or, after a look, taken back: looking costs answers.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.agents import reading
from benchmarks.agents.student import Student
from benchmarks.search.evaluator import InProcess
from benchmarks.search.problems import SEARCH, BenchmarkError
from benchmarks.search.runs import best_of, config_of, judge, mass
from benchmarks.search.trials import RECORDED, Where, begin
from search.agents.llm.conversation import Conversation
from search.agents.llm.operators import ask
from search.agents.llm.tools import Desk
from search.agents.look import statistics_of
from search.config import TURNS
from search.contracts import LookError
from search.evaluator import intervals
from search.fit import traced
from search.loop import Loop, start_campaign
from search.outcome import End
from search.parents import SEED
from search.records import Measurement
from search.store.ledger import SqlLedger
from vortex_dsl import ProgramError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.search.problems import Problem
    from search.evaluator.intervals import Interval
    from search.records import Context, Proposal

RATIO, NUM_ANSWERS = 16.0, 60
LAG = 4  # steps, by which the records that a question tells of stay behind
STUDENT = "student"
WHOLE, BEFORE = "the whole question", "as it was before: names of the best alone, no look"
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
    Arm(BEFORE, reading.as_before, looks=False, turns=1),
    Arm("without the quick look", looks=False),
    *(Arm(f"without '{part}'", partial(reading.without, title=part)) for part in PARTS),
)


@dataclass(frozen=True)
class Rise:
    """What one search came to: the mass that its choice keeps of what it saw and of what it did not, beside the seeds'.

    `seeds` is the held-out mass of the published rule that one would choose by the same data; `num_programs` were
    measured, and `num_refused` proposed in vain. `choice` was made by `operator`.
    """

    arm: str
    seed: int
    search: float
    held_out: float
    seeds: float
    num_answers: int
    num_programs: int
    num_refused: int
    choice: str
    operator: str

    @property
    def gain(self) -> float:
        """Give the rise of the held-out mass over the published rules."""
        return self.held_out - self.seeds


@dataclass(frozen=True)
class Worth:
    """How far an arm rises, and how much farther the whole question does with the same seeds: Student's, of 95 %."""

    arm: str
    rise: Interval
    search: Interval
    less: Interval  # than the whole question's, of the held-out mass
    less_of_search: Interval
    share_refused: float


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


def rise(problem: Problem, arm: Arm, seed: int, num_answers: int = NUM_ANSWERS, ratio: float = RATIO) -> Rise:
    """Search once with so many answers. Raises BenchmarkError where the campaign has no end."""
    config = replace(config_of(problem.terms, (STUDENT,), ratio, seed, num_answers), lag=LAG, reflect_every=0)
    student = Student(seed, num_answers, problem.terms.shape)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SqlLedger(f"sqlite:///{Path(folder) / 'results.db'}")) as ledger,
    ):
        campaign = start_campaign(ledger, config)
        outcome = Loop(ledger, InProcess(problem), [_Pupil(arm, student, problem)], campaign).run()
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
    measured = [each for each in own if mass(each, ratio) is not None]
    return Rise(
        arm.name,
        seed,
        masses[0].search,
        masses[0].held_out,
        masses[1].held_out,
        student.num_given,
        len(measured),
        len(own) - len(measured),
        masses[0].name,
        first.candidate.proposal.operator,
    )


def rises_of(file: Path, cache: Path, seeds: Sequence[int], num_answers: int, workers: int) -> Iterator[Rise]:
    """Search with each arm on a recording, in so many processes.

    First the whole question and the one as it was before, then one part after another left out, each seed after seed:
    whatever is there when time is up compares what most seeds have.

    Raises FileNotFoundError, and ValueError where the recording cannot be cut in two.
    """
    where = Where(RECORDED, cache, file)
    where.selection()  # what cannot be read is told here, once
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=begin) as pool:
        first, parts = range(2), range(2, len(ARMS))
        order = [(at, seed) for seed in seeds for at in first] + [(at, seed) for seed in seeds for at in parts]
        futures = [pool.submit(_rise, where, at, seed, num_answers) for at, seed in order]
        for future in futures:
            yield future.result()


def _rise(where: Where, at: int, seed: int, num_answers: int) -> Rise:
    return rise(where.problem(seed), ARMS[at], seed, num_answers)


def worths(rises: Sequence[Rise]) -> list[Worth]:
    """Compare each arm with the whole question, over the seeds that both had."""
    by_arm: dict[str, dict[int, Rise]] = {}
    for each in rises:
        by_arm.setdefault(each.arm, {})[each.seed] = each
    whole = by_arm.get(WHOLE, {})
    return [_worth(name, own, whole) for name, own in by_arm.items() if own.keys() & whole.keys()]


def _worth(name: str, own: dict[int, Rise], whole: dict[int, Rise]) -> Worth:
    pairs = [(whole[seed], each) for seed, each in sorted(own.items()) if seed in whole]
    programs = sum(each.num_programs + each.num_refused for _, each in pairs)
    return Worth(
        name,
        intervals.mean([each.gain for _, each in pairs]),
        intervals.mean([each.search for _, each in pairs]),
        intervals.mean([best.held_out - each.held_out for best, each in pairs]),
        intervals.mean([best.search - each.search for best, each in pairs]),
        sum(each.num_refused for _, each in pairs) / programs if programs else 0.0,
    )
