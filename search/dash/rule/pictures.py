"""Pictures of what rules attend to: made by a process of its own, a few at a time, and kept."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from search.campaigns.machines import recording_behind
from search.contracts import LookError
from search.dash.rule.costs import UncountedError, fitted
from search.plots import attention, encoded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from search.dash.rule.gathering import Rule
    from search.evaluator.recall.looker import RecordedLooker
    from search.evaluator.recall.picture import Picture

MAX_KEPT = 32  # pictures
MAX_WAITING = 4  # of whom one is served: others are told to come again, so that pages still have threads


@dataclass(frozen=True)
class Figure:
    """A picture that is drawn, and the sentence above it."""

    title: str
    svg: bytes


class Pictures:
    """Draws what a rule attends to, from what was recorded on this machine for the campaign that measured it.

    One file of recordings is open at a time. `scratch`: gives the folder that workers keep recordings in, which is
    asked for at the first picture. Safe from several threads.
    """

    def __init__(self, scratch: Callable[[], Path]) -> None:
        self._scratch, self._lock, self._places = scratch, Lock(), BoundedSemaphore(MAX_WAITING)
        self._open: tuple[Path, RecordedLooker] | None = None
        self._kept: OrderedDict[tuple[object, ...], Figure] = OrderedDict()

    def drawn(self, rule: Rule, ratio: float, layers: tuple[int, ...]) -> Figure:
        """Give a picture. Raises LookError, with a sentence, where there is none."""
        file = recording_behind(rule.site.ledger, rule.record, ratio, self._scratch())
        try:
            values = fitted(rule, ratio)
        except UncountedError as error:
            raise LookError(str(error)) from error
        key = (file, rule.proposal.text, values, layers)
        if not self._places.acquire(blocking=False):
            raise LookError("other pictures are being made: ask again in a moment")
        try:
            with self._lock:
                if key not in self._kept:
                    picture = self._looker(file).picture(rule.proposal.text, values, layers)
                    self._keep(key, picture)
                self._kept.move_to_end(key)
                return self._kept[key]
        finally:
            self._places.release()

    def close(self) -> None:
        """End the process that makes them. Idempotent."""
        with self._lock:
            if self._open is not None:
                self._open[1].close()
                self._open = None

    def _keep(self, key: tuple[object, ...], picture: Picture) -> None:
        figure = attention(picture)
        self._kept[key] = Figure(figure.get_suptitle(), encoded(figure, "svg"))
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def _looker(self, file: Path) -> RecordedLooker:
        from search.evaluator.recall.looker import RecordedLooker

        if self._open is None or self._open[0] != file:
            if self._open is not None:
                self._open[1].close()
            self._open = file, RecordedLooker(lambda: file, self._scratch())
        return self._open[1]
