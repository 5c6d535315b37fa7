"""The weights in a model's folder: how they are stored and whether they are whole, from their headers alone."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.evaluator.models.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

SAFE = ".safetensors"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Weights:
    """What a folder's files of weights hold.

    `dtype`: of most values, by the name that safetensors gives it; nothing for `*.bin`, which are not opened, since
    pickles can run code. `size_bytes`: of the files.
    """

    dtype: str
    num_values: int
    size_bytes: int


def read_weights(folder: Path) -> Weights:
    """Read the headers of a model's weights.

    Raises ModelError where there are none, where one has fewer bytes than it says, or where a file of several is
    missing.
    """
    files = _files(folder)
    size_bytes = sum(file.stat().st_size for file in files)
    values: Counter[str] = Counter()
    for file in files:
        if file.suffix == SAFE:
            values += _values(file)
    if not values:
        return Weights("", 0, size_bytes)
    return Weights(values.most_common(1)[0][0], values.total(), size_bytes)


def _values(file: Path) -> Counter[str]:
    """Count a file's values by dtype."""
    from safetensors import SafetensorError, safe_open

    values: Counter[str] = Counter()
    try:
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no dict
                part = opened.get_slice(name)
                values[part.get_dtype()] += math.prod(part.get_shape())
    except SafetensorError as error:
        raise ModelError(f"{file} is no whole file of weights ({error}); copy or download the model anew") from error
    return values


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob(f"*{SAFE}")) or sorted(folder.glob("*.bin"))
    if not files:
        raise ModelError(f"the folder {folder} holds no weights: no *{SAFE} and no *.bin; download the model anew")
    missing = sorted(_indexed(folder / INDEX) - {file.name for file in files})
    if missing:
        raise ModelError(
            f"the folder {folder} lacks {', '.join(missing)}, which {INDEX} names; download the model anew"
        )
    return files


def _indexed(index: Path) -> set[str]:
    """Give the files that an index of weights names."""
    if not index.is_file():
        return set()
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is no index of weights ({error}); download the model anew") from error
