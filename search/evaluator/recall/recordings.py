"""Queries, keys and values of a model, in a file that every process maps into its memory.

Numbers are kept in 16 bits: as the model has them where it runs in bfloat16, else as float16, which moves no figure of
a program by more than what `benchmarks/evaluator/agreement.py` prints.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from search.evaluator.scratch.files import leave_newest, reading, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_FILES, MAX_FOLDER_BYTES = 4, 32 << 30  # of a folder: what was recorded longest ago goes first


@dataclass(frozen=True)
class Recording:
    """Runs of consecutive decode steps, one after each of some texts of `num_tokens` tokens.

    q: [step, layer, text, kv_head, head, dim], unscaled, after rotary embedding; k, v: [layer, text, kv_head, token,
    dim], with those of the steps last. names: of the texts; runs of one name are one cluster for intervals.
    """

    num_tokens: int
    names: tuple[str, ...]
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor

    @property
    def num_steps(self) -> int:
        """Give the number of steps of each run."""
        return self.q.shape[0]


@dataclass(frozen=True)
class Model:
    """What was recorded of: its layers that see all tokens, of how many, and its softmax scale."""

    layers: tuple[int, ...]
    num_layers: int
    scale: float


@dataclass(frozen=True)
class Recordings:
    """What one model asked, by length of text, shortest first."""

    model: Model
    by_length: tuple[Recording, ...]


def save(recordings: Recordings, file: Path) -> None:
    """Write a file, whole or not at all, and leave the newest few of its folder."""
    from safetensors.torch import save_file

    tensors = {
        f"{name}.{i}": getattr(each, name) for i, each in enumerate(recordings.by_length) for name in ("q", "k", "v")
    }
    described = {"recordings": json.dumps(_described(recordings))}
    write_atomically(file, lambda part: save_file(tensors, part, described))
    leave_newest(file.parent, MAX_FILES, MAX_FOLDER_BYTES)


def load(file: Path) -> Recordings:
    """Map a file into memory. Raises FileNotFoundError, and DamagedError where it holds no recordings."""
    from safetensors import safe_open

    with reading(file), safe_open(file, "pt") as opened:
        told = json.loads(opened.metadata()["recordings"])
        groups = [
            Recording(
                num_tokens=each["num_tokens"],
                names=tuple(each["names"]),
                **{name: opened.get_tensor(f"{name}.{i}") for name in ("q", "k", "v")},
            )
            for i, each in enumerate(told["by_length"])
        ]
    return Recordings(Model(tuple(told["layers"]), told["num_layers"], told["scale"]), tuple(groups))


def _described(recordings: Recordings) -> dict[str, Any]:
    model = recordings.model
    groups = [{"num_tokens": each.num_tokens, "names": each.names} for each in recordings.by_length]
    return {"layers": model.layers, "num_layers": model.num_layers, "scale": model.scale, "by_length": groups}


class Recorder:
    """Gathers the runs of texts of one length, text by text."""

    def __init__(self, num_tokens: int, names: Sequence[str]) -> None:
        self._num_tokens, self._names = num_tokens, tuple(names)
        self._q: list[torch.Tensor] = []
        self._kept: dict[str, torch.Tensor] = {}
        self.model = Model((), 0, 1.0)

    def add(self, layers: Sequence[Sequence[dict[str, Any]]]) -> None:
        """Add what `Engine.record` gave for the next text.

        Raises OverflowError where float16 cannot hold a number, ValueError where layers are unlike.
        """
        self.model = _model_of([steps[-1] for steps in layers])
        text = len(self._q)
        self._q.append(torch.stack([torch.stack([step["q"].cpu() for step in steps]) for steps in layers], 1))
        for name in ("k", "v"):
            for layer, steps in enumerate(layers):
                x = steps[-1][name][:, : int(steps[-1]["lengths"][0])].cpu()
                kept = self._room(name, len(layers), x)
                kept[layer, text] = x
                if not kept[layer, text].isfinite().all():
                    raise OverflowError(f"layer {layer} has values in {name} that {kept.dtype} cannot hold")

    def recording(self) -> Recording:
        """Give all of it."""
        return Recording(self._num_tokens, self._names, torch.stack(self._q, 2), self._kept["k"], self._kept["v"])

    def _room(self, name: str, num_layers: int, like: torch.Tensor) -> torch.Tensor:
        """Make room for all texts at the first of them."""
        if name not in self._kept:
            self._kept[name] = torch.empty((num_layers, len(self._names), *like.shape), dtype=self._dtype(like))
        return self._kept[name]

    @staticmethod
    def _dtype(like: torch.Tensor) -> torch.dtype:
        """Give the type that holds these numbers: bfloat16 where they are such already."""
        return torch.bfloat16 if bool((like.bfloat16().float() == like).all()) else torch.float16


def _model_of(layers: Sequence[dict[str, Any]]) -> Model:
    """Say what was recorded of. layers: what each layer saw at one step. Raises ValueError where layers are unlike."""
    alike = {(each["scale"], each["q"].shape, each["v"].shape) for each in layers}
    if len(alike) != 1:
        raise ValueError("the model's layers differ in their heads or their softmax scale, or none sees all tokens")
    return Model(tuple(each["layer"] for each in layers), layers[0]["num_layers"], layers[0]["scale"])
