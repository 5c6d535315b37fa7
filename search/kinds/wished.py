"""Kinds of machines as people name them: `H100`, or `H100=4` for four workers on it; the first decides a campaign."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CPU = "CPU"
ANY_GPU = "any"
WISH = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})(?:=([1-9]\d{0,5}))?")  # a label of Ray, and a number


@dataclass(frozen=True)
class Wish:
    """So many workers on machines of one of these kinds: None for whatever CPUs there are, empty for any GPU."""

    accelerators: tuple[str, ...] | None
    num_workers: int

    @property
    def on_gpus(self) -> bool:
        """Whether each worker holds a GPU."""
        return self.accelerators not in (None, (CPU,))


def wishes_of(kinds: Sequence[str], num_workers: int, most: int) -> tuple[Wish, ...]:
    """Read kinds as they are given; whoever does not say has `num_workers`.

    Raises ValueError for what is no kind, for one that stands twice and for more than `most` workers of one.
    """
    wishes: list[Wish] = []
    for given in kinds:
        found = WISH.fullmatch(given)
        name, number = found.groups() if found else ("", None)
        workers = int(number or num_workers)
        if not name or workers > most:
            raise ValueError(
                f"cannot name {given!r}; give a kind of machine, such as CPU or H100, and after it how many workers it "
                f"has if they are others than usual, as H100=4, at most {most:,}"
            )
        if name == ANY_GPU:
            raise ValueError(f"cannot name {ANY_GPU!r}, which is no kind; give gpus for whichever there is")
        if any(each.accelerators == (name,) for each in wishes):
            raise ValueError(f"cannot name {name!r} twice; give each kind once")
        wishes.append(Wish((name,), workers))
    return tuple(wishes)
