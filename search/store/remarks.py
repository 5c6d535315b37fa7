"""Tags and notes of people beside candidates: written on their own, nothing of a campaign hangs on them."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from search.store import models
from search.store.database import connect, explained, insert_new
from search.store.patience import Patience, patient

TAG, NOTE = "tag", "note"
MOST_TAG, MOST_NOTE = 60, 4000  # characters
MOST_OF_ONE = 100  # remarks beside one candidate


class Remarks:
    """Writes remarks into a ledger that is at head. Raises StoreError where it cannot be written."""

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        self._patience = Patience()

    def close(self) -> None:
        """Let go of the database. Idempotent."""
        self._engine.dispose()

    @patient
    def add(self, candidate_id: int, kind: str, text: str) -> bool:
        """Write a remark unless it is there; say whether it is there now: not beside no one, nor beyond the bound."""
        row = models.Remark
        with explained(self._engine), Session(self._engine) as session, session.begin():
            number = session.scalar(select(func.count()).where(row.candidate_id == candidate_id)) or 0
            if number >= MOST_OF_ONE or session.get(models.Candidate, candidate_id) is None:
                return False
            insert_new(session, row, candidate_id=candidate_id, kind=kind, text=text)
            return True

    @patient
    def remove(self, candidate_id: int, remark_id: int) -> None:
        """Delete a remark of a candidate if it is there."""
        row = models.Remark
        with explained(self._engine), Session(self._engine) as session, session.begin():
            session.execute(delete(row).where(row.id == remark_id, row.candidate_id == candidate_id))
