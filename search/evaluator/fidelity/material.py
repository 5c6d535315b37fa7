"""Which text a model is judged on, and how long its pieces are: settled before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from search.evaluator.fidelity.given import TextError, keep_text, read_text
from search.evaluator.fidelity.library import library_source
from search.evaluator.fidelity.texts import encoder, split_of
from search.workloads import HELD_OUT_DOCUMENTS, NUM_DOCUMENTS, SPLITS, longest_text, text_of

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 1 << 30  # tokens of a text from which pieces are cut, longer than any model takes


@dataclass(frozen=True)
class Material:
    """What texts are asked for.

    `text`: the user's own, if there is one. `tokens`: how long the longest piece is, None for as long as is usual:
    `least` to `most`. `is_confirmed`: some programs are judged on held-out texts besides, of which there are more.
    """

    text: Path | None
    tokens: int | None
    least: int
    most: int
    is_confirmed: bool

    def settled(self, model: Path, scratch: Path) -> tuple[str, int]:
        """Give the source of workloads' texts, and the most tokens that one of them has.

        `model` is the folder of whose tokenizer cuts texts; the user's own is kept in `scratch`. Without one it is the
        prose that comes with Python where that is long enough, else its standard library. Raises TextError where a
        text is too short or no text, or the model has no tokenizer.
        """
        source = "" if self.text is None else keep_text(read_text(self.text), scratch)
        size = tokens_of(source, model, scratch)
        if self.text is None and self._longest(size) < self._needed:
            source = library_source()
            size = tokens_of(source, model, scratch)
        if self._longest(size) < self._needed:
            raise TextError(self._too_short(size))
        return source, self.tokens or min(self.most, self._longest(size))

    @property
    def _needed(self) -> int:
        return self.tokens or self.least

    @property
    def _num_documents(self) -> int:
        return HELD_OUT_DOCUMENTS if self.is_confirmed or self.tokens is None else NUM_DOCUMENTS

    def _longest(self, size: int) -> int:
        return longest_text(size, self._num_documents)

    def _too_short(self, size: int) -> str:
        number, longest = self._num_documents, self._longest(size)
        name = "Python's standard library" if self.text is None else f"the text {self.text}"
        needed = text_of(self._needed, number)
        shorter = f"at most --tokens {longest}, or " if longest >= self.least else ""
        return (
            f"{number} texts of {self._needed:,} tokens take {needed:,} tokens of each half of {name}, which has "
            f"{size:,} in this model's tokenizer; give {shorter}a text (--text) of {needed / max(1, size):.1f} times "
            "its length"
        )


@cache
def tokens_of(source: str, model: Path, scratch: Path) -> int:
    """Give the tokens of the smaller split of a source, by the tokenizer of the model in a folder.

    `source` is a workload's, empty for Python's prose. Raises TextError where the model has no tokenizer, or the text
    is not kept.
    """
    encode = encoder(tokenizer_in(model))
    return min(len(encode(split_of(source, split, scratch))) for split in SPLITS)


def tokenizer_in(model: Path) -> Any:
    """Give the tokenizer in a model's folder, which warns of no long text. Raises TextError where there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model, local_files_only=True, model_max_length=LONGEST)
    except Exception as error:  # what it raises depends on which file is missing or odd
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise TextError(
            f"the model in {model} has no tokenizer that can be read, by which texts are cut: put the tokenizer's "
            f"files beside its weights ({reason})"
        ) from error
