"""What dense attention says at each position of the texts: decoded once, kept as a file, read for each program.

A file holds the texts as they were forced, so who reads it needs no tokenizer, and the log-probabilities of the whole
vocabulary: 15 texts with 32 counted positions of SmolLM2 take 94 MB. They are float32: float16 was off by up to 6e-7
nats where nothing differs, and by .5 % at .002 nats.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

import torch

from search.evaluator.fidelity.texts import OWN, Text
from search.evaluator.scratch.files import leave_newest, reading, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_BYTES = 4 << 30  # of one reference: 80 texts with 36 counted positions and 262,144 tokens of vocabulary take 3
MAX_FILES = 12  # of a folder; the oldest go
MAX_FOLDER_BYTES = 8 << 30


@dataclass(frozen=True)
class Reference:
    """log_probabilities: [num_texts, num_positions, vocabulary] in float32, of each token but the first of a text."""

    texts: list[Text]
    log_probabilities: torch.Tensor


def with_own(texts: Sequence[Text], num_lengths: int) -> list[Text]:
    """Let every second text be the model's own, in each document beginning with another: nothing is forced in it."""
    turns = (sum(divmod(i, num_lengths)) for i in range(len(texts)))
    return [replace(text, kind=OWN, forced=()) if turn % 2 else text for turn, text in zip(turns, texts, strict=True)]


def write(reference: Reference, path: Path) -> None:
    """Keep a reference, whole or not at all; the oldest of more than `MAX_FILES` or `MAX_FOLDER_BYTES` go."""
    from safetensors.torch import save_file

    texts = {"texts": json.dumps([astuple(text) for text in reference.texts])}
    write_atomically(path, lambda file: save_file({"log_probabilities": reference.log_probabilities}, file, texts))
    leave_newest(path.parent, MAX_FILES, MAX_FOLDER_BYTES)


def read(path: Path) -> Reference:
    """Read a reference; its log-probabilities stay on disk until they are looked at. Raises DamagedError."""
    from safetensors import safe_open

    with reading(path), safe_open(path, "pt") as file:
        rows = json.loads(file.metadata()["texts"])
        texts = [Text(name, kind, tuple(prompt), tuple(forced)) for name, kind, prompt, forced in rows]
        return Reference(texts, file.get_tensor("log_probabilities"))
