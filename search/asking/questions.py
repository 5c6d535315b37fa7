"""Questions to proposers, asked beside the loop so that leases are kept while an answer takes minutes."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.contracts import Proposer
    from search.records import Context, Proposal


class Question:
    """Asks a proposer in a thread of its own, which no exit of the process waits for."""

    def __init__(self, proposer: Proposer, context: Context) -> None:
        self.proposer, self.context = proposer, context
        self._answers: queue.SimpleQueue[Proposal | BaseException] = queue.SimpleQueue()
        threading.Thread(target=self._ask, name=f"step-{context.step}", daemon=True).start()

    @property
    def is_answered(self) -> bool:
        """Whether there is an answer, of whatever kind."""
        return not self._answers.empty()

    def answer(self, timeout_s: float) -> Proposal | None:
        """Give the proposal, None if there is none yet. Raises what the proposer raised."""
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _ask(self) -> None:
        try:
            self._answers.put(self.proposer.propose(self.context))
        except BaseException as error:  # it is no end of this thread's: `answer` raises it in the loop's
            self._answers.put(error)


class Questions:
    """The questions that are open, one for a step. Answers may come in any order and are taken in that of the steps."""

    def __init__(self) -> None:
        self._open: dict[int, Question] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, step: int) -> bool:
        return step in self._open

    @property
    def last(self) -> int:
        """Give the last step for which one is open, -1 where none is."""
        return max(self._open, default=-1)

    def num_to(self, proposer: Proposer) -> int:
        """Count those that a proposer was asked, answered or not."""
        return sum(question.proposer is proposer for question in self._open.values())

    def num_waiting(self, proposer: Proposer) -> int:
        """Count those that a proposer is at: an answer that waits for its turn keeps nobody busy."""
        asked = (question for question in self._open.values() if question.proposer is proposer)
        return sum(not question.is_answered for question in asked)

    def is_open_to_others(self, proposer: Proposer) -> bool:
        """Say whether one is open to another proposer."""
        return any(question.proposer is not proposer for question in self._open.values())

    def is_answered(self, step: int) -> bool:
        """Say whether a step's answer is there to be taken."""
        return step in self._open and self._open[step].is_answered

    def put(self, proposer: Proposer, context: Context) -> None:
        """Ask for a step's proposal."""
        self._open[context.step] = Question(proposer, context)

    def take(self, step: int, timeout_s: float) -> Proposal | None:
        """Give a step's answer and close its question; None if there is no answer yet. Raises what was raised."""
        try:
            answer = self._open[step].answer(timeout_s)
        except BaseException:
            del self._open[step]
            raise
        if answer is not None:
            del self._open[step]
        return answer
