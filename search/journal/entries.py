"""What an agent writes into the journal beside a program. Frozen data, in bounds however it came about."""

from __future__ import annotations

from dataclasses import dataclass

from search.report.wording import cut

MAX_TEXT, MAX_PREDICTION = 400, 200  # characters
MAX_KIND = 16
MAX_HYPOTHESES, MAX_NOTES = 4, 12  # of one answer
HOLDS, STOP, NEXT, OTHER = "holds", "stop", "next", "other"  # kinds of notes
TITLES = {HOLDS: "What holds", STOP: "What to stop trying", NEXT: "What to try next", OTHER: "Also noted"}


@dataclass(frozen=True)
class Hypothesis:
    """A claim in words, and the figures that it predicts: see `search.journal.prediction`.

    It is stored with the program's step, so before any stage of it is measured. Its verdict is never stored: it is
    computed from the numbers (`search.journal.judging`).
    """

    text: str
    prediction: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", cut(self.text, MAX_TEXT))
        object.__setattr__(self, "prediction", cut(self.prediction, MAX_PREDICTION))

    def __str__(self) -> str:
        return f"{self.text}: {self.prediction or '(predicts no figure)'}"


@dataclass(frozen=True)
class Note:
    """A sentence that an agent concluded from what was measured. `kind`: one of `TITLES`."""

    kind: str
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", cut(self.kind, MAX_KIND))
        object.__setattr__(self, "text", cut(self.text, MAX_TEXT))
