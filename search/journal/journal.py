"""The journal of a campaign: a pure function of its records, so a step reads in it what it may see and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.journal.judging import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.journal.entries import Hypothesis, Note
    from search.records import Candidate, Record


@dataclass(frozen=True)
class Judged:
    """A hypothesis with its verdict. `step` is the one at which it was registered, before anything was measured."""

    hypothesis: Hypothesis
    verdict: Verdict
    reason: str
    proposer: str
    step: int
    candidate: int  # its id
    name: str


@dataclass(frozen=True)
class Noted:
    """A note, and who wrote it at which step."""

    note: Note
    proposer: str
    step: int
    candidate: int


@dataclass(frozen=True)
class Journal:
    """All hypotheses and notes of some records, in step order."""

    hypotheses: tuple[Judged, ...] = ()
    notes: tuple[Noted, ...] = ()

    def of(self, proposer: str) -> Journal:
        """Give what one proposer wrote; all of it for an empty name."""
        if not proposer:
            return self
        mine = (tuple(e for e in entries if e.proposer == proposer) for entries in (self.hypotheses, self.notes))
        return Journal(*mine)

    def __bool__(self) -> bool:
        return bool(self.hypotheses or self.notes)


def journal_of(records: Sequence[Record]) -> Journal:
    """Read what was written beside the programs of one campaign, and judge it by what was measured of them."""
    by_digest: dict[str, Record] = {}
    for record in records:
        by_digest.setdefault(record.candidate.program_digest, record)
    return Journal(
        tuple(each for record in records for each in _judged(record, by_digest)),
        tuple(each for record in records for each in noted(record.candidate)),
    )


def _judged(record: Record, by_digest: dict[str, Record]) -> Iterable[Judged]:
    """Judge a candidate's hypotheses; `by_digest` holds its campaign's programs, its first parent among them."""
    candidate, proposal = record.candidate, record.candidate.proposal
    parent = by_digest.get(proposal.parents[0]) if proposal.parents else None
    for hypothesis in proposal.hypotheses:
        found = judge(hypothesis, record, parent)
        name = candidate.name or "(refused)"
        yield Judged(
            hypothesis, found.verdict, found.reason, proposal.proposer, candidate.step, candidate.id, name
        )  # fmt: skip


def noted(candidate: Candidate) -> Iterable[Noted]:
    """Give a candidate's notes."""
    for note in candidate.proposal.notes:
        yield Noted(note, candidate.proposal.proposer, candidate.step, candidate.id)


def tally(hypotheses: Iterable[Judged]) -> str:
    """Count hypotheses by their verdicts, in words."""
    counts = Counter(each.verdict for each in hypotheses)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]) or "none"
