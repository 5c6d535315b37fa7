"""Keys and values of prompts, one file for each: written by whoever prefilled it, mapped into memory by the others."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.evaluator.scratch.files import newest_first, write_atomically
from search.records import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch

MAX_BYTES = 8 << 30  # of a folder: the files used longest ago go first
FREE_SHARE = 0.5  # of the disk's free space that may be taken


@dataclass(frozen=True)
class Prefilled:
    """What each layer's cache holds of a prompt: keys, values: [layer, token, kv_head, dim]."""

    keys: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True)
class Shelf:
    """A folder of prefilled prompts. `circumstances` names model, dtype and all else that decides their numbers."""

    folder: Path
    circumstances: str

    def path(self, prompt: Sequence[int]) -> Path:
        """Say where a prompt's file lies."""
        return self.folder / f"{digest_of([self.circumstances, list(prompt)])}.safetensors"

    def has(self, prompt: Sequence[int]) -> bool:
        """Say whether a prompt is kept."""
        return self.path(prompt).exists()

    def holds(self, num_bytes: int) -> bool:
        """Say whether so many bytes may be added: at most `MAX_BYTES`, and not all of the disk."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return num_bytes <= min(MAX_BYTES, int(FREE_SHARE * shutil.disk_usage(self.folder).free))

    def read(self, prompt: Sequence[int]) -> Prefilled | None:
        """Map a prompt's keys and values into memory; it counts as used now. None where they are missing or spoiled."""
        from safetensors import SafetensorError, safe_open

        path = self.path(prompt)
        try:
            os.utime(path)
            with safe_open(path, "pt") as file:
                return Prefilled(file.get_tensor("keys"), file.get_tensor("values"))
        except (FileNotFoundError, SafetensorError):
            return None

    def write(self, prompt: Sequence[int], prefilled: Prefilled) -> None:
        """Keep a prompt, whole or not at all; what was used longest ago goes where all together are too much."""
        from safetensors.torch import save_file

        tensors = {"keys": prefilled.keys, "values": prefilled.values}
        write_atomically(self.path(prompt), lambda file: save_file(tensors, file))
        for old in self._too_many():
            old.unlink(missing_ok=True)

    def _too_many(self) -> Iterator[Path]:
        """Give the files beyond `MAX_BYTES`, counted from the one used last."""
        num_bytes = 0
        for path, stat in newest_first(self.folder, "*.safetensors"):
            num_bytes += stat.st_size
            if num_bytes > MAX_BYTES:
                yield path
