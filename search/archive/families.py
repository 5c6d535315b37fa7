"""Families of ideas: programs by the oldest ancestor on their first parents' side."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.parents import REFERENCE, loss
from search.records import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.records import Record


@dataclass(frozen=True)
class Family:
    """What came of one. `best`: by cost ratio (ascending), the least loss of it and the name of who has it."""

    name: str
    num_programs: int
    num_failed: int  # refused, or ended by a stage
    best: Mapping[float, tuple[float, str]]


def ancestor(record: Record, by_digest: Mapping[str, Record]) -> Record:
    """Give the oldest ancestor on the first parents' side, as far as `by_digest` knows them; itself without parents."""
    seen: set[str] = set()
    while (parents := record.candidate.proposal.parents) and parents[0] in by_digest and parents[0] not in seen:
        seen.add(parents[0])
        record = by_digest[parents[0]]
    return record


def families(records: Sequence[Record], ratios: Sequence[float]) -> list[Family]:
    """Tell what came of each family at these cost ratios, the one with most programs first, yardsticks aside."""
    by_digest: dict[str, Record] = {}
    for record in records:
        by_digest.setdefault(record.candidate.program_digest, record)
    divided: dict[int, list[Record]] = defaultdict(list)
    names: dict[int, str] = {}
    for record in records:
        if record.candidate.proposal.operator != REFERENCE:
            root = ancestor(record, by_digest).candidate
            divided[root.step].append(record)
            names[root.step] = root.name or "(refused)"
    largest = sorted(divided, key=lambda step: (-len(divided[step]), step))
    return [_family(names[step], divided[step], ratios) for step in largest]


def _family(name: str, own: Sequence[Record], ratios: Sequence[float]) -> Family:
    best: dict[float, tuple[float, str]] = {}
    for ratio in sorted(ratios):
        lost = [(each, r.candidate.step, r.candidate.name) for r in own if (each := loss(r, ratio)) is not None]
        if lost:
            least, _, whose = min(lost)
            best[ratio] = (least, whose)
    num_failed = sum(record.status is not Status.OK for record in own)
    return Family(name, len(own), num_failed, best)
