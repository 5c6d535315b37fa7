"""From what an agent from outside brings to a program: its text as it is, or an answer in a form that a brief tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.answers import FENCE, parsed
from search.agents.llm.drafts import Draft, drafted
from search.agents.llm.edits import has_edits
from search.agents.llm.tools import spoken
from search.journal.answers import entries_of
from vortex_dsl import ProgramError, load_program

if TYPE_CHECKING:
    from search.journal.entries import Hypothesis, Note
    from search.records import Context

ASKS = "it asks in lines, as only called models may; ask by the tools of `vortex mcp`, or bring a program"


@dataclass(frozen=True)
class Brought:
    """A program, or why there is none in what was brought, and what stands beside it for the journal."""

    draft: Draft
    hypotheses: tuple[Hypothesis, ...] = ()
    notes: tuple[Note, ...] = ()


def brought(text: str, shown: str, context: Context) -> Brought:
    """Read what was brought; edits and values are those of the program that was shown, which may be none ("").

    A text that is a program, or means to be one, is left as it is: errors name its own lines.
    """
    if _is_as_written(text):
        return Brought(Draft(text))
    entries = entries_of(text)
    draft = drafted(entries.rest, shown, context)
    if draft.complaint and spoken(text):
        draft = Draft(text, "", ASKS)
    return Brought(draft, entries.hypotheses, entries.notes)


def _is_as_written(text: str) -> bool:
    has_form = FENCE.search(text) or has_edits(text) or spoken(text) or isinstance(parsed(text), dict)
    if not has_form:
        return True
    try:
        load_program(text)
    except ProgramError:
        return False
    return True
