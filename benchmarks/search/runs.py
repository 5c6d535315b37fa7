"""One search on one problem: the real loop, ledger and proposers, and what it chose, told by what it did not see."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.search.evaluator import InProcess
from benchmarks.search.problems import SEARCH, BenchmarkError
from search.archive.speeds import cost_ratio
from search.campaigns.proposers import proposers_of
from search.config import PROPOSERS, CampaignConfig
from search.fit import fit, traced
from search.loop import Loop, start_campaign
from search.outcome import End
from search.parents import REFERENCE, SEED
from search.records import Record, Stage, Status, Workload
from search.store.ledger import SqlLedger
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.search.problems import Problem
    from search.fit import Terms

MIX = "mix"  # the house's own round
METHODS: dict[str, tuple[str, ...]] = {
    MIX: PROPOSERS,
    "grammar": ("grammar",),
    "tune": ("tune",),
    "random": ("random",),
    "greedy": ("greedy",),
    "best_of_n": ("best_of_n",),
}
BASELINES = ("random", "greedy", "best_of_n")
EVALUATIONS = 200
NUM_BEST = 5  # of each run, told by what it did not see
NUM_POINTS = 20  # of a run's curve


@dataclass(frozen=True)
class Judged:
    """A rule at a cost ratio: the mass that it keeps on the part that a search sees, and on the other."""

    name: str
    digest: str
    text: str
    values: tuple[tuple[str, float | int | str], ...]
    origin: str  # who made it, and how
    search: float
    held_out: float


@dataclass(frozen=True)
class Run:
    """What one search found: its best rules by what it saw, seeds among them, best first.

    `num_refused`: proposals beside those that were evaluated. `curve`: the best mass so far, after each of `NUM_POINTS`
    equal shares of the evaluations. `volume`: the share of losses and bytes (dense attention reads 1) that what was
    measured dominates: where cost is free, how good the whole front is.
    """

    method: str
    ratio: float
    seed: int
    num_evaluated: int
    num_refused: int
    best: tuple[Judged, ...]
    curve: tuple[float, ...]
    volume: float = 0.0


def run_of(found: Mapping[str, Any]) -> Run:
    """Read a run that was kept as JSON."""
    best = tuple(Judged(**each | {"values": tuple(map(tuple, each["values"]))}) for each in found["best"])
    return Run(**{**found, "best": best, "curve": tuple(found["curve"])})


def run(problem: Problem, method: str, ratio: float, seed: int, num: int = EVALUATIONS) -> Run:
    """Search once: `num` programs beside the seeds, by the proposers of a method."""
    config = config_of(problem.terms, METHODS[method], ratio, seed, num)
    records = _records(problem, config)
    found = [record for record in records if record.candidate.proposal.operator not in (SEED, REFERENCE)]
    evaluated = [record for record in found if record.candidate.status is Status.OK]
    best = best_of(records, ratio)
    judged = tuple(_judged(problem, each, ratio) for each in best[:NUM_BEST])
    num_refused = len(found) - len(evaluated)
    return Run(method, ratio, seed, len(evaluated), num_refused, judged, curve(evaluated, ratio), volume(best, ratio))


def config_of(terms: Terms, proposers: Sequence[str], ratio: float, seed: int, num: int) -> CampaignConfig:
    """Give a campaign as it usually is, at one cost ratio, with all stages that need no engine and fidelity."""
    longest, lengths = max(terms.lengths), terms.lengths
    stages = (Stage.CHECK, Stage.SCREEN, Stage.RECALL, Stage.FIDELITY)
    return CampaignConfig(
        seed=seed,
        num_candidates=num,
        proposers=tuple(proposers),
        model="recorded",
        group=terms.shape.group,
        head_dim=terms.shape.head_dim,
        num_layers=terms.num_layers,
        workloads=tuple(Workload(stage, longest, len(lengths), lengths=lengths) for stage in stages),
        ratios=(ratio,) if ratio else (),
    )


def _records(problem: Problem, config: CampaignConfig) -> list[Record]:
    """Run a campaign to its end. Raises BenchmarkError where it has none."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SqlLedger(f"sqlite:///{Path(folder) / 'results.db'}")) as ledger,
    ):
        campaign = start_campaign(ledger, config)
        outcome = Loop(ledger, InProcess(problem), proposers_of(config, {}), campaign).run()
        if outcome.end not in (End.DONE, End.NO_FEASIBLE):
            raise BenchmarkError(f"the search by {', '.join(config.proposers)} ended early: {outcome.message}")
        return ledger.records(campaign.id)


def mass(record: Record, ratio: float) -> float | None:
    """Give the mass that a candidate keeps of what the search sees, None where it was not measured."""
    return record.value(Stage.RECALL, "mass", ratio)


def best_of(records: Iterable[Record], ratio: float) -> list[Record]:
    """Sort what was measured by the mass that it keeps, yardsticks aside; of equals the older first."""
    rules = [each for each in records if each.candidate.proposal.operator != REFERENCE]
    measured = [(found, each) for each in rules if (found := mass(each, ratio)) is not None]
    return [each for _, each in sorted(measured, key=lambda pair: (-pair[0], pair[1].candidate.step))]


def curve(evaluated: Sequence[Record], ratio: float) -> tuple[float, ...]:
    """Give the best mass of the found so far, after each share of the evaluations; 0 before there is one."""
    points = [len(evaluated) * (i + 1) // NUM_POINTS for i in range(NUM_POINTS)]
    return tuple(max((found for each in evaluated[:n] if (found := mass(each, ratio))), default=0.0) for n in points)


def volume(records: Iterable[Record], ratio: float) -> float:
    """Give the share of the square of losses and bytes, each from 0 to 1, that the records dominate."""
    points = [
        (1.0 - kept, 1.0 / cost)
        for each in records
        if (kept := mass(each, ratio)) is not None and (cost := cost_ratio(each, ratio))
    ]
    dominated, least = 0.0, 1.0
    for lost, read in sorted(points):  # of each, the strip of bytes that none before it saves
        if read < least:
            dominated += (1.0 - lost) * (least - read)
            least = read
    return dominated


def _judged(problem: Problem, record: Record, ratio: float) -> Judged:
    proposal = record.candidate.proposal
    origin = f"{proposal.proposer}: {proposal.operator}"
    judged = judge(problem, proposal.text, proposal.values, ratio, origin)
    assert judged is not None, "what was measured on one part is measured on the other"
    return judged


def judge(
    problem: Problem, text: str, values: tuple[tuple[str, float | int | str], ...], ratio: float, origin: str
) -> Judged | None:
    """Measure a rule on both parts with the budget that a cost ratio allows; None where it does not reach that.

    Raises LookupError where it cannot be measured, ProgramError where it is no program.
    """
    fitted = fit(text, values, problem.terms, ratio)
    if fitted.refusal:
        return None
    program, graph = traced(text, fitted.values, problem.terms.shape)
    seen, other = (problem.measured(graph, split).figures["mass"] for split in (SEARCH, HELD_OUT))
    return Judged(program.name, fitted.digest, text, fitted.values, origin, seen, other)
