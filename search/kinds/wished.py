"""Kinds of machines as people name them: `H100`, or `H100=4` for four workers on it; the first decides a campaign."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.records import Environment

CPU = "CPU"  # nodes without a GPU
ANY_GPU = "any"
WHEREVER = ""  # no GPU is needed, and which kind of node it is does not matter
CPU_DTYPE = "float32"  # in which engines run on CPUs, and nowhere else
WISH = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})(?:=([1-9]\d{0,5}))?")  # a label of Ray, and a number


@dataclass(frozen=True)
class Wish:
    """So many workers on machines of a kind: as Ray labels its GPU, or one of the words above."""

    kind: str
    num_workers: int


def is_gpu(kind: str) -> bool:
    """Say whether each worker on machines of a kind holds a GPU."""
    return kind not in (CPU, WHEREVER)


def is_of(place: Environment, kind: str) -> bool:
    """Say whether what was measured at a place was measured on a kind: Ray's label of a GPU is a word of its name."""
    if kind == WHEREVER or not place.dtype:
        return kind == WHEREVER
    on_cpu = place.dtype == CPU_DTYPE
    if kind in (CPU, ANY_GPU):
        return on_cpu == (kind == CPU)
    return not on_cpu and re.search(rf"\b{re.escape(kind)}\b", place.device, re.IGNORECASE) is not None


def read_wishes(kinds: Sequence[str], num_workers: int, most: int) -> tuple[Wish, ...]:
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
                f"cannot name {given!r}; give a kind of machine, such as H100 or CPU, and after it how many workers it "
                f"has if they are others than usual, as H100=4, at most {most:,}"
            )
        if any(each.kind == name for each in wishes):
            raise ValueError(f"cannot name {name!r} twice; give each kind once")
        wishes.append(Wish(name, workers))
    if len(wishes) > 1 and any(each.kind == ANY_GPU for each in wishes):
        raise ValueError(f"cannot name {ANY_GPU!r} beside a kind, which it may be itself; give each by its name")
    return tuple(wishes)
