"""Whom to promote: among the candidates that a step may see, the share that promises most, and a few by lot."""

from __future__ import annotations

import random
from bisect import bisect_left
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from search.foresight.foresight import BY_LAYER, Foresight, layers_of, log_errors, log_kl
from search.foresight.table import Table
from search.parents import REFERENCE, SEED
from search.records import Stage

if TYPE_CHECKING:
    from search.foresight.foresight import Foretold
    from search.foresight.ridge import Array
    from search.records import Record

MAX_KEPT = 64  # models: more than there are questions at a time
ROUNDING = 1e-9  # of a promise: one of many that are told at once differs in its last digits
LUCKY = 0.02  # share of the candidates that go on by lot: what is underrated is found out
LEAST_ENTERING = 4  # so many are promoted before a share of those seen is more
RECENT, LEAST_RECENT = 96, 16  # invented candidates by whom it is told what the next ones will promise
LOOKED_BACK = 4096  # candidates before a question to whom another is compared: what it costs has a bound


def by_chance(seed: int, step: int, stage: Stage, ratio: float, share: float = LUCKY) -> bool:
    """Say whether a step's candidate goes on from a stage by lot, whatever is told of it."""
    return random.Random(f"{seed} {step} {ratio} goes on from {stage}").random() < share


class Outlook:
    """All that is known at one cost ratio, in step order; what it says depends on how many steps a question may see.

    The model is fitted again only where another result has become visible, and only then is it asked again about the
    last `LOOKED_BACK` candidates. So a question costs the same however many there are. `num_unseen`: so many steps
    before it a step of the campaign does not see.
    """

    def __init__(self, ratio: float, stage: Stage = Stage.RECALL, num_unseen: int = 0) -> None:
        self.ratio, self.stage, self._num_unseen = ratio, stage, num_unseen
        self._layers: tuple[str, ...] = ()
        self._errors = Table()
        self._steps: list[int] = []  # of the candidates in `_errors`
        self._results = Table()  # log KL beside the errors
        self._result_steps: list[int] = []
        self._models: dict[int, _Model] = {}  # by number of results
        self._invented: list[int] = []  # places in both of those that were not given
        self._came: list[int] = []  # steps of these, and of those whose errors are not known
        self._bars: dict[tuple[int, int, float], float | None] = {}

    def add(self, record: Record, step: int) -> None:
        """Add the finished record of a step, a later one each time."""
        if record.candidate.proposal.operator == REFERENCE:
            return
        if record.candidate.proposal.operator != SEED:
            self._came.append(step)
        self._layers = self._layers or layers_of(record, self.ratio, self.stage)
        errors = log_errors(record, self.ratio, self.stage, self._layers)
        if not errors:
            return
        if record.candidate.proposal.operator != SEED:
            self._invented.append(len(self._steps))
        self._errors.add(errors)
        self._steps.append(step)
        found = log_kl(record, self.ratio)
        if found is not None:
            self._results.add((found, *errors))
            self._result_steps.append(step)

    def branch(self) -> Outlook:
        """Give another one that knows the same and goes on by itself."""
        other = copy(self)
        kept = ("_errors", "_steps", "_results", "_result_steps", "_invented", "_came", "_bars")
        models = {number: copy(each) for number, each in self._models.items()}
        vars(other).update({name: copy(getattr(self, name)) for name in kept}, _models=models)
        return other

    def foresight(self, num_visible: int) -> Foresight:
        """Give the model that the results of the first so many steps make."""
        return self._model(num_visible).foresight

    def foretell(self, record: Record, num_visible: int) -> Foretold | None:
        """Foretell a candidate's log KL, None where that cannot be done."""
        return self.foresight(num_visible).foretell(record)

    def promotes(self, record: Record, num_visible: int, share: float) -> bool | None:
        """Say whether a candidate is in the share of candidates that promise most, as far as that is visible.

        None where nothing can be foretold of it.
        """
        model = self._model(num_visible)
        errors = log_errors(record, self.ratio, self.stage, model.foresight.layers)
        if not (model.foresight.is_informed and errors):
            return None
        promise = float(model.foresight.promises(np.array([errors]))[0])
        promises = self._promises(model, num_visible)
        bar = self._bar(share, num_visible) if share < 1 else None
        if bar is not None:
            return bool(promise - promises.max() >= bar - ROUNDING)
        num_better = int((promises > promise + ROUNDING).sum())
        return num_better < max(LEAST_ENTERING, share * (len(promises) + 1))

    def num_invented(self, num_visible: int) -> int:
        """Count those that are visible and were not given."""
        return bisect_left(self._came, num_visible)

    def _bar(self, share: float, num_visible: int) -> float | None:
        """Give by how much the best `share` of the next candidates will promise more than what they can see.

        It is told by the last that are visible: by how much more each promised than the best that it could see, or how
        much less. By their places a search that gets on cannot be told: it proposes what all of its past is worse than,
        so that of the first hundreds on SmolLM2 one in four had a place among the best four. None before enough are
        visible; what was given tells nothing of what is invented.
        """
        num_seen = bisect_left(self._steps, num_visible)
        key = (num_seen, bisect_left(self._result_steps, num_visible), share)
        if key not in self._bars:
            leads = self._leads(self._promises(self._model(num_visible), num_visible), num_seen)
            found = float(np.quantile(leads, 1 - share)) if len(leads) >= LEAST_RECENT else None
            self._bars = {**dict(list(self._bars.items())[-MAX_KEPT:]), key: found}
        return self._bars[key]

    def _leads(self, promises: Array, num_seen: int) -> list[float]:
        """Give by how much more each of the last invented candidates promises than the best that it could see.

        promises: of the last of `num_seen` candidates; what is older is compared to nobody.
        """
        best, first = np.maximum.accumulate(promises), num_seen - len(promises)
        recent = self._invented[: bisect_left(self._invented, num_seen)][-RECENT:]
        seen = ((place, bisect_left(self._steps, self._steps[place] - self._num_unseen)) for place in recent)
        return [float(promises[place - first] - best[num - 1 - first]) for place, num in seen if num > first]

    def weights(self, num_visible: int) -> dict[int, float]:
        """Give by layer the slope of log KL for one standard deviation of log error; empty without enough results.

        A ridge regression shares a slope among layers that err together, so they tell what counts, not what to mend.
        """
        foresight = self.foresight(num_visible)
        if foresight.ridge is None:
            return {}
        layers = [int(name.removeprefix(BY_LAYER)) for name in foresight.layers]
        return dict(zip(layers, foresight.ridge.slopes.tolist(), strict=True))

    def _model(self, num_visible: int) -> _Model:
        """Give the model of the results that are visible."""
        num_results = bisect_left(self._result_steps, num_visible)
        if num_results not in self._models:
            self._models[num_results] = _Model(self._fitted(num_results))
        model = self._models[num_results]
        while len(self._models) > MAX_KEPT:
            del self._models[min(self._models)]
        return model

    def _promises(self, model: _Model, num_visible: int) -> Array:
        """Give what the last `LOOKED_BACK` of the visible candidates promise: [candidate], the newest last."""
        num_seen = bisect_left(self._steps, num_visible)
        return model.promises(self._errors, max(0, num_seen - LOOKED_BACK), num_seen)

    def _fitted(self, num_results: int) -> Foresight:
        """Fit to the first results."""
        if not num_results:
            return Foresight(self.ratio, self.stage)
        results = self._results.first(num_results)
        return Foresight.of(self.ratio, self.stage, self._layers, results[:, 1:], results[:, 0])


@dataclass
class _Model:
    """A fitted model, and what candidates promise by it from the place `first` on."""

    foresight: Foresight
    first: int = 0
    told: Array = field(default_factory=lambda: np.zeros(0))

    def promises(self, errors: Table, first: int, last: int) -> Array:
        """Give what the candidates of these places promise, telling only what is not told yet."""
        end = self.first + len(self.told)
        if not self.first <= first <= end:
            self.first, self.told, end = first, np.zeros(0), first
        if last > end:
            new = self.foresight.promises(errors.first(last)[end:])
            kept = self.told[max(0, first - self.first - LOOKED_BACK) :]  # what older questions may ask again
            self.told, self.first = np.concatenate([kept, new]), last - len(kept) - len(new)
        return self.told[first - self.first : last - self.first]
