"""What a program was heard to say in a race, kept for the fidelity that follows: it decodes the other texts alone."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from search.evaluator.guards import Decoded, Done
from search.evaluator.scratch.files import leave_newest, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_FILES, MAX_FOLDER_BYTES = 500, 1 << 30  # some kilobytes each: whoever a race stops never asks for its own


@dataclass(frozen=True)
class Heard:
    """A program beside dense attention in some texts, and what its engine did for that.

    figures: float64 [num_texts, num_positions, 4], see `positions.compared`; first_choices: int64 [num_texts,
    num_positions], the most likely tokens.
    """

    figures: torch.Tensor
    first_choices: torch.Tensor
    done: Done

    def __add__(self, other: Heard) -> Heard:
        """Give both, the other's texts after these."""
        figures = torch.cat([self.figures, other.figures])
        return Heard(figures, torch.cat([self.first_choices, other.first_choices]), self.done + other.done)

    def in_order(self, places: Sequence[int]) -> Heard:
        """Give the same with each text at its place: `places` has that of each, all of them."""
        order = [places.index(place) for place in range(len(places))]
        return Heard(self.figures[order], self.first_choices[order], self.done)


def keep(heard: Heard, path: Path) -> None:
    """Keep what was heard, whole or not at all; the oldest of more than `MAX_FILES` go."""
    from safetensors.torch import save_file

    layers, decoded = heard.done.layers, heard.done.decoded
    told = {"layers": json.dumps(layers), "decoded": json.dumps(vars(decoded))}
    values = {"figures": heard.figures, "first_choices": heard.first_choices}
    write_atomically(path, lambda file: save_file(values, file, told))
    leave_newest(path.parent, MAX_FILES, MAX_FOLDER_BYTES)


def take(path: Path) -> Heard | None:
    """Give what was kept, which is then gone; None where nothing is."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            layers, decoded = (json.loads(file.metadata()[name]) for name in ("layers", "decoded"))
            lengths = Counter({int(length): number for length, number in decoded.pop("lengths").items()})
            done = Done(layers, Decoded(lengths=lengths, **decoded))
            heard = Heard(file.get_tensor("figures"), file.get_tensor("first_choices"), done)
    except (OSError, SafetensorError):
        return None
    path.unlink(missing_ok=True)
    return heard
