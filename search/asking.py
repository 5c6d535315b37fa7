"""One question to a proposer at a time, asked beside the loop so that leases are kept while an answer takes minutes."""

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
