"""What is asked of a large ledger, and what it costs."""

from __future__ import annotations

import itertools
import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.store.filling import ENVIRONMENT, MODEL, VERSION, WORKLOADS
from search.commands.results import nearest
from search.records import Candidate, Choice, Evaluation, EvaluationKey, EvaluationTask, Measurement, Proposal, Status
from search.store.ledger import SqlLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.store.filling import Filled

    Asking = Callable[[SqlLedger, Filled], Iterator[Callable[[], object]]]

LEAST_TIMES, MOST_TIMES, ENOUGH_S = 3, 60, 10.0
PAGE = 50


@dataclass(frozen=True)
class Figures:
    """Seconds of one question, and the most bytes that the process held, of which `base` before it asked anything."""

    p50_s: float
    p95_s: float
    cpu_s: float  # of this process, on average: a server's is not seen
    peak_bytes: int
    base_bytes: int
    num: int

    def __str__(self) -> str:
        cpu = f"cpu {1e3 * self.cpu_s:6.1f} ms"
        return (
            f"p50 {1e3 * self.p50_s:8.1f} ms   p95 {1e3 * self.p95_s:8.1f} ms   {cpu}   "
            f"peak {self.peak_bytes / 1e6:6.0f} MB "
            f"({self.base_bytes / 1e6:.0f} MB before)   {self.num} times"
        )


def ask(filled: Filled, what: str) -> Figures:
    """Ask for one thing until it is known what it takes. The first time counts as well: nothing has been read then."""
    with closing(SqlLedger(filled.url)) as ledger:
        base, taken, cpu_s = _peak_bytes(), [], time.process_time()
        until = time.monotonic() + ENOUGH_S
        for question in ASKED[what](ledger, filled):
            began = time.perf_counter()
            question()
            taken.append(time.perf_counter() - began)
            if len(taken) >= MOST_TIMES or (len(taken) >= LEAST_TIMES and time.monotonic() > until):
                break
        p95 = statistics.quantiles(taken, n=20, method="inclusive")[-1]
        cpu_s = (time.process_time() - cpu_s) / len(taken)
        return Figures(statistics.median(taken), p95, cpu_s, _peak_bytes(), base, len(taken))


def _peak_bytes() -> int:
    """Give the most that this process ever held."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _opening(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    del ledger
    return itertools.repeat(lambda: SqlLedger(filled.url, read_only=True).close())


def _leaderboard(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    del filled
    return itertools.repeat(lambda: ledger.standings(limit=PAGE))


def _fronts(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    del filled
    return itertools.repeat(ledger.fronts)


def _sorted(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    for sort in itertools.cycle(("kl", "-kl", "modelled_speedup", "retrieval_loss")):
        yield partial(ledger.standings, filled.campaign.id, PAGE, Choice(ratio=16.0, sort=sort))


def _status(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    return itertools.repeat(lambda: ledger.progress(filled.campaign.id))


def _show(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    for each in itertools.cycle(filled.ids):
        yield partial(_shown, ledger, each)


def _shown(ledger: SqlLedger, candidate_id: int) -> None:
    """Read what `vortex show` does."""
    record = ledger.candidate(candidate_id)
    nearest(ledger, record)
    for digest in {each.key.workload_digest for each in record.evaluations}:
        ledger.workload(digest)


def _steps(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    for each in itertools.cycle(filled.ids):
        yield partial(ledger.records, filled.campaign.id, range(each - 1, each))


def _find(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    for digest in itertools.cycle(filled.digests):
        yield partial(ledger.find, digest[:10])


def _claim(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    for number in itertools.count():
        yield partial(ledger.claim, _task(number), "benchmark", 30.0, filled.ids[number % len(filled.ids)])


def _task(number: int) -> EvaluationTask:
    workload = WORKLOADS[0]
    key = EvaluationKey(f"new{number}", workload.stage, workload.digest, MODEL, ENVIRONMENT.digest, VERSION, 0)
    return EvaluationTask(key, "class New(Program): ...", (), workload)


def _briefs(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    """Ask what to invent next where all but one result is known to whoever answers, as `vortex mcp` is asked."""
    from search.outside.gateway import Gateway  # what it imports is no part of what the others ask for

    gateway = Gateway(ledger, "agent", filled.campaign.id)
    gateway.brief()
    for number in _further(ledger, filled):
        _one_turn(ledger, filled, number)
        yield gateway.brief


def _turn(ledger: SqlLedger, filled: Filled) -> Iterator[Callable[[], object]]:
    """Store a candidate, claim an evaluation of it and finish it."""
    for number in _further(ledger, filled):
        yield partial(_one_turn, ledger, filled, number)


def _further(ledger: SqlLedger, filled: Filled) -> Iterator[int]:
    """Count on from the candidates that were added since the ledger was filled."""
    return itertools.count(ledger.progress(filled.campaign.id).num_steps - filled.num_candidates)


def _one_turn(ledger: SqlLedger, filled: Filled, number: int) -> None:
    task = _task(10**6 + number)
    proposal = Proposal(task.text, "grammar", "mutate")
    digest, step = task.key.program_digest, filled.num_candidates + number
    added = ledger.add_candidate(Candidate(filled.campaign.id, step, proposal, Status.OK, "", digest, "New"))
    ledger.claim(task, "benchmark", 30.0, added.id, begun=True)
    ledger.finish(Evaluation(task.key, Status.OK, "", (Measurement("budget", 4.0),)), "benchmark", ENVIRONMENT)


ASKED: dict[str, Asking] = {
    "opening": _opening,
    "leaderboard": _leaderboard,
    "fronts": _fronts,
    "leaderboard --sort": _sorted,
    "status": _status,
    "show": _show,
    "records of one step": _steps,
    "find": _find,
    "claim": _claim,
    "brief after a result": _briefs,
    "turn": _turn,
}
