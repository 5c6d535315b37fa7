"""From positions to figures with intervals, for which whole texts are drawn anew: positions of one are not independent.

Nor are texts of one document, which begin alike: over the rules of a campaign (SmolLM2, 24 texts of 4 documents, and 64
of 8 held-out ones, 2026-11-29) means of documents had twice the variance that their texts let expect, so that an
interval over texts is too narrow by a quarter to a third; of differences of two rules, by nothing where they are alike
and by as much where they are not. Four documents do not tell how documents stray, and more of them would have to be
prefilled. So whole documents are drawn where there are enough, as in what is held out, and texts elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from search.evaluator.fidelity.texts import OWN
from search.evaluator.intervals import LEAST_DRAWN, Interval, clustered_mean, clustered_share
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
        """Give all figures; the mean KL also by length, kind, third of the positions, and text (for pairs).

        Perplexity is that of true texts: what dense attention says by itself is likely because it says it.
        """
        true = [i for i, text in enumerate(self.texts) if text.kind != OWN] or [*range(len(self.texts))]
        worse = self._mean((self.dense - self.sparse)[true], true)
        low, high = (None if end is None else math.exp(end) for end in (worse.low, worse.high))
        return [
            self._kl("kl", self.kl),
            measured("agreement", clustered_share(self._mean(self.agrees))),
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
            yield self._kl(f"kl_{name}", self.kl[chosen], chosen)

    def _by_third(self) -> Iterator[Measurement]:
        """Give the mean KL of early, middle and late positions: state and reuse age with them."""
        for i, part in enumerate(np.array_split(self.kl, NUM_THIRDS, axis=1)):
            if part.size:
                yield self._kl(f"kl_third_{i + 1}", part)

    def _kl(self, name: str, values: np.ndarray, chosen: Sequence[int] | None = None) -> Measurement:
        """Give a mean KL, of some texts; no interval of it begins below 0, where there is none."""
        found = self._mean(values, chosen)
        return measured(name, found if found.low is None else replace(found, low=max(0.0, found.low)))

    def _mean(self, values: np.ndarray, chosen: Sequence[int] | None = None) -> Interval:
        """Give the mean over positions of texts, [num_texts, num_positions]; `chosen`: which ones, all if left out."""
        names = [self.texts[i].name for i in (range(len(self.texts)) if chosen is None else chosen)]
        clusters: dict[object, list[float]] = {}
        by_document = len(set(names)) >= LEAST_DRAWN
        for i, (name, each) in enumerate(zip(names, values, strict=True)):
            clusters.setdefault(name if by_document else i, []).extend(each.tolist())
        return clustered_mean([*clusters.values()])
