"""A rationale holds two things: why a program should be good, and what was odd about how it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ODD = "odd: "  # begins a line of what a server or a look said; such a line is told to people alone


def rationale_of(reasons: str, odd: Iterable[str] = ()) -> str:
    """Write both, what was odd in lines of their own after the reasons."""
    return "\n".join(filter(None, (reasons, *(f"{ODD}{' '.join(each.split())}" for each in odd))))


def reasons_in(rationale: str) -> str:
    """Give the reasons alone: what was odd says nothing of the program, and other agents would take it for an idea."""
    return "\n".join(line for line in rationale.split("\n") if not line.startswith(ODD))
