"""The probe's words. Each is one token, and its place in `VOCABULARY` is its token id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

START, ASK, END_FILLER = "<s>", "?", "."
SYMBOLS = tuple(f"s{i}" for i in range(512))  # what is asked for and answered
ALIASES = tuple(f"a{i}" for i in range(128))  # stand between a symbol and its successor, and are never answered
FILLERS = tuple(f"w{i}" for i in range(32))  # mean nothing
NAMES = SYMBOLS + ALIASES


@dataclass(frozen=True)
class Format:
    """How a record is written: `start` before its names, `join` between them, `end` after them; "" writes nothing."""

    start: str
    join: str
    end: str

    def write(self, record: tuple[str, ...]) -> tuple[str, ...]:
        """Give the words of a record of names."""
        joined = [word for name in record for word in (self.join, name)][1:]
        return tuple(word for word in (self.start, *joined, self.end) if word)


FORMATS = {
    "plain": Format("", "", ";"),
    "arrows": Format("", ">", ";"),
    "brackets": Format("(", "", ")"),
    "table": Format("|", ":", "|"),
}
HELD_OUT_FORMAT = "table"  # no problem of the split "search" is written in it
JOINS = tuple(form.join for form in FORMATS.values() if form.join)
PUNCTUATION = (END_FILLER, ASK, *dict.fromkeys(w for f in FORMATS.values() for w in (f.start, f.join, f.end) if w))

VOCABULARY = (START, *PUNCTUATION, *NAMES, *FILLERS)
_ID_OF = {word: i for i, word in enumerate(VOCABULARY)}


def token_ids(text: str) -> list[int]:
    """Give the ids of a text's words, as the tokenizer in the model folder does."""
    return [_ID_OF[word] for word in text.split()]


def is_spoken(encode: Callable[[str], list[int]]) -> bool:
    """Tell whether each word is the token that the probe's own model has for it. encode: without special tokens."""
    return encode(" ".join(VOCABULARY)) == list(range(len(VOCABULARY)))
