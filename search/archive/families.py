"""Families of ideas: programs by the oldest ancestor on their first parents' side."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.parents import REFERENCE, has_failed, loss
from search.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.records import Record

REFUSED = "(refused)"  # the name of a family whose first program has none


@dataclass(frozen=True)
class Family:
    """What came of one. `best`: by cost ratio (ascending), the least loss of it and the name of who has it."""

    name: str
    records: tuple[Record, ...]  # in step order
    best: Mapping[float, tuple[float, str]]

    @property
    def num_failed(self) -> int:
        """Give how many were refused or did not behave; who only went no further than others has not failed."""
        return sum(record.candidate.status is not Status.OK or has_failed(record) for record in self.records)


def by_digest(records: Sequence[Record]) -> dict[str, Record]:
    """Give the first record of each program."""
    found: dict[str, Record] = {}
    for record in records:
        if record.candidate.program_digest:
            found.setdefault(record.candidate.program_digest, record)
    return found


def ancestor(record: Record, known: Mapping[str, Record]) -> Record:
    """Give the oldest ancestor on the first parents' side, as far as `known` (by digest) goes; itself without parents.

    What repeats a program is as old as that.
    """
    record = known.get(record.candidate.program_digest, record)
    seen: set[str] = set()
    while (parents := record.candidate.proposal.parents) and parents[0] in known and parents[0] not in seen:
        seen.add(parents[0])
        record = known[parents[0]]
    return record


def families(records: Sequence[Record], ratios: Sequence[float]) -> list[Family]:
    """Tell what came of each family at these cost ratios, the one with most programs first, yardsticks aside."""
    known = by_digest(records)
    divided: dict[int, list[Record]] = defaultdict(list)
    names: dict[int, str] = {}
    for record in records:
        if record.candidate.proposal.operator != REFERENCE:
            root = ancestor(record, known).candidate
            divided[root.step].append(record)
            names[root.step] = root.name or REFUSED
    largest = sorted(divided, key=lambda step: (-len(divided[step]), step))
    return [Family(names[step], tuple(divided[step]), _best(divided[step], ratios)) for step in largest]


def _best(own: Sequence[Record], ratios: Sequence[float]) -> dict[float, tuple[float, str]]:
    best: dict[float, tuple[float, str]] = {}
    sound = [record for record in own if not has_failed(record)]
    for ratio in sorted(ratios):
        lost = [(each, r.candidate.step, r.candidate.name) for r in sound if (each := loss(r, ratio)) is not None]
        if lost:
            least, _, whose = min(lost)
            best[ratio] = (least, whose)
    return best
