"""Whom to promote: among the candidates that a step may see, the share that promises most, and a few by lot."""

from __future__ import annotations

import random
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from search.foresight.foresight import Foresight, layers_of, log_kl, lost_mass
from search.parents import REFERENCE
from search.records import Stage

if TYPE_CHECKING:
    from search.foresight.ridge import Array
    from search.records import Record

MAX_KEPT = 64  # models: more than there are questions at a time
LEAST_ENTERING = 4  # so many are promoted before a share of those seen is more


def by_chance(seed: int, step: int, ratio: float, share: float) -> bool:
    """Say whether a step's candidate is among the share that is promoted by lot: what foresight underrates shows."""
    return random.Random(f"{seed} {step} {ratio} enters").random() < share


class Outlook:
    """All that is known at one cost ratio, in step order; what it says depends on how many steps a question may see.

    The model is fitted again only where another result has become visible, and only then is it asked again about all
    candidates. So a question costs the same however many there are, but for one comparison of an array.
    """

    def __init__(self, ratio: float, stage: Stage = Stage.RECALL) -> None:
        self.ratio, self.stage = ratio, stage
        self._layers: tuple[str, ...] = ()
        self._num_steps = 0
        self._lost: list[tuple[float, ...]] = []
        self._steps: list[int] = []  # of the candidates in `_lost`
        self._results: list[Record] = []
        self._result_steps: list[int] = []
        self._models: dict[int, tuple[Foresight, Array]] = {}  # by number of results, with what candidates promise

    def add(self, record: Record) -> None:
        """Add the next step's record, which is finished."""
        step, self._num_steps = self._num_steps, self._num_steps + 1
        if record.candidate.proposal.operator == REFERENCE:
            return
        self._layers = self._layers or layers_of(record, self.ratio, self.stage)
        lost = lost_mass(record, self.ratio, self.stage, self._layers)
        if not lost:
            return
        self._lost.append(lost)
        self._steps.append(step)
        if log_kl(record, self.ratio) is not None:
            self._results.append(record)
            self._result_steps.append(step)

    def foresight(self, num_visible: int) -> Foresight:
        """Give the model that the results of the first so many steps make."""
        return self._model(num_visible)[0]

    def promotes(self, record: Record, num_visible: int, share: float) -> bool:
        """Say whether a candidate is in the share of those visible, itself included, that promise most.

        One whose masses by layer are not known is promoted: nothing speaks against it.
        """
        lost = lost_mass(record, self.ratio, self.stage, self._layers)
        if not lost:
            return True
        foresight, promises = self._model(num_visible)
        num_better = int((promises > foresight.promises([lost])[0]).sum())
        return num_better < max(LEAST_ENTERING, share * (len(promises) + 1))

    def _model(self, num_visible: int) -> tuple[Foresight, Array]:
        """Give the model of the results that are visible, and what the visible candidates promise by it."""
        if num_visible > self._num_steps:
            raise ValueError(f"{num_visible} steps are to be seen, but only {self._num_steps} were added")
        num_results = bisect_left(self._result_steps, num_visible)
        num_seen = bisect_left(self._steps, num_visible)
        if num_results in self._models:
            foresight, promises = self._models[num_results]
        else:
            foresight = Foresight.fit(self._results[:num_results], self.ratio, self.stage)
            promises = np.zeros(0)
        if len(promises) < num_seen:
            more = foresight.promises(self._lost[len(promises) : num_seen])
            promises = np.concatenate([promises, more])
        self._models[num_results] = foresight, promises
        while len(self._models) > MAX_KEPT:
            del self._models[min(self._models)]
        return foresight, promises[:num_seen]
