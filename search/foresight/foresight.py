"""Log KL at one cost ratio, foretold from the attention mass that each layer keeps.

Layers do not count alike for what a model says, so masses by layer tell more than their mean does. Of 85 results of
SmolLM2 at cost ratios 4 and 8, each foretold from the others of its ratio, log KL has a rank correlation of .90 and .95
with what is foretold (root mean square error .26 and .17); of .71 and .79 with recall alone (.78 and .60) and of .52
and .70 with mass alone (.52 and .45). The programs of the search alone, foretold from the seeds: .95 and .95, against
-.02 and -.33 by recall. Recall, output error, the cost ratio, results of other ratios and a Gaussian process with a
squared-exponential kernel added nothing that lasted once later results were foretold from earlier ones, so they are
left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from search.foresight.ridge import Ridge
from search.parents import REFERENCE
from search.records import Stage, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.records import Record

LEAST_RESULTS = 8  # before that nothing is foretold
LEAST_LOST = 1e-3  # of a layer's mass: less than that makes no difference
BY_LAYER = "mass_layer_"
_NORMAL = NormalDist()


class Foretold(NamedTuple):
    """The log of a KL divergence in nats per token: what is expected, and its standard deviation."""

    mean: float
    deviation: float


def expected_improvement(foretold: Foretold, best: float) -> float:
    """Give by how much a normal variable is expected to fall below the best so far (Jones et al. 1998, eq. 15)."""
    gain = best - foretold.mean
    if foretold.deviation <= 0:
        return max(gain, 0.0)
    z = gain / foretold.deviation
    return gain * _NORMAL.cdf(z) + foretold.deviation * _NORMAL.pdf(z)


@dataclass(frozen=True)
class Foresight:
    """Log KL at one cost ratio as a linear function of log(1 - mass) of each layer.

    `stage` is the one whose masses are read: recall, or its screen. `best` is the least log KL that was measured.
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
        rows = [(lost, found) for record, found in results if (lost := lost_mass(record, ratio, stage, layers))]
        best = min((found for _, found in rows), default=math.inf)
        if len(rows) < LEAST_RESULTS:
            return cls(ratio, stage, layers, best)
        return cls(ratio, stage, layers, best, Ridge.fit(*map(np.array, zip(*rows, strict=True))))

    @property
    def is_informed(self) -> bool:
        """Whether there are results enough to foretell others."""
        return self.ridge is not None

    def foretell(self, record: Record) -> Foretold | None:
        """Foretell a candidate's log KL; None without enough results, or without its masses by layer."""
        lost = lost_mass(record, self.ratio, self.stage, self.layers)
        if self.ridge is None or not lost:
            return None
        means, deviations = self.ridge.foretell(np.array([lost]))
        return Foretold(float(means[0]), float(deviations[0]))

    def promises(self, lost: Sequence[Sequence[float]]) -> list[float]:
        """Say how much candidates promise, given the log of what each of their layers loses.

        The expected improvement over the best log KL; before results are enough, as if all layers counted alike.
        """
        if not lost:
            return []
        if self.ridge is None:
            return [-math.fsum(each) / len(each) for each in lost]
        means, deviations = self.ridge.foretell(np.array(lost))
        pairs = zip(means.tolist(), deviations.tolist(), strict=True)
        return [expected_improvement(Foretold(*pair), self.best) for pair in pairs]


def log_kl(record: Record, ratio: float) -> float | None:
    """Give the log of the measured KL at a cost ratio, None where there is none that counts."""
    evaluation = record.evaluation(Stage.FIDELITY, ratio)
    if evaluation is None or evaluation.status is not Status.OK or record.candidate.proposal.operator == REFERENCE:
        return None
    found = evaluation.value("kl")
    return math.log(found) if found is not None and found > 0 else None


def layers_of(record: Record, ratio: float, stage: Stage) -> tuple[str, ...]:
    """Give the names of the masses by layer that a stage measured."""
    evaluation = record.evaluation(stage, ratio)
    taken = evaluation.measurements if evaluation else ()
    return tuple(each.name for each in taken if each.name.startswith(BY_LAYER))


def lost_mass(record: Record, ratio: float, stage: Stage, layers: Sequence[str]) -> tuple[float, ...]:
    """Give the log of what each of these layers loses, nothing where a mass is missing."""
    evaluation = record.evaluation(stage, ratio)
    masses = {each.name: each.value for each in evaluation.measurements} if evaluation else {}
    if any(name not in masses for name in layers):
        return ()
    return tuple(math.log(max(1.0 - masses[name], 0.0) + LEAST_LOST) for name in layers)
