"""Who watches a campaign: the callbacks of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records import Evaluation, Record


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

    def on_confirming(self, records: Sequence[Record]) -> None:
        """Note that the leaders are being measured again."""
        ...


class Silent:
    """Watches nothing."""

    def on_start(self, num_finished: int, num_candidates: int) -> None: ...  # noqa: D102
    def on_candidate(self, record: Record) -> None: ...  # noqa: D102
    def on_evaluation(self, record: Record, evaluation: Evaluation) -> None: ...  # noqa: D102
    def on_finished(self, record: Record) -> None: ...  # noqa: D102
    def on_confirming(self, records: Sequence[Record]) -> None: ...  # noqa: D102
