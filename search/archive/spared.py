"""What races took of a campaign's workers, and what they spared them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Raced:
    """How many ran a race at one cost ratio, and for how many seconds; how many of them went on, and what one took.

    To go on is to decode all texts, in the stage of fidelity; `decoding_s` is what one usually took there.
    """

    num: int
    seconds: float
    num_decoded: int
    decoding_s: float


@dataclass(frozen=True)
class Spared:
    """What all races come to: who ran one, who was stopped, what they took, and about what that spared of fidelity."""

    num_raced: int
    num_stopped: int
    raced_s: float
    spared_s: float

    def share(self, seconds: float) -> float:
        """Give the share that they saved of the time without races, of workers who took so many seconds with them.

        Races themselves cost nothing more: whoever goes on would have decoded their texts too, and fidelity takes them
        over. Of evaluators that decoded them twice it says too much.
        """
        without_s = seconds + self.spared_s
        return self.spared_s / without_s if without_s > 0 else 0.0


def spared(raced: Iterable[Raced]) -> Spared:
    """Put races at several cost ratios together. Whoever goes on at a ratio where nobody ran a race counts nowhere."""
    ran = [each for each in raced if each.num]
    stopped = [max(0, each.num - each.num_decoded) for each in ran]
    return Spared(
        sum(each.num for each in ran),
        sum(stopped),
        sum(each.seconds for each in ran),
        sum(num * each.decoding_s for num, each in zip(stopped, ran, strict=True)),
    )
