"""What a replay may find: that something was decided otherwise, in words, with its step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.records import Candidate, Evaluation, Proposal, Stage


class DifferenceError(Exception):
    """What was decided again is not what is on record; from this step on the two are different campaigns."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"step {step}: {what}")
        self.step, self.what = step, what


def closed(step: int, measured: Evaluation) -> DifferenceError:
    """Tell of what was measured on record and is not asked for again."""
    return DifferenceError(step, f"its gates close {named(measured.key.stage, measured.ratio)}, measured on record")


def named(stage: Stage, ratio: float) -> str:
    """Name what was measured."""
    return f"stage {stage} at {ratio:g}x" if ratio else f"stage {stage}"


def compare_proposals(step: int, again: Proposal, on_record: Proposal) -> None:
    """Compare what a proposer says now with what it said. Raises DifferenceError, as the others do."""
    for name in ("text", "values", "operator", "parents", "rationale", "hypotheses", "notes"):
        new, old = getattr(again, name), getattr(on_record, name)
        if new != old:
            raise DifferenceError(step, f"{again.proposer} proposes another {name}: {_shown(new, old)}")


def compare_candidates(again: Candidate, on_record: Candidate) -> None:
    """Compare what became of a proposal with what had."""
    compare_proposals(again.step, again.proposal, on_record.proposal)
    for name in ("status", "program_digest", "name", "message"):
        new, old = getattr(again, name), getattr(on_record, name)
        if new != old:
            raise DifferenceError(again.step, f"its {name} is another: {_shown(new, old)}")


def compare_checks(step: int, again: Evaluation, on_record: Evaluation) -> None:
    """Compare all that the language tells of a program; the seconds it took are the only part that may differ."""
    again = replace(again, elapsed_s=on_record.elapsed_s)
    for new, old in zip(again.measurements, on_record.measurements, strict=False):
        if new != old:
            raise DifferenceError(
                step, f"check{_at(again)} finds {new.name} {new.value:g}, on record {old.name} {old.value:g}"
            )
    if again != on_record:
        new_end, old_end = (f"{e.status} {len(e.measurements)} {e.message}" for e in (again, on_record))
        raise DifferenceError(step, f"check{_at(again)} ends otherwise: {_shown(new_end, old_end)}")


def _at(evaluation: Evaluation) -> str:
    return f" at {evaluation.ratio:g}x" if evaluation.ratio else ""


def _shown(new: object, old: object) -> str:
    """Show what differs, of texts the first line that does."""
    if isinstance(new, str) and isinstance(old, str):
        lines = list(zip([*new.splitlines(), "(its end)"], [*old.splitlines(), "(its end)"], strict=False))
        new, old = next(((a, b) for a, b in lines if a != b), (new, old))
    return f"{new!r}, on record {old!r}"
