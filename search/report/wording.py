"""Words for people: times, and texts of others made fit to be shown, in bounds and with nothing unseen in them."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

OPEN = "–"  # an end of an interval that is not known, or that no number bounds
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")  # Unicode's categories of control, format and no characters at all
UNSEEN_SIGN = "\ufffd"  # what stands for each of them
JOINERS = "\u200c\u200d"  # some scripts cannot be written without


def title_case(text: str) -> str:
    """Give a sentence its capital, and leave KL as it is."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """Write a time as a person would say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def ended(low: float | None, high: float | None, write: Callable[[float], str], between: str = ",") -> str:
    """Write an interval's ends in brackets, a dash for one that is open; nothing where both are."""
    ends = [write(end) if end is not None and math.isfinite(end) else OPEN for end in (low, high)]
    return "" if ends == [OPEN, OPEN] else f"[{between.join(ends)}]"


def cut(text: str, limit: int) -> str:
    """Give a text in one line of at most so many characters, nothing in it that is not seen."""
    line = shown(" ".join(text.split()), limit + 1)
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def shown(text: str, limit: int) -> str:
    """Replace what is not seen and may deceive (control characters, changes of direction) by U+FFFD."""
    kept = text[:limit].expandtabs(4)
    return "".join(
        c if c == "\n" or c in JOINERS else (UNSEEN_SIGN if unicodedata.category(c) in UNSEEN else c) for c in kept
    )
