"""What agents predicted, what the numbers said of it, and what they noted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.journal.entries import TITLES
from search.journal.journal import journal_of, noted, tally
from search.journal.judging import Verdict
from search.report.blocks import Block, Grid, columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from search.journal.journal import Judged, Noted
    from search.records import Candidate
    from search.report.material import Place

TELLING = (Verdict.CONFIRMED, Verdict.REFUTED, Verdict.NOT_TOLD_APART, Verdict.NOT_MEASURED)  # in this order
NOTE = (
    "A hypothesis was registered at its step, before its program was measured. It is confirmed or refuted where the "
    "whole intervals of 95 % say so, on the texts that proposers see; many predictions confirm some by chance."
)


def predictions(place: Place) -> list[Block]:
    """Tell every hypothesis with its verdict at one place, what is settled first; nothing where there is none."""
    found = journal_of(list(place.seen.values())).hypotheses
    if not found:
        return []
    ordered = sorted(found, key=lambda each: (TELLING.index(each.verdict), each.step))
    headings = columns("verdict", "step", "by", "rule", "hypothesis", "predicted", "measured", numbers=("step",))
    confirmed = tuple(i for i, each in enumerate(ordered) if each.verdict is Verdict.CONFIRMED)
    return [Grid(f"Hypotheses: {tally(found)}", headings, tuple(map(_row, ordered)), NOTE, strong=confirmed)]


def notes(candidates: Iterable[Candidate]) -> list[Block]:
    """Tell the notes, the newest first; nothing where there is none."""
    found = [each for candidate in candidates for each in noted(candidate)]
    newest = sorted(found, key=lambda each: -each.step)
    headings = columns("note", "step", "by", "text", numbers=("step",))
    return [Grid("Notes", headings, tuple(map(_line, newest)))] if found else []


def _row(each: Judged) -> tuple[str, ...]:
    rule = f"{each.name} ({each.candidate})"
    return (
        each.verdict, str(each.step), each.proposer, rule, each.hypothesis.text, each.hypothesis.prediction, each.reason
    )  # fmt: skip


def _line(each: Noted) -> tuple[str, ...]:
    return TITLES.get(each.note.kind, each.note.kind), str(each.step), each.proposer, each.note.text
