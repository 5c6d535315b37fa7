"""Sections of a prompt, and which of them have room in a budget of tokens."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BUDGET_TOKENS = 12_000  # of a whole prompt, instructions included
REQUIRED = 0  # the priority of what no prompt goes without
# What tokenizers cut text into: words by capitals, digits one by one (as Llama, Qwen and Mistral do) with the space
# before them, every other sign, and line breaks.
PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]| ?[0-9]|[^\sA-Za-z0-9]|\n")
TICKS = re.compile("`+")
LETTERS = 5  # of a word that are taken for one token


class PromptError(ValueError):
    """A budget in which not even the required sections have room. The message says how many tokens they take."""


@dataclass(frozen=True)
class Section:
    """A part of a prompt. `priority`: the less, the sooner it has room; `REQUIRED` always has.

    One without a text is none.
    """

    title: str
    text: str
    priority: int

    def __str__(self) -> str:
        return f"# {self.title}\n\n{self.text.strip()}"


def fenced(text: str) -> str:
    """Give a program's text as a block of code that nothing in it can end: its fence is longer than any there.

    See https://spec.commonmark.org on fenced code blocks.
    """
    fence = "`" * max(3, 1 + max(map(len, TICKS.findall(text)), default=0))
    return f"{fence}python\n{text.strip()}\n{fence}"


def tokens_of(text: str) -> int:
    """Estimate the tokens of a text from above, for models whose tokenizers are not at hand.

    Compared with Mistral's SentencePiece vocabulary of 32,768 (the larger number of it and Tekken) it gives up to 15 %
    more on this project's pages, programs and tables; a quarter of the characters would be a third of it on figures.
    """
    return sum(_tokens(piece) for piece in PIECE.findall(text))


def _tokens(piece: str) -> int:
    return math.ceil(len(piece) / LETTERS) if piece[-1].isalpha() else len(piece)


def prompt_of(sections: Sequence[Section], budget_tokens: int = BUDGET_TOKENS) -> str:
    """Put sections together in their order, by priority as many as have room; the others are left out whole, and named.

    Of one priority the earlier goes first. Raises PromptError where the required ones alone take more.
    """
    told = [section for section in sections if section.text.strip()]
    sizes = {place: tokens_of(str(section)) + 2 for place, section in enumerate(told)}
    optional = sorted((p for p in sizes if told[p].priority != REQUIRED), key=lambda place: told[place].priority)
    room = budget_tokens - sum(size for place, size in sizes.items() if place not in optional)
    if room < 0:
        raise PromptError(
            f"a prompt of at most {budget_tokens:,} tokens has no room for {_titles(told, REQUIRED)}, which take "
            f"{budget_tokens - room:,}; give a greater budget"
        )
    left_out = _left_out(told, sizes, optional, room)
    kept = [str(section) for place, section in enumerate(told) if place not in left_out]
    return "\n\n".join([*kept, *_naming([told[place] for place in sorted(left_out)])])


def _left_out(told: Sequence[Section], sizes: dict[int, int], optional: Sequence[int], room: int) -> set[int]:
    """Say which of the optional places have no room beside the sentence that names them."""
    if sum(sizes[place] for place in optional) <= room:
        return set()
    room -= sum(map(tokens_of, _naming([told[place] for place in optional])))
    left_out = set()
    for place in optional:
        if sizes[place] <= room:
            room -= sizes[place]
        else:
            left_out.add(place)
    return left_out


def _naming(sections: Sequence[Section]) -> list[str]:
    titles = "; ".join(section.title for section in sections)
    return [f"(Left out for want of room: {titles}.)"] if sections else []


def _titles(sections: Sequence[Section], priority: int) -> str:
    return ", ".join(f"'{section.title}'" for section in sections if section.priority == priority)
