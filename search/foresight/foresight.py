"""Log KL at one cost ratio, foretold from the output error of each layer.

Layers do not count alike for what a model says, so errors by layer tell more than their mean does; and a large error at
few queries does more than a small one at many, so their squares tell more than the attention mass that is lost. Of 83
results of SmolLM2 at cost ratios 4 and 8, each foretold from the others of its ratio, log KL has a rank correlation of
.92 and .96 with what is foretold (root mean square error .23 and .10; among the better half .82 and .94). From the mass
that layers lose it is .87 and .93 (.26 and .13; among the better half .63 and .72), mostly because rules that keep a
choice for several steps lose more than their mass tells; with the mean error of all layers alone .71 and .68. Quantiles
of error or mass, or both figures of each layer together, added nothing that held at both ratios. Recall, the cost
ratio, results of other ratios and a Gaussian process with a squared-exponential kernel added nothing that lasted once
later results were foretold from earlier ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from search.foresight.ridge import Ridge
from search.parents import REFERENCE, loss
from search.records import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.foresight.ridge import Array
    from search.records import Record

LEAST_RESULTS = 8  # before that nothing is foretold
LEAST_ERROR = 1e-2  # of a layer: less than that makes no difference
HOPELESS = -25.0  # deviations: where the formula loses its digits, the first terms of its series have them
BY_LAYER = "error_layer_"


class Foretold(NamedTuple):
    """The log of a KL divergence in nats per token: what is expected, and its standard deviation."""

    mean: float
    deviation: float


def log_expected_improvement(means: Array, deviations: Array, best: float) -> Array:
    """Give the log of by how much normal variables are expected to fall below the best so far, all [variable].

    The expectation is that of Jones et al. 1998, eq. 15; its log still tells hopeless candidates apart where it is 0
    (Ament et al., arXiv:2310.20708). Deviations are above 0.
    """
    z = (best - means) / deviations
    density = -(z**2) / 2 - math.log(math.tau) / 2  # its log
    near = z > HOPELESS
    below = 0.5 * np.array([math.erfc(each) for each in (-z[near] / math.sqrt(2.0)).tolist()])  # digits left of -8 too
    found: Array = np.empty_like(z)
    found[near] = np.log(z[near] * below + np.exp(density[near]))
    found[~near] = np.log((1 - 3 / z[~near] ** 2) / z[~near] ** 2) + density[~near]
    return found + np.log(deviations)


@dataclass(frozen=True)
class Foresight:
    """Log KL at one cost ratio as a linear function of the log of each layer's error.

    `stage` is the one whose errors are read: recall, or its screen. `best` is the least log KL that was measured.
    """

    ratio: float
    stage: Stage = Stage.RECALL
    layers: tuple[str, ...] = ()
    best: float = math.inf
    ridge: Ridge | None = None

    @classmethod
    def fit(cls, records: Iterable[Record], ratio: float, stage: Stage = Stage.RECALL) -> Self:
        """Fit to all records that have both figures, references aside."""
        results = [(record, found) for record in records if (found := log_kl(record, ratio)) is not None]
        layers = next((names for record, _ in results if (names := layers_of(record, ratio, stage))), ())
        rows = [(errors, found) for record, found in results if (errors := log_errors(record, ratio, stage, layers))]
        return cls.of(ratio, stage, layers, *map(np.array, zip(*rows, strict=True))) if rows else cls(ratio, stage)

    @classmethod
    def of(cls, ratio: float, stage: Stage, layers: tuple[str, ...], errors: Array, log_kls: Array) -> Self:
        """Fit to results as arrays. errors: [result, layer], as `log_errors` gives them; log_kls: [result]."""
        best = float(log_kls.min(initial=math.inf))
        ridge = Ridge.fit(errors, log_kls) if len(log_kls) >= LEAST_RESULTS else None
        return cls(ratio, stage, layers, best, ridge)

    @property
    def is_informed(self) -> bool:
        """Whether there are results enough to foretell others."""
        return self.ridge is not None

    def foretell(self, record: Record) -> Foretold | None:
        """Foretell a candidate's log KL; None without enough results, or without its errors by layer."""
        errors = log_errors(record, self.ratio, self.stage, self.layers)
        if self.ridge is None or not errors:
            return None
        means, deviations = self.ridge.foretell(np.array([errors]))
        return Foretold(float(means[0]), float(deviations[0]))

    def promises(self, errors: Array) -> Array:
        """Give the log of the expected improvement over the best log KL, nothing without enough results.

        errors: [candidate, layer], as `log_errors` gives them -> [candidate].
        """
        if self.ridge is None or not len(errors):
            return np.zeros(0)
        return log_expected_improvement(*self.ridge.foretell(errors), self.best)


def log_kl(record: Record, ratio: float) -> float | None:
    """Give the log of the measured KL at a cost ratio; None where there is none."""
    if record.candidate.proposal.operator == REFERENCE:
        return None
    found = loss(record, ratio, Stage.FIDELITY)
    return math.log(found) if found is not None and found > 0 else None


def layers_of(record: Record, ratio: float, stage: Stage) -> tuple[str, ...]:
    """Give the names of the errors by layer that a stage measured."""
    evaluation = record.evaluation(stage, ratio)
    taken = evaluation.measurements if evaluation else ()
    return tuple(each.name for each in taken if each.name.startswith(BY_LAYER))


def log_errors(record: Record, ratio: float, stage: Stage, layers: Sequence[str]) -> tuple[float, ...]:
    """Give the log of the error of each of these layers, nothing where one is missing."""
    evaluation = record.evaluation(stage, ratio)
    errors = {each.name: each.value for each in evaluation.measurements} if evaluation else {}
    if any(name not in errors for name in layers):
        return ()
    return tuple(math.log(max(errors[name], 0.0) + LEAST_ERROR) for name in layers)
