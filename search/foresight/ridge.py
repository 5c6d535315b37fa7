"""Ridge regression with deviations, its strength chosen by what it foretells of results left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

STRENGTHS = np.geomspace(
    0.3, 300.0, 10
)  # of the penalty, on features of variance 1; less than that passes through noise
LEAST_SPREAD = 0.05  # a feature that hardly varied is not blown up to variance 1


@dataclass(frozen=True)
class Ridge:
    """A fitted regression: the posterior of a Gaussian process with a linear kernel.

    The strength is that with the least error when each result is foretold from all others, and those errors say how far
    to trust it (Rasmussen and Williams 2006, 5.4.2); both in closed form from one singular value decomposition.

    centre, scale, slopes: [feature]; axes: [axis, feature]; stiffness: [axis], squared singular values plus strength.
    """

    centre: Array
    scale: Array
    level: float
    slopes: Array
    axes: Array
    stiffness: Array
    strength: float
    variance: float
    num_results: int

    @classmethod
    def fit(cls, x: Array, y: Array) -> Self:
        """Fit y [result] to x [result, feature]."""
        centre, scale = x.mean(0), np.maximum(x.std(0), LEAST_SPREAD)
        u, singular, axes = np.linalg.svd((x - centre) / scale, full_matrices=False)
        level, projected = float(y.mean()), u.T @ (y - y.mean())
        tried = [_left_out(u, singular, projected, y - level, strength) for strength in STRENGTHS]
        best = min(range(len(tried)), key=lambda i: tried[i][0])
        strength, variance = float(STRENGTHS[best]), tried[best][1]
        slopes = axes.T @ (singular / (singular**2 + strength) * projected)
        return cls(centre, scale, level, slopes, axes, singular**2 + strength, strength, variance, len(y))

    def foretell(self, x: Array) -> tuple[Array, Array]:
        """Give means and deviations of new results. x: [result, feature] -> [result] each."""
        x = (x - self.centre) / self.scale
        along = x @ self.axes.T
        beside = np.maximum((x**2).sum(1) - (along**2).sum(1), 0.0)  # in directions of which no result tells
        leverage = 1 / self.num_results + along**2 @ (1 / self.stiffness) + beside / self.strength
        return self.level + x @ self.slopes, np.sqrt(self.variance * (1 + leverage))


def _left_out(u: Array, singular: Array, projected: Array, y: Array, strength: float) -> tuple[float, float]:
    """Give the mean squared error of results that are foretold from all others, and the variance that it speaks of."""
    shrunk = singular**2 / (singular**2 + strength)
    leverage = (u**2) @ shrunk + 1 / len(y)
    left = np.maximum(1 - leverage, 1e-6)
    squared = ((y - u @ (shrunk * projected)) / left) ** 2
    return float(squared.mean()), float((squared * left).mean())
