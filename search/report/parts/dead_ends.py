"""What failed, and of what: refusals, failures and gates by the kind of their message, with an example of each."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.records import Status
from search.report.blocks import Block, Column, Grid
from search.report.parts.credit import families
from search.report.wording import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from search.records import Candidate
    from search.report.material import Material, Place

MAX_KINDS = 30
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
PLACE = re.compile(r"^\S+?:\d+:\d+: ")  # of a text: file, line, column
NUMBER = re.compile(r"(?<![A-Za-z_])[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
NAMES = re.compile(r"\b[0-9a-f]{8,}\b")


@dataclass(frozen=True)
class Failure:
    """One way in which a candidate ended: where, how, and the message that says why."""

    stage: str
    status: str
    message: str
    candidate: Candidate

    @property
    def kind(self) -> str:
        """The message without what differs from one candidate to the next."""
        text = NUMBER.sub("#", NAMES.sub("…", QUOTED.sub("'…'", PLACE.sub("", self.message))))
        return cut(text, 200) or self.status.replace("_", " ")

    def __str__(self) -> str:
        name = self.candidate.name or f"step {self.candidate.step}"
        return f"{name} ({self.candidate.id}): {cut(self.message, 160)}"


def dead_ends(material: Material, place: Place | None) -> list[Block]:
    """Tell what failed, refusals included, and what became of each family of ideas."""
    grouped: dict[tuple[str, str, str], list[Failure]] = defaultdict(list)
    for failure in [*_refused(material.candidates), *(_failed(place) if place else ())]:
        grouped[failure.stage, failure.status, failure.kind].append(failure)
    ordered = sorted(grouped.items(), key=lambda each: (-len({f.candidate.id for f in each[1]}), each[0]))
    rows = tuple(
        (f"{len({f.candidate.id for f in failures}):,}", stage, status.replace("_", " "), kind, str(failures[0]))
        for (stage, status, kind), failures in ordered[:MAX_KINDS]
    )
    headings = (Column("candidates", True), Column("at"), Column("ended"), Column("kind of message"), Column("example"))
    grid = Grid(
        "What failed",
        headings,
        rows,
        "Quoted words, names and numbers of messages are left out to tell their kinds.",
        len(ordered) - len(rows),
        empty="Nothing was refused and nothing failed.",
    )
    return [grid, *(families(material, place) if place else ())]


def _refused(candidates: Iterable[Candidate]) -> Iterator[Failure]:
    for candidate in candidates:
        if candidate.status is not Status.OK:
            yield Failure("proposal", candidate.status, candidate.message, candidate)


def _failed(place: Place) -> Iterator[Failure]:
    for record in place.seen.values():
        for evaluation in record.evaluations:
            if evaluation.status is not Status.OK:
                yield Failure(evaluation.key.stage, evaluation.status, evaluation.message, record.candidate)
