"""Who watches a campaign: the callbacks of the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.parents import Leader
    from search.records import Evaluation, EvaluationKey, Record, Workload


@dataclass(frozen=True)
class Running:
    """An evaluation that a worker is at, for how long."""

    name: str
    workload: Workload
    age_s: float
    key: EvaluationKey | None = None


class Observer(Protocol):
    """Is told what happens, for people to watch. Called in the loop's thread."""

    def on_start(self, num_finished: int, num_candidates: int) -> None:
        """Note that the run begins: so many candidates (seeds included) are finished of so many."""
        ...

    def on_candidate(self, record: Record) -> None:
        """Note a step: its candidate was admitted or refused."""
        ...

    def on_evaluation(self, record: Record, evaluation: Evaluation) -> None:
        """Note the end of one stage of a candidate."""
        ...

    def on_finished(self, record: Record) -> None:
        """Note an admitted candidate that has no stage left."""
        ...

    def on_confirming(self, leaders: Sequence[Leader]) -> None:
        """Note that the leaders are being measured again."""
        ...

    def on_waiting(self, running: Sequence[Running], num_waiting: int) -> None:
        """Note what workers are at, and how many evaluations wait; called every second or so."""
        ...


class Silent:
    """Watches nothing."""

    def on_start(self, num_finished: int, num_candidates: int) -> None: ...  # noqa: D102
    def on_candidate(self, record: Record) -> None: ...  # noqa: D102
    def on_evaluation(self, record: Record, evaluation: Evaluation) -> None: ...  # noqa: D102
    def on_finished(self, record: Record) -> None: ...  # noqa: D102
    def on_confirming(self, leaders: Sequence[Leader]) -> None: ...  # noqa: D102
    def on_waiting(self, running: Sequence[Running], num_waiting: int) -> None: ...  # noqa: D102
