"""Changes of a program by pieces of its text: what to find, and what to put in its place.

The format is the one that models know from coding assistants, after the conflict markers of version control:

    <<<<<<< SEARCH
    what stands there
    =======
    what shall stand there
    >>>>>>> REPLACE
"""

from __future__ import annotations

import re

# Lines of an edit are taken whole and never given back: models repeat themselves, and no answer may take minutes.
BOUNDARY = r"[ \t]*+(?:<{5,9}|>{5,9}|={5,9}[ \t]*+$)"
LINES = rf"(?:(?!{BOUNDARY}).*\n)*+"
EDIT = re.compile(
    rf"^[ \t]*+<{{5,9}} ?SEARCH[ \t]*+\n(?P<old>{LINES})[ \t]*+={{5,9}}[ \t]*+\n(?P<new>{LINES})"
    r"[ \t]*+>{5,9} ?REPLACE[ \t]*+$",
    re.MULTILINE,
)
BEGINNING = re.compile(r"^[ \t]*+<{5,9} ?SEARCH[ \t]*+$", re.MULTILINE)
MAX_EDITS = 64
MAX_SHOWN = 80  # characters


class EditError(ValueError):
    """Edits that cannot be made; the message says which, and why."""


def has_edits(answer: str) -> bool:
    """Say whether an answer means to change pieces of a text."""
    return BEGINNING.search(answer) is not None


def reasons_of(answer: str) -> str:
    """Give what an answer says beside its edits."""
    return re.sub(r"^[ \t]*(?:`{3,}|~{3,}).*$\n?", "", EDIT.sub("", answer), flags=re.MULTILINE).strip()


def edited(answer: str, text: str) -> str:
    """Make the edits of an answer in a text, one after the other. Raises EditError.

    What is searched for stands in the text once, lines as they are; blanks at their ends and an indentation that all
    lines lack or have too much do not count.
    """
    found = list(EDIT.finditer(answer))
    if len(found) != len(BEGINNING.findall(answer)):
        raise EditError(
            "an edit is not whole: after <<<<<<< SEARCH come the lines, =======, others and >>>>>>> REPLACE"
        )
    if len(found) > MAX_EDITS:
        raise EditError(f"there are {len(found)} edits; give at most {MAX_EDITS}, or the whole program")
    for number, edit in enumerate(found, 1):
        text = _replaced(text, edit["old"], edit["new"], number)
    return text


def _replaced(text: str, old: str, new: str, number: int) -> str:
    lines, wanted = text.splitlines(), old.strip("\n").splitlines()
    if not any(line.strip() for line in wanted):
        raise EditError(f"edit {number} searches for nothing; name the lines that it replaces")
    places = [at for at in range(len(lines) - len(wanted) + 1) if _shift(lines[at:][: len(wanted)], wanted) is not None]
    if len(places) != 1:
        shown = next(line.strip() for line in wanted if line.strip())[:MAX_SHOWN]
        seen = f"{len(places)} times" if places else "nowhere"
        raise EditError(f"edit {number} searches for lines that stand {seen} in the program, from {shown!r} on")
    (at,) = places
    shift = _shift(lines[at : at + len(wanted)], wanted) or 0
    put = [_moved(line, shift) for line in new.strip("\n").splitlines()]
    return "\n".join([*lines[:at], *put, *lines[at + len(wanted) :]]) + "\n"


def _shift(lines: list[str], wanted: list[str]) -> int | None:
    """Give by how much all of some lines are indented more than those wanted; None where they are others."""
    shifts = set()
    for line, other in zip(lines, wanted, strict=True):
        if line.strip() != other.strip():
            return None
        if line.strip():
            shifts.add(_indent(line) - _indent(other))
    return shifts.pop() if len(shifts) == 1 else None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _moved(line: str, shift: int) -> str:
    if not line.strip():
        return ""
    return " " * max(0, _indent(line) + shift) + line.strip()
