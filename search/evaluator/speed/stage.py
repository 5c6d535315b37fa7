"""The serve stage in a worker: sparse and dense engines decode the same work in turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.evaluator import intervals
from search.evaluator.arms import DENSE, SPARSE, asked_of
from search.evaluator.outcomes import Outcome, measured
from search.records import Measurement, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from search.evaluator.arms import Arms
    from search.records import EvaluationTask

MIN_PAIRS = 2  # one pair has no interval


@dataclass(frozen=True)
class Round:
    """One timed round: the same work on one arm."""

    tokens_per_s: float
    step_ms: tuple[float, ...]
    pages_attended: float
    pages_dense: float


def run(arms: Arms, task: EvaluationTask) -> Outcome:
    """Time sparse and dense side by side: a warm-up of each, then pairs in alternating order."""
    sparse, args, limit_s = arms.sparse(task), asked_of(task), arms.limits.serve_round_s
    dense_args = args | {"text": "", "values": ()}
    asks: dict[str, Callable[[], dict[str, Any]]] = {
        SPARSE: lambda: sparse.call("serve_round", args, limit_s),
        DENSE: lambda: arms.ask_dense("serve_round", dense_args, limit_s),
    }
    rounds: dict[str, list[Round]] = {SPARSE: [], DENSE: []}
    for i in range(-1, max(MIN_PAIRS, task.workload.repeats)):
        for role in (SPARSE, DENSE) if i % 2 else (DENSE, SPARSE):
            timed = _round(asks[role]())
            rounds[role] += [timed] * (i >= 0)
    if any(r.pages_attended <= 0 for r in rounds[SPARSE]):
        return Outcome(Status.NOT_SPARSE, "the engine counted no page that was read by the sparse path")
    return Outcome(measurements=serve_measurements(rounds[SPARSE], rounds[DENSE]))


def _round(reply: dict[str, Any]) -> Round:
    pages = (float(reply.get(name, 0.0)) for name in ("pages_attended", "pages_dense"))
    return Round(reply["num_tokens"] / reply["elapsed_s"], tuple(reply["step_ms"]), *pages)


def serve_measurements(sparse: Sequence[Round], dense: Sequence[Round]) -> tuple[Measurement, ...]:
    """Compare paired rounds: throughput as a ratio per pair, everything else beside it with its spread."""
    ratio = intervals.paired_ratio([(s.tokens_per_s, d.tokens_per_s) for s, d in zip(sparse, dense, strict=True)])
    found = {
        "speedup": ratio,
        "tokens_per_s": intervals.median_and_spread([r.tokens_per_s for r in sparse]),
        "dense_tokens_per_s": intervals.median_and_spread([r.tokens_per_s for r in dense]),
        "step_ms": intervals.median_and_spread([ms for r in sparse for ms in r.step_ms]),
        "dense_step_ms": intervals.median_and_spread([ms for r in dense for ms in r.step_ms]),
        "pages_attended": intervals.median_and_spread([r.pages_attended for r in sparse]),
        "pages_dense": intervals.median_and_spread([r.pages_dense for r in sparse]),
    }
    return tuple(measured(name, interval) for name, interval in found.items())
