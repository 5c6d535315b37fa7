"""Dollars of questions to language models that no candidate on record has paid: kept back, under way, or in vain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Reserved:
    """What is kept back for one question before it is sent: `dollars`, the most that it can cost."""

    id: str
    campaign_id: int
    step: int
    proposer: str
    model: str
    dollars: float


@dataclass(frozen=True, slots=True)
class Owing:
    """What a proposer's questions cost beside those of candidates on record, in dollars.

    `heard`: of questions whose answers came, and wait for their step or never became a candidate's. `unheard`: the most
    that the `num_unheard` others can cost, which are under way or were when their driver died.
    """

    proposer: str
    heard: float = 0.0
    unheard: float = 0.0
    num_unheard: int = 0

    @property
    def dollars(self) -> float:
        """All of them, as far as they are known: an upper bound where something is unheard."""
        return self.heard + self.unheard


def owing_told(owing: Iterable[Owing]) -> str:
    """Say what questions cost that no candidate has paid; nothing where there is none."""
    found = list(owing)
    most = math.fsum(each.dollars for each in found)
    more = f"language models cost ${most:,.4f} more, for what is no program on record"
    return ", ".join(filter(None, (more, bound_told(found)))) if most else ""


def bound_told(owing: Iterable[Owing]) -> str:
    """Say how much of a total is only a bound; nothing where none of it is."""
    found = [each for each in owing if each.num_unheard]
    number, most = sum(each.num_unheard for each in found), math.fsum(each.unheard for each in found)
    questions = "1 question whose answer was" if number == 1 else f"{number:,} questions whose answers were"
    return f"of which at most ${most:,.4f} for {questions} not heard" if found else ""
