"""Texts of others, made fit to be shown: in bounds, and nothing in them that is not seen."""

from __future__ import annotations

import unicodedata

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")  # Unicode's categories of control, format and no characters at all
JOINERS = "\u200c\u200d"  # some scripts cannot be written without


def title_case(text: str) -> str:
    """Give a sentence its capital, and leave KL as it is."""
    return text[:1].upper() + text[1:]


def cut(text: str, limit: int) -> str:
    """Give a text in one line of at most so many characters, nothing in it that is not seen."""
    line = shown(" ".join(text.split()), limit + 1)
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def shown(text: str, limit: int) -> str:
    """Replace what is not seen and may deceive (control characters, changes of direction) by U+FFFD."""
    kept = text[:limit].expandtabs(4)
    return "".join(
        c if c == "\n" or c in JOINERS else ("\ufffd" if unicodedata.category(c) in UNSEEN else c) for c in kept
    )
