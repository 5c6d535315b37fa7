"""Quick looks at programs: a process of its own with torch and without an engine, over what workers have recorded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from search.contracts import LookError
from search.evaluator.arms import HOST, LIGHT
from search.evaluator.outcomes import outcome_of
from search.evaluator.recall.picture import Picture
from search.evaluator.sandbox import Box, Child, ChildError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from search.records import Measurement

    Values = tuple[tuple[str, float | int | str], ...]

START_S = 120.0  # to load torch and the recordings, on a busy machine
LOOK_S = 20.0  # for one program; nearly all take less than a second
PICTURE_S = 60.0
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

    def is_recorded(self) -> bool:
        """Whether there is anything to look at on this machine."""
        return self._thread.submit(self._is_there).result()

    def look(self, text: str, values: Values) -> tuple[Measurement, ...]:
        """Give figures of recall (`search.evaluator.recall.looking`). Raises LookError."""
        return self._thread.submit(self._looked, text, values).result()

    def picture(self, text: str, values: Values, layers: Sequence[int] = ()) -> Picture:
        """Picture what a program attends to, in some layers page by page (`picturing.picture`). Raises LookError."""
        args = {"text": text, "values": values, "layers": layers}
        reply = self._thread.submit(self._asked, "picture", args, PICTURE_S).result()
        return TypeAdapter(Picture).validate_python(reply["picture"])

    def statistics(self) -> tuple[Measurement, ...]:
        """Describe what was recorded (`search.evaluator.recall.describing`), once. Raises LookError."""
        return self._thread.submit(self._described).result()

    def close(self) -> None:
        """Kill the process. Idempotent."""
        self._thread.submit(self._drop).result()

    def _is_there(self) -> bool:
        try:
            return self._place().exists()
        except LookError:
            return False

    def _looked(self, text: str, values: Values) -> tuple[Measurement, ...]:
        if (text, values) not in self._kept:
            found = outcome_of(self._asked("look", {"text": text, "values": values}, LOOK_S)).measurements
            if len(self._kept) >= MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[text, values] = found
        return self._kept[text, values]

    def _described(self) -> tuple[Measurement, ...]:
        self._statistics = self._statistics or outcome_of(self._asked("describe", {}, START_S)).measurements
        return self._statistics

    def _asked(self, call: str, args: dict[str, Any], limit_s: float) -> dict[str, Any]:
        file = self._place()
        if not file.exists():
            raise LookError(
                "there is no look: the model's attention has not been recorded on this machine, where nothing is "
                f"recorded but by workers of its own ({file.name} of their scratch folder would hold it)"
            )
        try:
            reply: dict[str, Any] = self._running(call, file).call(call, {"file": str(file), **args}, limit_s)
        except ChildError as error:
            raise LookError(f"the look came to nothing: {error}") from error
        return reply

    def _running(self, call: str, file: Path) -> Child:
        """Give the process, started if need be, with the recordings loaded: that is no program's fault."""
        if self._child is None or not self._child.alive:
            self._drop()
            self._child = Child((*HOST, LIGHT), self._box)
        loading = "picture" if call == "picture" else "look"
        self._child.call(loading, {"file": str(file)}, START_S)
        return self._child

    def _drop(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None
