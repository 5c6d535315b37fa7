"""The serve stage in a worker: sparse and dense engines decode the same work in turns."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.evaluator import intervals
from search.evaluator.arms import DENSE, SPARSE, asked_of
from search.evaluator.outcomes import Outcome, measured
from search.evaluator.prefill.stage import asked_prompts, prefilled
from search.records import Measurement, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from search.evaluator.arms import Arms
    from search.records import EvaluationTask

MIN_PAIRS = 6  # fewer give no interval of 95 %
HALF_WIDTH = 0.05  # of the speed-up, at which a comparison is sharp enough
MOST_BY_ORDER = 0.1  # by which the speed-ups of the two orders may differ before that is told
WALL, PROCESSOR, ATTENTION = "elapsed_s", "processor_s", "attention_s"


@dataclass(frozen=True)
class Round:
    """One timed round: the same work on one arm. `seconds` by clock; on a GPU there is the wall's only.

    `floor_ms`: the least time of a step, 0 where none is known. `guards`: what else the engine says of the round.
    """

    num_tokens: int
    seconds: dict[str, float]
    step_ms: tuple[float, ...]
    pages_attended: float
    pages_dense: float
    floor_ms: float = 0.0
    guards: tuple[Measurement, ...] = ()

    @property
    def clock(self) -> str:
        """Name the clock that decides: processor time where there is one, since other load does not change it."""
        return PROCESSOR if PROCESSOR in self.seconds else WALL

    @property
    def tokens_per_s(self) -> float:
        """Give the throughput by the clock that decides."""
        return self.num_tokens / self.seconds[self.clock]


def num_pairs_of(task: EvaluationTask) -> int:
    """Give the most pairs of rounds that a task may take."""
    return max(MIN_PAIRS, task.workload.repeats)


def run(arms: Arms, task: EvaluationTask) -> Outcome:
    """Time sparse and dense side by side: a warm-up of each, then pairs in alternating order.

    Pairs are added until the speed-up is known to `HALF_WIDTH`, or until there are as many as the workload allows.
    """
    args, limits = asked_of(task), arms.limits
    with arms.computing():  # engines start and read prompts: whoever times at that moment times alone
        sparse = prefilled(arms, task)
        arms.ask_dense("prefill", asked_prompts(task), limits.prefill_s)
    dense_args = args | {"text": "", "values": ()}
    asks: dict[str, Callable[[float], dict[str, Any]]] = {
        SPARSE: lambda limit_s: sparse.call("serve_round", args, limit_s),
        DENSE: lambda limit_s: arms.ask_dense("serve_round", dense_args, limit_s),
    }
    with arms.timing():
        rounds, answers = _rounds(asks, num_pairs_of(task), limits.serve_round_s)
    if any(r.pages_attended <= 0 for r in rounds[SPARSE]):
        return Outcome(Status.NOT_SPARSE, "the engine counted no page that was read by the sparse path")
    read = min(r.pages_attended / max(1.0, r.pages_dense) for r in rounds[SPARSE])
    if read < task.least_read:
        return Outcome(
            Status.WRONG_RESULT,
            f"{read:.2%} of all pages were read where it was timed, which is less than {task.least_read:.2%}, most of "
            "what was read where its answers were judged: it chooses otherwise there",
        )
    fastest_ms = min(ms for each in rounds[SPARSE] for ms in each.step_ms)
    floor_ms = min(each.floor_ms for each in rounds[SPARSE])
    if fastest_ms < floor_ms:
        return Outcome(
            Status.WRONG_RESULT,
            f"a step took {fastest_ms:.3g} ms, and reading what it attended to takes {floor_ms:.3g} ms at least",
        )
    return Outcome(Status.OK, _told(rounds), serve_measurements(rounds[SPARSE], rounds[DENSE]), answers=answers)


def _rounds(
    asks: dict[str, Callable[[float], dict[str, Any]]], num_pairs: int, limit_s: float
) -> tuple[dict[str, list[Round]], str]:
    """Give the rounds of each arm, and what the sparse one answered."""
    rounds: dict[str, list[Round]] = {SPARSE: [], DENSE: []}
    answers = ""
    for i in range(-1, num_pairs):
        for role in (SPARSE, DENSE) if i % 2 else (DENSE, SPARSE):
            reply = asks[role](limit_s)
            rounds[role] += [_round(reply)] * (i >= 0)
            if role is SPARSE:
                answers = str(reply.get("answers", ""))
        if i + 1 >= MIN_PAIRS and half_width(rounds[SPARSE], rounds[DENSE]) <= HALF_WIDTH:
            break
    return rounds, answers


def half_width(sparse: Sequence[Round], dense: Sequence[Round]) -> float:
    """Give half the width of the speed-up's interval as a share of the speed-up."""
    ratio = _ratio(sparse, dense, sparse[0].clock)
    assert ratio.low is not None and ratio.high is not None, "several pairs have an interval"  # noqa: PT018
    return (ratio.high - ratio.low) / 2 / ratio.value


def _told(rounds: dict[str, list[Round]]) -> str:
    """Say so where the most pairs allowed did not make the comparison sharp, or it depends on who went first."""
    reached = half_width(rounds[SPARSE], rounds[DENSE])
    num, told = len(rounds[SPARSE]), []
    if reached > HALF_WIDTH:
        told.append(f"after {num} pairs of rounds the speed-up is known to {reached:.0%} only")
    first, second = by_order(rounds[SPARSE], rounds[DENSE]).values()
    if abs(first.value / second.value - 1) > MOST_BY_ORDER and _are_apart(first, second):
        told.append(
            f"the speed-up is {first.value:.3g} where dense attention goes first and {second.value:.3g} where it goes "
            "second: what runs before a round changes it"
        )
    return "; ".join(told)


def _are_apart(a: intervals.Interval, b: intervals.Interval) -> bool:
    """Say whether two intervals have nothing in common."""
    assert a.low is not None and a.high is not None and b.low is not None and b.high is not None, "of several pairs"  # noqa: PT018
    return a.low > b.high or b.low > a.high


def by_order(sparse: Sequence[Round], dense: Sequence[Round]) -> dict[str, intervals.Interval]:
    """Compare throughput in the pairs in which dense attention went first, and in those in which it went second."""
    clock = sparse[0].clock
    names = ("speedup_dense_first", "speedup_sparse_first")[: len(sparse)]
    return {name: _ratio(sparse[i::2], dense[i::2], clock) for i, name in enumerate(names)}


def _round(reply: dict[str, Any]) -> Round:
    attended, dense, floor_ms = (float(reply.get(name, 0.0)) for name in ("pages_attended", "pages_dense", "floor_ms"))
    seconds = {name: float(reply[name]) for name in (WALL, PROCESSOR, ATTENTION) if reply.get(name)}
    guards = tuple(Measurement(*row) for row in reply.get("guards", ()))
    return Round(reply["num_tokens"], seconds, tuple(reply["step_ms"]), attended, dense, floor_ms, guards)


def _ratio(sparse: Sequence[Round], dense: Sequence[Round], clock: str) -> intervals.Interval:
    """Compare throughput by one clock, pair by pair."""
    return intervals.paired_ratio([(d.seconds[clock], s.seconds[clock]) for s, d in zip(sparse, dense, strict=True)])


def _step_ms(rounds: Sequence[Round]) -> intervals.Interval:
    """Give the median over rounds of the median step: the steps of one are slow or fast together."""
    return intervals.median_and_spread([statistics.median(each.step_ms) for each in rounds])


def serve_measurements(sparse: Sequence[Round], dense: Sequence[Round]) -> tuple[Measurement, ...]:
    """Compare paired rounds: throughput as a ratio per pair, everything else beside it with its spread.

    `speedup` is end to end, by processor time on a CPU; `speedup_wall` by the clock on the wall; `speedup_attention`
    that of the attention layers alone, where it could be measured; `attention_share` dense attention's share of a step.
    `speedup_dense_first` and `speedup_sparse_first` are `speedup` by who went first in a pair. `floor_ms`: the least
    time of a step. What follows says how it was decoded (`search.evaluator.guards`).
    """
    clock = sparse[0].clock
    found = {"speedup": _ratio(sparse, dense, clock), "speedup_wall": _ratio(sparse, dense, WALL)}
    if all(ATTENTION in r.seconds for r in (*sparse, *dense)):
        shares = [r.seconds[ATTENTION] / r.seconds[clock] for r in dense]
        found["speedup_attention"] = _ratio(sparse, dense, ATTENTION)
        found["attention_share"] = intervals.median_and_spread(shares)
    found |= {
        "tokens_per_s": intervals.median_and_spread([r.tokens_per_s for r in sparse]),
        "dense_tokens_per_s": intervals.median_and_spread([r.tokens_per_s for r in dense]),
        "step_ms": _step_ms(sparse),
        "dense_step_ms": _step_ms(dense),
        "pages_attended": intervals.median_and_spread([r.pages_attended for r in sparse]),
        "pages_dense": intervals.median_and_spread([r.pages_dense for r in sparse]),
    }
    found |= by_order(sparse, dense)
    floors = [each.floor_ms for each in sparse if each.floor_ms]
    floor = [measured("floor_ms", intervals.median_and_spread(floors))] if floors else []
    return (*(measured(name, interval) for name, interval in found.items()), *floor, *sparse[-1].guards)
