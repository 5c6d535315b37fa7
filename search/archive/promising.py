"""Who may breed at one cost ratio: what loses least, as it was measured or as the stages before tell."""

from __future__ import annotations

import bisect
import math
from copy import copy
from typing import TYPE_CHECKING

from search.records import Stage, Status

if TYPE_CHECKING:
    from search.records import Record

NUM_KEPT = 12  # by each figure
TELLING = (Stage.RECALL, Stage.SCREEN)  # where mass is measured


class Promising:
    """The best few by what they lose in an engine, by the mass that recall tells, and by that of the screen.

    Few of the candidates enter an engine, and those that did not may be as good: what is foretold of them is compared
    with what was measured (`search.parents.breeders`).
    """

    def __init__(self) -> None:
        self._best: dict[str, list[tuple[float, int]]] = {}
        self.steps: tuple[int, ...] = ()

    def add(self, record: Record, ratio: float, lost: float | None) -> None:
        """Take in a finished record, of a later step each time; `lost` in an engine, None where it never was in one."""
        before = [tuple(kept) for kept in self._best.values()]
        if lost is not None:
            self._keep("", lost, record.candidate.step)
        for stage in TELLING:
            evaluation = record.evaluation(stage, ratio)
            mass = evaluation.value("mass") if evaluation and evaluation.status is Status.OK else None
            if mass is not None and math.isfinite(mass):
                self._keep(stage, -mass, record.candidate.step)
        if before != [tuple(kept) for kept in self._best.values()]:
            self.steps = tuple(sorted({step for kept in self._best.values() for _, step in kept}))

    def branch(self) -> Promising:
        """Give another one that knows the same and goes on by itself."""
        other = copy(self)
        vars(other).update(_best={figure: list(kept) for figure, kept in self._best.items()})
        return other

    def _keep(self, figure: str, lost: float, step: int) -> None:
        kept = self._best.setdefault(figure, [])
        bisect.insort(kept, (lost, step))
        del kept[NUM_KEPT:]
