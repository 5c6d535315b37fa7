"""Who leads and who breeds: what records are worth, one by one and all together."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.archive.archive import LEADER_LOSS, NUM_LEADERS, Point, fastest, within
from search.archive.fronts import front_of
from search.archive.speeds import Modelled, cost_ratio, fit_speed
from search.ranking.comparison import Circumstances
from search.ranking.leads import KL, lead_of
from search.ranking.simpler import replaced
from search.records import Record, Stage, Status

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping, Sequence

    from search.archive.archive import Archive
    from search.archive.speeds import Speed
    from search.records import Context, Workload

SEED = "seed"  # the operator of a seed's proposal
GIVEN = "given"  # the proposer of what a person gives
REFERENCE = "reference"  # that of a yardstick's: dense attention and the oracles, which nobody could serve faster
LEAST_RATIO = 2.0  # what reads more than half of dense attention's bytes is a yardstick, not a result
NUM_RIVALS = 2  # published rules at a cost ratio that are confirmed beside its leaders
FAILED = (Status.WRONG_RESULT, Status.NOT_SPARSE, Status.CRASHED, Status.TIMED_OUT, Status.OUT_OF_MEMORY)
# By what a candidate loses, the first that was measured: how far from dense attention it is, or answers it gets wrong.
BEFORE_ENGINES = (Stage.RECALL, Stage.SCREEN)  # stages that tell of who was in none, the dearer first
PASSED_OVER = 0.8
LOSSES = {Stage.FIDELITY: "kl", Stage.PROBE: "accuracy", Stage.RETRIEVAL: "accuracy"}


def loss(record: Record, ratio: float | None = None, stage: Stage | None = None) -> float | None:
    """Give what a candidate loses at a cost ratio (else the first): its mean KL, else the share of wrong answers.

    By one stage, or by the first of `LOSSES` that was passed; None where there is none.
    """
    for each, name in LOSSES.items():
        evaluation = record.evaluation(each, ratio) if stage in (None, each) else None
        value = evaluation.value(name) if evaluation and evaluation.status is Status.OK else None
        if value is not None and not math.isnan(value):
            return value if name == "kl" else 1.0 - value
    return None


def accuracy(record: Record, ratio: float | None = None) -> float | None:
    """Give the share of probe hops answered rightly, None where the probe was not passed."""
    evaluation = record.evaluation(Stage.PROBE, ratio)
    return evaluation.value("accuracy") if evaluation and evaluation.status is Status.OK else None


def is_sparse(record: Record, ratio: float | None = None) -> bool:
    """Say whether a program saves anything, by the cost model: dense attention and the oracles do not."""
    found = cost_ratio(record, ratio)
    return record.candidate.proposal.operator != REFERENCE and (found is None or found >= LEAST_RATIO)


def judged_ratios(records: Iterable[Record]) -> list[float]:
    """Give the cost ratios at which something is known of what candidates lose, yardsticks aside."""
    candidates = [r for r in records if r.candidate.proposal.operator != REFERENCE]
    return sorted({e.ratio for r in candidates for e in r.evaluations if e.key.stage in LOSSES})


@dataclass(frozen=True)
class Leader:
    """A candidate that leads at a cost ratio, 0 for as written."""

    record: Record
    ratio: float


def point(record: Record, ratio: float, lost: float, speed: Speed) -> Point:
    """Give a candidate that loses so much at a cost ratio as a point, as fast as it is by what steers."""
    return Point(record.candidate.step, lost, cost_ratio(record, ratio) or 0.0, *speed.of(record, ratio))


def has_failed(record: Record) -> bool:
    """Say whether a stage found that the program does not behave: whatever else was measured does not count."""
    return any(evaluation.status in FAILED for evaluation in record.evaluations)


def front(records: Sequence[Record], ratio: float | None = None, steered_on: str = "") -> list[Record]:
    """Give the Pareto front of (loss, speed) at a cost ratio: the measured records that no other one beats in both.

    Yardsticks and what has failed aside, and what a simplification stands for (`search.ranking.simpler`). Of records
    that are equal in both, the one of the greater cost ratio stays, then the oldest. In step order. Without a ratio,
    the fronts at all of them.
    """
    ratios = judged_ratios(records) if ratio is None else [ratio]
    speed = fit_speed(records, steered_on)
    steps = {each.step for at in ratios for each in _front(records, at, speed)}
    return [record for record in records if record.candidate.step in steps]


def _front(records: Iterable[Record], ratio: float, speed: Speed) -> tuple[Point, ...]:
    judged = [r for r in records if r.candidate.proposal.operator != REFERENCE and not has_failed(r)]
    gone = replaced(judged, ratio)
    lost = ((r, loss(r, ratio)) for r in judged if r.candidate.step not in gone)
    return front_of(point(r, ratio, each, speed) for r, each in lost if each is not None)


def leaders(records: Sequence[Record], num: int = NUM_LEADERS, steered_on: str = "") -> list[Leader]:
    """Give the fastest sparse programs of the front at each cost ratio that lose little more than the best.

    At each ratio up to `num`, the fastest first by the lower end of what was measured; what was never served last.
    `steered_on`: the device whose modelled speed decides instead, here and below; nothing where none does.
    """
    by_step, speed = {record.candidate.step: record for record in records}, fit_speed(records, steered_on)
    found: list[Leader] = []
    for ratio in judged_ratios(records):
        members = _front((r for r in records if is_sparse(r, ratio)), ratio, speed)
        found += [Leader(by_step[each.step], ratio) for each in fastest(within(members, LEADER_LOSS), num, ratio)]
    return found


def untimed(records: Sequence[Record], floor: float = 0.0, steered_on: str = "") -> list[Leader]:
    """Give who has still to be timed before leaders can be told: these, and the best published rules beside them.

    The best at each cost ratio by each stage that tells what is lost; none that answers less of the probe than `floor`.
    """
    found = leaders(records, steered_on=steered_on)
    for ratio, stage in itertools.product(judged_ratios(records), LOSSES):
        found += _published(records, ratio, stage)[:1]
    steps = {(each.record.candidate.step, each.ratio): each for each in found}
    left = (each for each in steps.values() if each.record.evaluation(Stage.SERVE, each.ratio) is None)
    return [each for each in left if (answered := accuracy(each.record, each.ratio)) is None or answered >= floor]


def rivals(
    records: Sequence[Record], steered_on: str = "", all_decoded: Mapping[float, Workload] | None = None
) -> list[Leader]:
    """Give the published rules with which leaders are compared on held-out data: none that lead themselves.

    The best at each cost ratio. Where all of them are decoded a leader is told from each, so that those follow besides
    which are not surely behind on the texts that proposers see. all_decoded: fidelity's workload there, by cost ratio.
    """
    leading = leaders(records, steered_on=steered_on)
    found = [each for ratio in judged_ratios(records) for each in _published(records, ratio)[:NUM_RIVALS]]
    for leader in leading:
        if all_decoded and leader.ratio in all_decoded:
            found += _doubted(leader, records, all_decoded[leader.ratio])
    places = {(each.record.candidate.step, each.ratio): each for each in found}
    led = {(each.record.candidate.step, each.ratio) for each in leading}
    return [each for place, each in places.items() if place not in led]


def _doubted(leader: Leader, records: Sequence[Record], workload: Workload) -> list[Leader]:
    """Give the published rules over which the lead of a found one is not sure; none of a published leader's."""
    if not _is_found(leader.record):
        return []
    ratio = leader.ratio
    known = Circumstances({workload.digest: workload}, {})
    number = sum(_is_found(each) and loss(each, ratio, Stage.FIDELITY) is not None for each in records)

    def is_sure(other: Record) -> bool:
        lead = lead_of(_decoded(leader.record, ratio), _decoded(other, ratio), KL, known, num_chosen_from=number)
        return lead is not None and lead.least > 0

    return [each for each in _published(records, ratio, Stage.FIDELITY) if not is_sure(each.record)]


def _is_found(record: Record) -> bool:
    """Say whether a rule is no published one and no yardstick: what a person gives is told as found."""
    return record.candidate.proposal.operator != REFERENCE and not is_published(record)


def is_published(record: Record) -> bool:
    """Say whether it is a rule of the zoo that takes part in a search: no yardstick, nothing that a person gave."""
    return record.candidate.proposal.operator == SEED and record.candidate.proposal.proposer != GIVEN


def _decoded(record: Record, ratio: float) -> Record:
    """Leave of a record what fidelity says at a cost ratio."""
    found = record.evaluation(Stage.FIDELITY, ratio)
    return replace(record, evaluations=(found,) if found else ())


def _published(records: Sequence[Record], ratio: float, stage: Stage | None = None) -> list[Leader]:
    """Give the published rules that have a loss at a cost ratio, the least first."""
    published = (record for record in records if is_published(record) and is_sparse(record, ratio))
    lost = [(each, r.candidate.step, r) for r in published if (each := loss(r, ratio, stage)) is not None]
    return [Leader(record, ratio) for *_, record in sorted(lost, key=lambda each: each[:2])]


def leader(context: Context) -> Record | None:
    """Give the fastest of those that lose little more than the best, at one of the cost ratios, which take turns."""
    ratios = context.archive.ratios
    if not ratios:
        return None
    (best,) = context.archive.leaders(ratios[context.step % len(ratios)], 1)
    return context.records[best.step]


def breeders(context: Context, ratio: float) -> list[Record]:
    """Give who may breed at a cost ratio, the least loss first: as measured, or as foretold of who was in no engine.

    Where nothing can be foretold, who was in no engine follows, by the mass that the stages before tell. In a
    campaign that is steered by modelled speed, who is beaten in both comes after the others.
    """
    known = [context.records[step] for step in context.archive.promising.get(ratio, ())]
    ranked = sorted(known, key=lambda record: _expected_loss(record, ratio, context.archive))
    return _unbeaten_first(ranked, ratio, context.demands.steered_on)


def _unbeaten_first(ranked: Sequence[Record], ratio: float, steered_on: str) -> list[Record]:
    """Put behind the others who loses more than another that a device serves as fast; nobody where none is named."""
    if not steered_on:
        return list(ranked)
    speed, fastest_yet = Modelled(device=steered_on), -math.inf
    unbeaten: list[Record] = []
    beaten: list[Record] = []
    for record in ranked:
        fast, _ = speed.of(record, ratio)
        (unbeaten if fast > fastest_yet else beaten).append(record)
        fastest_yet = max(fastest_yet, fast)
    return unbeaten + beaten


def _expected_loss(record: Record, ratio: float, archive: Archive) -> tuple[float, float, int]:
    lost = loss(record, ratio)
    if lost is None:
        told = (archive.foretell(stage, ratio, record) for stage in BEFORE_ENGINES)
        foretold = next(filter(None, told), None)
        lost = math.exp(foretold[0]) if foretold else math.inf
    masses = (record.value(stage, "mass", ratio) for stage in BEFORE_ENGINES)
    mass = next((each for each in masses if each is not None), 0.0)
    return lost, -mass, record.candidate.step


def breeder(context: Context, rng: random.Random, *, is_mate: bool = False) -> Record | None:
    """Draw who breeds, None while there is nobody. A mate of another is any of them, however good.

    At one of the cost ratios, drawn first: each is passed over for the next with the same chance, the best first. Where
    programs are judged as written, the better of two accurate sparse members of the front, since what is better there
    may only be dearer.
    """
    ratios = [ratio for ratio in context.ratios if context.archive.promising.get(ratio)]
    if ratios:
        ranked = breeders(context, rng.choice(ratios))
        return rng.choices(ranked, [1.0 if is_mate else PASSED_OVER**place for place in range(len(ranked))])[0]
    as_written = () if context.ratios else context.archive.ratios
    if not as_written:
        return None
    members = context.archive.parents(rng.choice(as_written) if len(as_written) > 1 else as_written[0])
    drawn = [rng.choice(members) for _ in range(1 if is_mate else 2)]
    return context.records[min(drawn, key=lambda each: (each.loss, each.step)).step]
