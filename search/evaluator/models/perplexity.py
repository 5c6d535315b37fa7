"""Does a folder hold a model that was trained? Asked of transformers, on the CPU, apart from all that we serve with."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from search.evaluator.models.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def perplexity(folder: Path, text: str) -> float:
    """Give a causal model's perplexity on a text, in float32.

    Raises ModelError where the tokenizer does not give the text back, or where weights and configuration differ.
    """
    import torch
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
    if tokenizer.decode(ids[0]) != text:
        raise ModelError(f"the tokenizer in {folder} does not give a text back as it took it")
    model = _loaded(folder)
    with torch.inference_mode():
        return math.exp(model(ids, labels=ids).loss.item())


def _loaded(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"local_files_only": True, "dtype": torch.float32, "output_loading_info": True}
    with _no_progress_bar():
        loaded: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    model, loading = loaded
    strays = {kind: names for kind, names in loading.items() if names}
    if strays:
        raise ModelError(f"the weights in {folder} are not those of its config.json: {strays}")
    return model


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
