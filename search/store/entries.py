"""What proposers wrote beside their programs: hypotheses and notes, in tables of their own."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from search.journal.entries import Hypothesis, Note
from search.store import models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from search.records import Proposal


@dataclass(frozen=True)
class Written:
    """All of one candidate, in its order."""

    hypotheses: tuple[Hypothesis, ...] = ()
    notes: tuple[Note, ...] = ()


NOTHING = Written()


def store(session: Session, candidate_id: int, proposal: Proposal) -> None:
    """Store what stands beside a new candidate's program, in the transaction that stores the candidate."""
    for i, each in enumerate(proposal.hypotheses):
        row = {"candidate_id": candidate_id, "position": i}
        session.add(models.Hypothesis(**row, text=each.text, prediction=each.prediction))
    for i, note in enumerate(proposal.notes):
        session.add(models.Note(candidate_id=candidate_id, position=i, kind=note.kind, text=note.text))


def read(session: Session, *which: ColumnElement[bool]) -> Mapping[int, Written]:
    """Give by its id what was written beside each candidate that `which` chooses; those without are left out."""
    hypotheses: dict[int, list[Hypothesis]] = defaultdict(list)
    notes: dict[int, list[Note]] = defaultdict(list)
    predicted, noted = models.Hypothesis, models.Note
    asked = select(predicted).join(models.Candidate, models.Candidate.id == predicted.candidate_id).where(*which)
    for row in session.scalars(asked.order_by(predicted.candidate_id, predicted.position)):
        hypotheses[row.candidate_id].append(Hypothesis(row.text, row.prediction))
    told = select(noted).join(models.Candidate, models.Candidate.id == noted.candidate_id).where(*which)
    for line in session.scalars(told.order_by(noted.candidate_id, noted.position)):
        notes[line.candidate_id].append(Note(line.kind, line.text))
    return {
        each: Written(tuple(hypotheses.get(each, ())), tuple(notes.get(each, ())))
        for each in hypotheses.keys() | notes.keys()
    }
