"""What operators earned in earlier campaigns, as a campaign's settings keep it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Experience:
    """An operator's gain per second relative to that of all, over so many candidates."""

    name: str
    rate: float
    num_candidates: int

    def __post_init__(self) -> None:
        is_number = isinstance(self.rate, int | float) and not isinstance(self.rate, bool) and math.isfinite(self.rate)
        if not isinstance(self.name, str) or not is_number or self.rate < 0:
            raise ValueError(f"an operator's experience is {self.name!r} with rate {self.rate!r}; give a rate from 0")
        if not isinstance(self.num_candidates, int) or self.num_candidates < 1:
            raise ValueError(
                f"the experience with {self.name!r} rests on {self.num_candidates!r} candidates; give 1 or more"
            )
