"""From an answer to a program: a whole text, edits of the one that was shown, or new values of its numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.agents.answers import MAX_RATIONALE, has_program, parsed, split_answer
from search.agents.changing.source import Source
from search.agents.drawing.draft import MODULE
from search.agents.llm.edits import EditError, edited, has_edits, reasons_of
from vortex_dsl import ProgramError, load_program
from vortex_dsl.tunables import PLATFORM_TUNABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search.records import Context

VALUES = "values"  # the key of new values in an object of JSON
FENCE = r"[ \t]*+(?:`{3,}+|~{3,}+)"
# Nothing is given back: of fences that are never closed each would be sought to the end of the answer.
BLOCK = re.compile(rf"^{FENCE}[ \t]*+\w*+[ \t]*+\n((?:(?!{FENCE}).*\n)*+){FENCE}[ \t]*+$", re.MULTILINE)
NO_PROGRAM = "your answer holds no program"


@dataclass(frozen=True)
class Draft:
    """What an answer proposes. `complaint` says in a sentence why there is no program in it, nothing where there is.

    Without one, `text` is all that was said: it stands in the records for what was refused.
    """

    text: str
    rationale: str = ""
    complaint: str = ""


def drafted(answer: str, shown: str, context: Context) -> Draft:
    """Read an answer; edits and values are those of the program that was shown last, which may be none ("")."""
    beside = reasons_of(answer)
    is_whole = has_program(beside) and MODULE in beside
    if has_edits(answer) and not is_whole:
        return _by_edits(answer, shown)
    values = None if is_whole else _values(answer)
    if values is not None:
        return _by_values(answer, values, shown, context)
    text, rationale = split_answer(answer)
    return Draft(text, rationale, "" if has_program(text) else NO_PROGRAM)


def _by_edits(answer: str, shown: str) -> Draft:
    if not shown:
        return Draft(answer, "", "there is no program that edits could change; give a whole one")
    try:
        return Draft(edited(answer, shown), reasons_of(answer)[:MAX_RATIONALE])
    except EditError as error:
        return Draft(answer, "", str(error))


def _values(answer: str) -> Mapping[str, Any] | None:
    """Give the values that an object of JSON names, the last where there are several."""
    found = None
    for text in (answer, *BLOCK.findall(answer)):
        given = parsed(text)
        if isinstance(given, dict) and isinstance(given.get(VALUES), dict):
            found = given[VALUES]
    return found


def _by_values(answer: str, values: Mapping[str, Any], shown: str, context: Context) -> Draft:
    """Make values the defaults of the program that was shown, under a name that tells it from that one."""
    if not shown:
        return Draft(answer, "", "there is no program whose values could be changed; give a whole one")
    try:
        program = load_program(shown).with_values(**values)
    except (ProgramError, TypeError) as error:
        return Draft(answer, "", f"these values are refused: {error}")
    source = Source.parse(shown, context.head_dim)
    source.bake(dict(program.overrides), {name: str(each) for name, each in PLATFORM_TUNABLES.items()})
    change = ", ".join(f"{name} = {value}" for name, value in program.overrides)
    source.describe(f"{source.stem}{context.step}", source.idea, f"Tuned: {change}.")
    return Draft(source.text(), _reasons(answer)[:MAX_RATIONALE])


def _reasons(answer: str) -> str:
    """Give what is said beside the values: around their block, or under other keys of their object."""
    given = parsed(answer)
    if not isinstance(given, dict):
        return BLOCK.sub("", answer).strip()
    return "\n".join(said for said in given.values() if isinstance(said, str))
