"""What a program's text can cause, a sentence with file, line, column and remedy; and what only the compiler can."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ProgramError(ValueError):
    """A program is refused: `file:line:column: what was seen; what to do`. Lines and columns count from 1."""

    def __init__(self, message: str, file: str = "<program>", line: int = 1, column: int = 1) -> None:
        super().__init__(f"{file}:{line}:{column}: {message}")
        self.message = message
        self.file = file
        self.line = line
        self.column = column

    def __reduce__(self) -> tuple[type[ProgramError], tuple[str, str, int, int]]:
        """Travel between processes with the position intact."""
        return ProgramError, (self.message, self.file, self.line, self.column)


class CompilerError(Exception):
    """Something that the compiler relies on does not hold: an error of ours, whatever a program says."""


def quoted(seen: object, limit: int = 40) -> str:
    """Quote a name or number of a program for a message, cut to `limit` characters; of a container, its kind."""
    if isinstance(seen, int) and seen.bit_length() > 64:
        seen = "a number of very many digits"  # Python refuses to print it
    elif not isinstance(seen, str | int | float | None):
        seen = type(seen).__name__  # printing may take forever
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(seen)[: limit + 1])
    return f"'{text}'" if len(text) <= limit else f"'{text[:limit]}…'"


def listed(names: Iterable[str], limit: int = 120) -> str:
    """Join names by commas for a message, as many as fit into `limit` characters, and count them all."""
    given = list(names)
    text = ", ".join(given)
    if len(text) <= limit:
        return text
    num_shown = text[: limit + 1].count(", ")
    return ", ".join([*given[:num_shown], f"… ({len(given)} in all)"])


def did_you_mean(seen: str, known: Iterable[str]) -> str:
    """Give `; did you mean 'near'?` when one of the known names is close to the one seen, else nothing."""
    from difflib import get_close_matches

    folded = {
        name.casefold(): name for name in sorted(known, reverse=True)
    }  # of two that differ in capitals, the first
    near = get_close_matches(seen[:64].casefold(), sorted(folded), n=1, cutoff=0.6)
    return f"; did you mean '{folded[near[0]]}'?" if near else ""
