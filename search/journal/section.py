"""The journal as Markdown, for prompts: short, the newest first to be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.journal.entries import TITLES
from search.journal.journal import tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from search.journal.journal import Judged, Noted

NUM_HYPOTHESES, NUM_NOTES = 12, 12
MAX_REASON = 240  # characters


def journal_section(notes: Sequence[Noted], hypotheses: Sequence[Judged]) -> str:
    """Tell the newest notes and hypotheses, in step order; nothing where there are none.

    About 2,000 tokens at most. Whatever agents wrote stands in one line of its own, in bounds.
    """
    parts = [*_noted(notes[-NUM_NOTES:]), *_judged(hypotheses)]
    return "\n\n".join(parts)


def _noted(notes: Sequence[Noted]) -> Iterable[str]:
    for kind in dict.fromkeys((*TITLES, *(each.note.kind for each in notes))):
        lines = [f"* {each.note.text} ({each.proposer}, step {each.step})" for each in notes if each.note.kind == kind]
        if lines:
            yield "\n".join((f"{TITLES.get(kind, kind)}:", "", *lines))


def _judged(hypotheses: Sequence[Judged]) -> Iterable[str]:
    if hypotheses:
        shown = hypotheses[-NUM_HYPOTHESES:]
        more = (
            f", the newest {len(shown)} of {len(hypotheses)} ({tally(hypotheses)})"
            if len(shown) < len(hypotheses)
            else ""
        )
        title = f"Hypotheses, each registered before it was measured and judged by the intervals of 95 %{more}:"
        yield "\n".join((title, "", *map(_line, shown)))


def _line(each: Judged) -> str:
    reason = each.reason if len(each.reason) <= MAX_REASON else f"{each.reason[:MAX_REASON]}…"
    return f"* {each.verdict}: {each.hypothesis} [{each.name}, step {each.step}] ({' '.join(reason.split())})"
