"""What the loop itself costs, and how many candidates must be under way to keep workers busy.

    python benchmarks/loop.py cost [-n 10000]   CPU of a candidate, and of an evaluation, after 100, 200, 1,000, ...
    python benchmarks/loop.py cost --untraced   the same with made-up programs: ten times as many in the same time
    python benchmarks/loop.py lag [-n 300]      share of time that 2, 8 and 32 workers are busy, by lag

Both drive the real loop on the real ledger in SQLite; programs are traced, fitted and admitted, unless `--untraced`
leaves out what `cost` tells apart anyway. Only what measures is made up: figures are drawn from digests. For `cost`
every evaluation is there at once, and what proposing, tracing, fitting and checking take is told apart. For `lag` time
is simulated: stages take what `TYPICAL_S` says, times a factor drawn from a log-normal distribution, and everything
else takes no time at all.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import random
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if sys.path[0] == str(Path(__file__).parent):  # run as a file: `kernels` must not mean a file beside this one
    sys.path[0] = str(Path(__file__).parents[1])

import search.dispatch
import search.loop
from search.archive.archivist import TYPICAL_S
from search.asking import proposals
from search.config import CampaignConfig
from search.fit import Fitted
from search.loop import Loop, start_campaign
from search.observer import Silent
from search.records import Candidate, Environment, Evaluation, Measurement, Proposal, Stage, Status, digest_of
from search.store.ledger import SqlLedger
from search.workloads import workloads_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from search.fit import Values
    from search.records import Context, EvaluationKey, EvaluationTask, Record

CHECKPOINTS = (100, 200, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
USUAL = 10_000
WORKERS = (2, 8, 32)
LAGS = (8, 16, 32, 64, 128)
SPREAD = 0.5  # of the logarithm of a stage's time
LAYERS = 4
PROGRAM = '''from vortex_dsl import Int, Program, maximum, topk


class Rule{step}(Program):
    """Rank pages by Quest's bound, the newer a little higher."""

    pages = Int(64, low=1, high=4096, log=True)
    dense_layers = Int(0, 0, 8)

    def summarize(self, k, v):
        return {{"hi": k.max("token"), "lo": k.min("token")}}

    def select(self, q, page):
        bound = maximum(q * page.hi, q * page.lo).sum("dim").max("head")
        return topk(bound + {slope} * page.index, self.pages)
'''


def settings(num_candidates: int, lag: int) -> CampaignConfig:
    """Give a campaign with the whole ladder: all are screened, a tenth goes through recall, few enter an engine."""
    return CampaignConfig(
        num_candidates=num_candidates,
        proposers=(Sloping.name,),
        seeds=("dense", "quest", "centroid"),
        workloads=workloads_for(0),
        num_layers=LAYERS,
        screen_share=0.1,
        recall_share=0.4,
        lag=lag,
    )


class Sloping:
    """Proposes another program at every step."""

    name = "sloping"

    def propose(self, context: Context) -> Proposal:
        """Give this step's program."""
        text = PROGRAM.format(step=context.step, slope=f"{(context.step + 1) / 7:.6f}")
        return Proposal(text, self.name, "slope")


class Drawn:
    """Measures nothing: draws figures from a program's digest, and gives them at once."""

    environment = Environment("none", "none", "", "", "")
    model_digest = "none"
    version = "0"

    def __init__(self, num_workers: int = 1) -> None:
        self.num_workers = num_workers
        self._done: list[Evaluation] = []

    def submit(self, task: EvaluationTask) -> None:
        """Take a task."""
        self._done.append(drawn(task))

    def completed(self, timeout_s: float) -> list[Evaluation]:  # noqa: ARG002 - there is nothing to wait for
        """Give what was submitted."""
        done, self._done = self._done, []
        return done

    def running(self) -> list[EvaluationKey]:
        """Give what is not collected yet."""
        return [each.key for each in self._done]

    def close(self) -> None:
        """Nothing is held."""


class Simulated(Drawn):
    """Workers whose time is simulated: it moves on when the loop has nothing else to do but to wait for them."""

    def __init__(self, num_workers: int) -> None:
        super().__init__(num_workers)
        self.now_s = self.busy_s = 0.0
        self._waiting: list[EvaluationTask] = []
        self._ends: list[tuple[float, int, EvaluationTask]] = []
        self._num_begun = 0

    def submit(self, task: EvaluationTask) -> None:
        """Queue a task."""
        self._waiting.append(task)
        self._begin()

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Let time pass up to the next end, unless there is something to do meanwhile."""
        if not timeout_s or not self._ends:
            return []
        self.now_s, _, task = heapq.heappop(self._ends)
        self._begin()
        return [drawn(task)]

    def running(self) -> list[EvaluationKey]:
        """Give what workers are at."""
        return [task.key for _, _, task in self._ends]

    def _begin(self) -> None:
        while self._waiting and len(self._ends) < self.num_workers:
            task = self._waiting.pop(0)
            luck = random.Random(f"{task.key.program_digest} {task.key.stage} {task.workload.ratio}")
            takes_s = TYPICAL_S[task.key.stage] * luck.lognormvariate(0, SPREAD)
            self.busy_s += takes_s
            self._num_begun += 1
            heapq.heappush(self._ends, (self.now_s + takes_s, self._num_begun, task))


def drawn(task: EvaluationTask) -> Evaluation:
    """Draw a stage's figures: cheap stages and dear ones agree on how good a program is, with some noise."""
    digest, stage = task.key.program_digest, task.key.stage
    kept = 0.8 * _chance(digest) + 0.2 * _chance(digest, stage)
    layers = [Measurement(f"error_layer_{layer}", 1.1 - kept) for layer in range(LAYERS)]
    told = {
        Stage.SCREEN: {"mass": 0.2 + kept, "random_mass": 0.1, "recall": kept},
        Stage.RECALL: {"mass": 0.2 + kept, "random_mass": 0.1, "recall": kept},
        Stage.FIDELITY: {"kl": 1.1 - kept},
        Stage.RETRIEVAL: {"accuracy": kept, "loss": 0.1},
        Stage.PROBE: {"accuracy": kept},
        Stage.SERVE: {"speedup": 1 + task.workload.ratio * _chance(digest, "speed")},
    }.get(stage, {})
    figures = [Measurement(name, value, value * 0.9, value * 1.1) for name, value in told.items()]
    answers = hashlib.sha256(digest.encode()).hexdigest() if stage is Stage.SCREEN else ""
    is_recall = stage in (Stage.SCREEN, Stage.RECALL)
    return Evaluation(task.key, Status.OK, "", (*figures, *(layers if is_recall else ())), answers=answers)


def _chance(*parts: object) -> float:
    return int(hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:12], 16) / 16**12


class Clock(Silent):
    """Counts the CPU seconds of the whole process, and those of what is no part of the loop."""

    def __init__(self) -> None:
        self.apart_s = 0.0
        self._depth = 0
        self._marks = [(0, 0, time.process_time(), 0.0)]
        self._num_finished = self._num_evaluations = 0

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Give a function whose CPU seconds do not count as the loop's."""

        def wrapped(*args: Any, **named: Any) -> Any:
            begun_s = time.thread_time()
            try:
                return call(*args, **named)
            finally:
                self.apart_s += time.thread_time() - begun_s

        return wrapped

    def on_evaluation(self, record: Record, evaluation: Evaluation) -> None:  # noqa: ARG002 - the Observer's signature
        """Count them: a candidate has several."""
        self._num_evaluations += 1

    def on_finished(self, record: Record) -> None:  # noqa: ARG002 - the Observer's signature
        """Tell the time at each checkpoint, over the candidates since the one before."""
        self._num_finished += 1
        if self._num_finished in CHECKPOINTS:
            (before, measured, begun_s, apart_s), now_s = self._marks[-1], time.process_time()
            number, num_evaluations = self._num_finished - before, self._num_evaluations - measured
            apart = self.apart_s - apart_s
            ours_ms = 1e3 * (now_s - begun_s - apart)
            print(
                f"{self._num_finished:>6,} candidates: {ours_ms / number:6.1f} ms of the loop, "
                f"{ours_ms / num_evaluations:4.1f} ms of each of {num_evaluations / number:.1f} evaluations, "
                f"{1e3 * apart / number:6.1f} ms of proposing, tracing and fitting (means of the last {number:,})",
                flush=True,
            )
            self._marks.append((self._num_finished, self._num_evaluations, now_s, self.apart_s))


@contextmanager
def ledger() -> Iterator[SqlLedger]:
    """Give a new database that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder, closing(SqlLedger(f"sqlite:///{folder}/results.db")) as opened:
        yield opened


def _admitted(proposal: Proposal, campaign_id: int, step: int, config: object, seen: object) -> Candidate:  # noqa: ARG001
    return Candidate(campaign_id, step, proposal, Status.OK, "", digest_of([proposal.text, 0.0]), f"Rule{step}")


def _digests(proposal: Proposal, terms: object, ratios: Sequence[float]) -> list[str]:  # noqa: ARG001
    return [digest_of([proposal.text, ratio]) for ratio in (0.0, *ratios)]


def _checked(task: EvaluationTask, config: object) -> Evaluation:  # noqa: ARG001
    told = {"cost_ratio": task.workload.ratio or 1.0, "budget": 16.0, "bytes_per_page": 64.0, "operations": 9.0}
    figures = (Measurement(name, value) for name, value in told.items())
    return Evaluation(task.key, Status.OK, "", tuple(figures), ratio=task.workload.ratio)


def _fitted(text: str, values: Values, terms: object, ratio: float) -> Fitted:  # noqa: ARG001
    return Fitted(values, digest_of([text, ratio]), 16.0, ((1024, ratio),))


def _within(candidate: Candidate, context: object) -> Candidate:  # noqa: ARG001
    return candidate


UNTRACED = {"admit": _admitted, "check": _checked, "digests": _digests, "enforced": _within}
TRACING = ("admit", "check", "digests")
ADMITTING = ("admit", "enforced")  # names in `search.asking.proposals`, the others being `search.loop`'s


def cost(num_candidates: int, *, untraced: bool) -> None:
    """Print what a candidate costs the loop."""
    clock, proposer, config = Clock(), Sloping(), settings(num_candidates, lag=64)
    proposer.propose = clock.timed(proposer.propose)  # type: ignore[method-assign]
    homes = {name: proposals if name in ADMITTING else search.loop for name in UNTRACED}
    done: dict[str, Any] = UNTRACED if untraced else {name: getattr(homes[name], name) for name in TRACING}
    fit = clock.timed(_fitted if untraced else search.dispatch.fit)
    with ExitStack() as patched:
        for name, call in done.items():
            patched.enter_context(mock.patch.object(homes[name], name, clock.timed(call)))
        patched.enter_context(mock.patch.object(search.dispatch, "fit", fit))
        opened = patched.enter_context(ledger())
        campaign = start_campaign(opened, config)
        outcome = Loop(opened, Drawn(), [proposer], campaign, clock).run()
    print(f"{outcome.num_admitted:,} admitted of {outcome.num_steps:,} steps: {outcome.end}")


def lag(num_candidates: int) -> None:
    """Print how busy workers are."""
    print("workers " + "".join(f"lag {each:<8}" for each in LAGS))
    for num_workers in WORKERS:
        shares = [_busy(num_workers, each, num_candidates) for each in LAGS]
        print(f"{num_workers:>7} " + "".join(f"{share:<12.0%}" for share in shares), flush=True)


def _busy(num_workers: int, lag: int, num_candidates: int) -> float:
    evaluator, config = Simulated(num_workers), settings(num_candidates, lag)
    with ledger() as opened:
        Loop(opened, evaluator, [Sloping()], start_campaign(opened, config)).run()
    return evaluator.busy_s / (evaluator.now_s * num_workers)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "lag"))
    parser.add_argument("-n", type=int, help="candidates beside the seeds")
    parser.add_argument("--untraced", action="store_true", help="programs are made up as well, which is quicker")
    asked = parser.parse_args()
    if asked.what == "cost":
        cost(asked.n or USUAL, untraced=asked.untraced)
    else:
        lag(asked.n or 300)


if __name__ == "__main__":
    main()
