"""From positions to figures with intervals, for which whole texts are drawn anew: positions of one are not independent.

Texts of one document begin alike, but what counts in them lies hundreds of tokens apart: over 5 documents in 3 lengths,
3 rules and 2 budgets each (SmolLM2), means of documents strayed no farther than means of 3 unrelated texts would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from search.evaluator.intervals import Interval, clustered_mean
from search.evaluator.outcomes import measured
from search.records import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from search.evaluator.fidelity.texts import Text

NUM_THIRDS = 3


@dataclass(frozen=True)
class Compared:
    """Sparse beside dense at each position of each text; arrays are [num_texts, num_positions].

    `kl`: KL(dense || sparse) in nats; `agrees`: 1 where both choose the same token first; `dense`, `sparse`: the
    log-probability of the token that came true.
    """

    texts: Sequence[Text]
    kl: np.ndarray
    agrees: np.ndarray
    dense: np.ndarray
    sparse: np.ndarray

    @property
    def extent(self) -> str:
        """Say how much there was, so that an interval from few documents is seen to be one."""
        documents = len({text.name for text in self.texts})
        return f"{self.kl.size} positions in {len(self.texts)} texts from {documents} documents"

    @property
    def agreements(self) -> str:
        """Give 1 or 0 for each position, text after text: the unit of paired comparison."""
        return "".join("01"[int(agrees)] for agrees in self.agrees.flat)

    def measurements(self) -> list[Measurement]:
        """Give all figures; the mean KL also by length, kind, third of the positions, and text (for pairs)."""
        worse = self._mean(self.dense - self.sparse)
        low, high = (None if end is None else math.exp(end) for end in (worse.low, worse.high))
        return [
            measured("kl", self._mean(self.kl)),
            measured("agreement", self._mean(self.agrees)),
            Measurement("perplexity_ratio", math.exp(worse.value), low, high, worse.num_samples),
            *self._by(lambda text: len(text.prompt)),
            *self._by(lambda text: text.kind),
            *self._by_third(),
            *(Measurement(f"kl_text_{i}", float(each.mean()), num_samples=each.size) for i, each in enumerate(self.kl)),
        ]

    def _by(self, group: Callable[[Text], object]) -> Iterator[Measurement]:
        """Give the mean KL of each group of texts."""
        groups = [group(text) for text in self.texts]
        for name in sorted(set(groups), key=str):
            chosen = [i for i, each in enumerate(groups) if each == name]
            yield measured(f"kl_{name}", self._mean(self.kl, chosen))

    def _by_third(self) -> Iterator[Measurement]:
        """Give the mean KL of early, middle and late positions: state and reuse age with them."""
        for i, part in enumerate(np.array_split(self.kl, NUM_THIRDS, axis=1)):
            if part.size:
                yield measured(f"kl_third_{i + 1}", self._mean(part))

    def _mean(self, values: np.ndarray, chosen: Sequence[int] | None = None) -> Interval:
        """Give the mean over positions of (some) texts."""
        return clustered_mean(values.tolist() if chosen is None else values[list(chosen)].tolist())
