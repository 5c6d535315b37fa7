"""How busy a slow endpoint and workers keep each other: the real loop, ledger and client, real seconds."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.agents.server import Habits, serving
from benchmarks.loop import PROGRAM, Drawn, drawn, ledger
from search.agents.grammar import Grammar
from search.agents.llm.conversation import Llm
from search.config import CampaignConfig, lag_for
from search.loop import Loop, start_campaign
from search.records import Stage, Workload

if TYPE_CHECKING:
    from typing import Any

    from search.records import Evaluation, EvaluationKey, EvaluationTask

NUM_SLOTS = 8  # requests that the endpoint takes at once
STAGE_S = 0.5
TOKENS = 4096


@dataclass(frozen=True)
class Busy:
    """Shares of the time, from the first question to the last evaluation, of a campaign's middle.

    `workers`: they measured. `slots`: requests were held. `answers`: of those that the slots allow at this latency.
    """

    workers: float
    slots: float
    answers: float


class Sleeping(Drawn):
    """Workers that take so many seconds for every stage, and draw its figures."""

    def __init__(self, num_workers: int, stage_s: float) -> None:
        super().__init__(num_workers)
        self.busy_s = 0.0
        self._stage_s = stage_s
        self._waiting: list[EvaluationTask] = []
        self._ends: list[tuple[float, int, EvaluationTask]] = []
        self._num_begun = 0

    def submit(self, task: EvaluationTask) -> None:
        """Queue a task."""
        self._waiting.append(task)
        self._begin(time.monotonic())

    def completed(self, timeout_s: float) -> list[Evaluation]:
        """Wait for the first that ends."""
        if self._ends:
            time.sleep(max(0.0, min(timeout_s, self._ends[0][0] - time.monotonic())))
        found = []
        while self._ends and self._ends[0][0] <= time.monotonic():
            end_s, _, task = heapq.heappop(self._ends)
            self._begin(end_s)  # a worker takes what waits by itself
            found.append(drawn(task))
        return found

    def running(self) -> list[EvaluationKey]:
        """Give what workers are at."""
        return [task.key for _, _, task in self._ends]

    def _begin(self, now_s: float) -> None:
        while self._waiting and len(self._ends) < self.num_workers:
            task = self._waiting.pop(0)
            self.busy_s += self._stage_s
            self._num_begun += 1
            heapq.heappush(self._ends, (now_s + self._stage_s, self._num_begun, task))


def busy(latency_s: float, num_workers: int, num_answers: int, seed: int, *, mixed: bool = False) -> Busy:
    """Run a campaign whose stages take half a second, by a model alone or in turns with the grammar."""
    names = ("llm", "grammar") if mixed else ("llm",)
    config = CampaignConfig(
        seed=seed,
        num_candidates=num_answers * len(names),
        proposers=names,
        seeds=(),
        ratios=(8.0,),
        workloads=(Workload(Stage.CHECK, TOKENS, 1), Workload(Stage.FIDELITY, TOKENS, 1)),
        lag=lag_for(num_workers, num_answers, is_cheap=False),
    )
    with serving(_program, Habits(latency_s, seed=seed)) as server, ledger() as opened:
        llm = Llm(server.endpoint())
        llm.num_at_once = NUM_SLOTS
        evaluator = Sleeping(num_workers, STAGE_S)
        campaign = start_campaign(opened, config)
        begun_s = time.monotonic()
        Loop(opened, evaluator, [llm, Grammar()][: len(names)], campaign).run()
        # What the last questions leave free at the end says nothing of a long campaign.
        taken_s = time.monotonic() - begun_s - latency_s - STAGE_S
        allowed = taken_s / latency_s * NUM_SLOTS
        return Busy(
            evaluator.busy_s / (num_workers * taken_s),
            server.busy_s / (NUM_SLOTS * taken_s),
            server.num_answers / allowed,
        )


def _program(number: int, _asked: dict[str, Any]) -> str:
    return f"Newer pages matter.\n\n```python\n{PROGRAM.format(step=number, slope=f'{(number + 1) / 7:.6f}')}```\n"
