"""What a model has, read once from its folder for everyone who needs a number of it."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from search.evaluator.models.errors import ModelError
from search.evaluator.models.folders import model_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vortex_dsl.serving.shapes import ServedModel


@dataclass(frozen=True)
class ModelFacts:
    """A model as vLLM serves it.

    `name` finds it again from anywhere; `digest` is of all its files. `num_layers` counts hidden layers. With latent
    attention all query heads share one KV head, and `head_dim` is the latents' width. `max_tokens` is what a sequence
    may hold, prompt and answer.
    """

    name: str
    folder: Path
    digest: str
    architecture: str
    num_layers: int
    num_q_heads: int
    num_kv_heads: int
    head_dim: int
    group: int
    max_tokens: int
    vocab_size: int

    def require_tokens(self, num_tokens: int) -> None:
        """Raise ModelError unless a sequence may hold so many tokens."""
        if num_tokens > self.max_tokens:
            raise ModelError(
                f"the workloads need {num_tokens:,} tokens, prompt and answer, but the model {self.name} takes "
                f"{self.max_tokens:,}; serve one that takes as many, or shorten the workloads"
            )


def model_facts(folder: Path, name: str = "") -> ModelFacts:
    """Read what the model in a folder has; `name` is the folder's own where none is given.

    Raises ModelError when the folder holds no `config.json`, or the file does not say.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder}: no config.json here; give a folder with a model as transformers saves it")
    try:
        text = path.read_text(encoding="utf-8")
        given = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{path}: this is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ModelError(f"{path}: this is no JSON object, so the attention shape is unknown")
    served = _served(folder, text)
    shape = served.shape
    return ModelFacts(
        name or str(folder), folder, model_digest(folder), served.architecture, served.num_layers, shape.num_q_heads,
        shape.num_kv_heads, shape.head_dim, shape.group, served.max_tokens, served.vocab_size,
    )  # fmt: skip


@cache
def _served(folder: Path, _text: str) -> ServedModel:
    """Ask vLLM, which takes seconds to load, once per folder and content."""
    with _quiet():
        from vortex_dsl.serving.config import ServingError
        from vortex_dsl.serving.shapes import read_model

        try:
            return read_model(folder)
        except ServingError as error:
            raise ModelError(str(error)) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to themselves what vLLM and transformers remark when they are loaded and read a model's settings."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
