"""How busy a slow endpoint and workers keep each other: the real loop, ledger and client, real seconds."""

from __future__ import annotations

import heapq
import math
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

    from search.contracts import Proposer
    from search.records import Evaluation, EvaluationKey, EvaluationTask

NUM_SLOTS = 8  # requests that the endpoint takes at once
STAGE_S = 0.5
TOKENS = 4096


@dataclass(frozen=True)
class Busy:
    """Shares of what is possible.

    `workers`: of their time from the first stage to the last, what they spent measuring. `requests`: of those that the
    slots allow at this latency, as many as were begun after all slots were taken and before the last.
    """

    workers: float
    requests: float


class Sleeping(Drawn):
    """Workers that take so many seconds for every stage, and draw its figures."""

    def __init__(self, num_workers: int, stage_s: float) -> None:
        super().__init__(num_workers)
        self.begun_s, self.ended_s = math.inf, 0.0
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
            self.ended_s, _, task = heapq.heappop(self._ends)
            self._begin(self.ended_s)  # a worker takes what waits by itself
            found.append(drawn(task))
        return found

    def running(self) -> list[EvaluationKey]:
        """Give what workers are at."""
        return [task.key for _, _, task in self._ends]

    @property
    def busy(self) -> float:
        """Give the share of their time that they spent measuring."""
        return self._num_begun * self._stage_s / (self.num_workers * (self.ended_s - self.begun_s))

    def _begin(self, now_s: float) -> None:
        while self._waiting and len(self._ends) < self.num_workers:
            task = self._waiting.pop(0)
            self.begun_s = min(self.begun_s, now_s)
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
    with serving(_program, Habits(latency_s, NUM_SLOTS, seed=seed)) as server, ledger() as opened:
        llm = Llm(server.endpoint())
        evaluator = Sleeping(num_workers, STAGE_S)
        campaign = start_campaign(opened, config)
        proposers: list[Proposer] = [llm, Grammar()] if mixed else [llm]
        Loop(opened, evaluator, proposers, campaign).run()
    taken_s = server.begun[-1] - server.begun[0]
    return Busy(evaluator.busy, (len(server.begun) - NUM_SLOTS) * latency_s / (NUM_SLOTS * taken_s))


def _program(number: int, _asked: dict[str, Any]) -> str:
    return f"Newer pages matter.\n\n```python\n{PROGRAM.format(step=number, slope=f'{(number + 1) / 7:.6f}')}```\n"
