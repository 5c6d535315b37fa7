"""An Optuna study in memory, rebuilt from what is recorded: the only place that knows Optuna.

Rebuilding costs milliseconds (0.1 ms a trial), a database of its own would cost 100 ms a trial and could disagree with
ours. The sampler is the tree-structured Parzen estimator, over all tunables together (Bergstra et al. 2011; Watanabe,
arXiv:2304.11127).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vortex_dsl.tunables import Float, Int

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

    from vortex_dsl.tunables import Tunable, Value

DIGITS = 3  # significant ones of a number that is no whole one
RANDOM_TRIALS = 4  # before the sampler trusts what it saw
REFUSED, SHORT = "refused", "cost ratio"  # the constraints


@dataclass(frozen=True)
class Known:
    """A point of the space: what it loses, None where it was not measured, and by how much it misses the cost ratio."""

    values: Mapping[str, Value]
    loss: float | None
    shortfall: float = 0.0


class Study:
    """Asks for values, given what is known of others; the same seed and points give the same answers."""

    def __init__(self, tunables: Sequence[tuple[str, Tunable]], known: Iterable[Known], seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._tunables = dict(tunables)
        self._space = {name: _distribution(tunable) for name, tunable in tunables}
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS, multivariate=True)
        self._study = optuna.create_study(sampler=sampler)
        self._asked: Trial | None = None
        for each in known:
            self.add(each)

    def add(self, known: Known) -> None:
        """Add a point; one that is neither measured nor short of the cost ratio tells nothing, nor does one outside."""
        from optuna.trial import create_trial

        inside = all(_accepts(tunable, known.values[name]) for name, tunable in self._tunables.items())
        is_short = known.shortfall > 0
        if not inside or not (is_short or known.loss is not None):
            return
        loss = math.inf if is_short or known.loss is None else known.loss
        params = {name: known.values[name] for name in self._space}
        constraints = {SHORT: known.shortfall}
        self._study.add_trial(
            create_trial(value=loss, params=params, distributions=self._space, constraints=constraints)
        )

    def ask(self, kept: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """Give values to try. What was asked for and not refused counts as under way: it is not asked for again.

        kept: values that stay as they are; the others are drawn.
        """
        if kept:
            self._study.enqueue_trial(dict(kept))
        self._asked = self._study.ask(self._space)
        return {name: _rounded(self._tunables[name], value) for name, value in self._asked.params.items()}

    def refuse(self) -> None:
        """Tell that the last values make no program that is admitted."""
        assert self._asked is not None, "something was asked for"
        self._asked.set_constraint(REFUSED, 1.0)
        self._study.tell(self._asked, math.inf)


def _distribution(tunable: Tunable) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(tunable, Int):
        return IntDistribution(tunable.low, tunable.high, log=tunable.log)
    if isinstance(tunable, Float):
        return FloatDistribution(tunable.low, tunable.high, log=tunable.log)
    return CategoricalDistribution(tunable.options)


def _accepts(tunable: Tunable, value: Value) -> bool:
    try:
        tunable.accept(value)
    except ValueError:
        return False
    return True


def _rounded(tunable: Tunable, value: Value) -> Value:
    if not isinstance(tunable, Float):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), tunable.low), tunable.high)
