"""Whom to promote: among the candidates that a step may see, the share that promises most, and a few by lot."""

from __future__ import annotations

import random
from bisect import bisect_left
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from search.foresight.foresight import BY_LAYER, Foresight, layers_of, log_errors, log_kl
from search.parents import REFERENCE
from search.records import Stage

if TYPE_CHECKING:
    from search.foresight.foresight import Foretold
    from search.foresight.ridge import Array
    from search.records import Record

MAX_KEPT = 64  # models: more than there are questions at a time
LUCKY = 0.02  # share of the candidates that go on by lot: what is underrated is found out
LEAST_ENTERING = 4  # so many are promoted before a share of those seen is more
RECENT, LEAST_RECENT = 64, 16  # candidates by whom it is seen where the last ones would have stood


def by_chance(seed: int, step: int, stage: Stage, ratio: float, share: float = LUCKY) -> bool:
    """Say whether a step's candidate goes on from a stage by lot, whatever is told of it."""
    return random.Random(f"{seed} {step} {ratio} goes on from {stage}").random() < share


class Outlook:
    """All that is known at one cost ratio, in step order; what it says depends on how many steps a question may see.

    The model is fitted again only where another result has become visible, and only then is it asked again about all
    candidates. So a question costs the same however many there are, but for comparisons of an array. `lag`: of the
    campaign, whose steps do not see the last so many before them.
    """

    def __init__(self, ratio: float, stage: Stage = Stage.RECALL, lag: int = 0) -> None:
        self.ratio, self.stage, self._lag = ratio, stage, lag
        self._layers: tuple[str, ...] = ()
        self._errors: list[tuple[float, ...]] = []
        self._steps: list[int] = []  # of the candidates in `_errors`
        self._results: list[Record] = []
        self._result_steps: list[int] = []
        self._models: dict[int, tuple[Foresight, Array]] = {}  # by number of results, with what candidates promise
        self._kept_shares: dict[tuple[int, int, float], float] = {}

    def add(self, record: Record, step: int) -> None:
        """Add the finished record of a step, a later one each time."""
        if record.candidate.proposal.operator == REFERENCE:
            return
        self._layers = self._layers or layers_of(record, self.ratio, self.stage)
        errors = log_errors(record, self.ratio, self.stage, self._layers)
        if not errors:
            return
        self._errors.append(errors)
        self._steps.append(step)
        if log_kl(record, self.ratio) is not None:
            self._results.append(record)
            self._result_steps.append(step)

    def branch(self) -> Outlook:
        """Give another one that knows the same and goes on by itself."""
        other = copy(self)
        kept = ("_errors", "_steps", "_results", "_result_steps", "_models", "_kept_shares")
        vars(other).update({name: copy(getattr(self, name)) for name in kept})
        return other

    def foresight(self, num_visible: int) -> Foresight:
        """Give the model that the results of the first so many steps make."""
        return self._model(num_visible)[0]

    def foretell(self, record: Record, num_visible: int) -> Foretold | None:
        """Foretell a candidate's log KL, None where that cannot be done."""
        return self.foresight(num_visible).foretell(record)

    def promotes(self, record: Record, num_visible: int, share: float) -> bool | None:
        """Say whether a candidate promises more than all but a share of candidates do, as far as that is visible.

        None where nothing can be foretold of it.
        """
        foresight, promises = self._model(num_visible)
        errors = log_errors(record, self.ratio, self.stage, foresight.layers)
        if not (foresight.is_informed and errors):
            return None
        num_better = int((promises > foresight.promises([errors])[0]).sum())
        return num_better < max(LEAST_ENTERING, self._corrected(share, num_visible) * (len(promises) + 1))

    def _corrected(self, share: float, num_visible: int) -> float:
        """Give the share of those visible among whose best `share` of the next candidates will be.

        A search that gets on proposes what most of its past is worse than: of the first hundreds on SmolLM2 four in
        ten were in the best tenth of what they could see. So it is told by where the last that are visible stood among
        those that they could see.
        """
        if share >= 1:
            return share
        _, promises = self._model(num_visible)
        key = (len(promises), bisect_left(self._result_steps, num_visible), share)
        if key not in self._kept_shares:
            places = self._places(promises)
            corrected = share if len(places) < LEAST_RECENT else min(share, float(np.quantile(places, share)))
            self._kept_shares = {**dict(list(self._kept_shares.items())[-MAX_KEPT:]), key: corrected}
        return self._kept_shares[key]

    def _places(self, promises: Array) -> list[float]:
        """Give for each of the last candidates the share of those that it could see which promise more."""
        found = []
        for i in range(max(0, len(promises) - RECENT), len(promises)):
            num_seen = bisect_left(self._steps, self._steps[i] - self._lag)
            if num_seen:
                found.append(float((promises[:num_seen] > promises[i]).sum()) / (num_seen + 1))
        return found

    def weights(self, num_visible: int) -> dict[int, float]:
        """Give by layer the slope of log KL for one standard deviation of log error; empty without enough results.

        A ridge regression shares a slope among layers that err together, so they tell what counts, not what to mend.
        """
        foresight = self.foresight(num_visible)
        if foresight.ridge is None:
            return {}
        layers = [int(name.removeprefix(BY_LAYER)) for name in foresight.layers]
        return dict(zip(layers, foresight.ridge.slopes.tolist(), strict=True))

    def _model(self, num_visible: int) -> tuple[Foresight, Array]:
        """Give the model of the results that are visible, and what the visible candidates promise by it."""
        num_results = bisect_left(self._result_steps, num_visible)
        if num_results not in self._models:
            fitted = Foresight.fit(self._results[:num_results], self.ratio, self.stage)
            self._models[num_results] = fitted, np.zeros(0)
        foresight, promises = self._models[num_results]
        num_seen = bisect_left(self._steps, num_visible) if foresight.is_informed else 0
        if len(promises) < num_seen:
            promises = np.concatenate([promises, foresight.promises(self._errors[len(promises) : num_seen])])
            self._models[num_results] = foresight, promises
        while len(self._models) > MAX_KEPT:
            del self._models[min(self._models)]
        return foresight, promises[:num_seen]
