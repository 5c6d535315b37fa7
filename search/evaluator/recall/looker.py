"""Quick looks at programs: a process of its own with torch and without an engine, over what workers have recorded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from search.contracts import LookError
from search.evaluator.arms import HOST, LIGHT
from search.evaluator.outcomes import outcome_of
from search.evaluator.sandbox import Box, Child, ChildError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from search.records import Measurement

    Values = tuple[tuple[str, float | int | str], ...]

START_S = 120.0  # to load torch and the recordings, on a busy machine
LOOK_S = 20.0  # for one program; nearly all take less than a second
MAX_KEPT = 512  # looks that are given again: parents and published rules are looked at for every program


class RecordedLooker:
    """Implements `search.contracts.Looker` over one file of recordings.

    place: says where the file is, asked when somebody first looks, and may raise LookError. Nothing is started before
    there is a file. Looks stand in a queue: their process, which the kernel ends with the thread that started it, has
    one thread to itself.
    """

    def __init__(self, place: Callable[[], Path], scratch: Path, memory_bytes: int = 0) -> None:
        self._place, self._box = place, Box(scratch, memory_bytes=memory_bytes)
        self._thread = ThreadPoolExecutor(1, "look")
        self._child: Child | None = None
        self._kept: dict[tuple[str, Values], tuple[Measurement, ...]] = {}
        self._statistics: tuple[Measurement, ...] = ()

    def look(self, text: str, values: Values) -> tuple[Measurement, ...]:
        """Give figures of recall (`search.evaluator.recall.looking`). Raises LookError."""
        return self._thread.submit(self._looked, text, values).result()

    def statistics(self) -> tuple[Measurement, ...]:
        """Describe what was recorded (`search.evaluator.recall.describing`), once. Raises LookError."""
        return self._thread.submit(self._described).result()

    def close(self) -> None:
        """Kill the process. Idempotent."""
        self._thread.submit(self._drop).result()

    def _looked(self, text: str, values: Values) -> tuple[Measurement, ...]:
        if (text, values) not in self._kept:
            found = self._asked("look", {"text": text, "values": values}, LOOK_S)
            if len(self._kept) >= MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[text, values] = found
        return self._kept[text, values]

    def _described(self) -> tuple[Measurement, ...]:
        self._statistics = self._statistics or self._asked("describe", {}, START_S)
        return self._statistics

    def _asked(self, what: str, arguments: dict[str, Any], timeout_s: float) -> tuple[Measurement, ...]:
        file = self._place()
        if not file.exists():
            raise LookError(
                "there is no look: the model's attention has not been recorded on this machine, where nothing is "
                f"recorded but by workers of its own ({file.name} of their scratch folder would hold it)"
            )
        try:
            reply: dict[str, Any] = self._running(file).call(what, {"file": str(file), **arguments}, timeout_s)
        except ChildError as error:
            raise LookError(f"the look came to nothing: {error}") from error
        return outcome_of(reply).measurements

    def _running(self, file: Path) -> Child:
        """Give the process, started if need be, with the recordings loaded: that is no program's fault."""
        if self._child is None or not self._child.alive:
            self._drop()
            self._child = Child((*HOST, LIGHT), self._box)
        self._child.call("look", {"file": str(file)}, START_S)
        return self._child

    def _drop(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None
