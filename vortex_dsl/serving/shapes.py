"""What a model has, its attention above all: read once, as vLLM reads `config.json`. No code of the model is run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, PreTrainedConfig
from vllm import envs
from vllm.config.model import MODEL_ARCH_CONFIG_CONVERTORS, ModelArchConfigConvertorBase, _get_and_verify_max_len
from vllm.transformers_utils.config import _CONFIG_REGISTRY, get_config_parser, get_hf_text_config

from vortex_dsl.serving.config import ServingError
from vortex_dsl.values import MAX_GROUP, MAX_HEAD_DIM, MAX_LAYERS, MAX_TOKENS, check_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_T = TypeVar("_T")
# MPT says how many KV heads it has where DBRX does, and vLLM looks there for DBRX only.
_READ_LIKE = {"mpt": "dbrx"}
MAX_VOCABULARY = 2**24
_TEXT_PARTS = ("text_config", "llm_config", "language_config")
# What the classes that read a configuration raise at numbers that make no sense.
_MALFORMED = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, OSError),
    StrictDataclassError,
)


@dataclass(frozen=True)
class ModelShape:
    """A layer's attention as a decode sees it.

    `kv_lora_rank` is 0 without latents. With them all query heads share one KV head, whose keys are the latents, and
    `head_dim` is a latent's width: its value part, `kv_lora_rank`, and what is rotated.
    """

    num_q_heads: int
    num_kv_heads: int
    head_dim: int
    kv_lora_rank: int = 0

    def __post_init__(self) -> None:
        for what, value in (
            ("num_attention_heads", self.num_q_heads),
            ("num_key_value_heads", self.num_kv_heads),
            ("head_dim", self.head_dim),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ServingError(f"vLLM reads {value!r} as {what}, which must be a whole number above 0")
        if self.num_q_heads % self.num_kv_heads:
            raise ServingError(f"{self.num_q_heads} query heads are no multiple of {self.num_kv_heads} KV heads")
        if self.group > MAX_GROUP or self.head_dim > MAX_HEAD_DIM:
            raise ServingError(
                f"{self.group} query heads per KV head of {self.head_dim} channels; programs are written for at most "
                f"{MAX_GROUP} heads of {MAX_HEAD_DIM}"
            )

    @property
    def group(self) -> int:
        """Give the number of query heads that share a KV head."""
        return self.num_q_heads // self.num_kv_heads


@dataclass(frozen=True)
class ServedModel:
    """What vLLM makes of a model's configuration.

    `num_layers` counts hidden layers, also those of a hybrid model that have no attention; `max_tokens` is what a
    sequence may hold, prompt and answer.
    """

    architecture: str
    shape: ModelShape
    num_layers: int
    max_tokens: int
    vocab_size: int

    def __post_init__(self) -> None:
        for what, value, most in (
            ("num_hidden_layers", self.num_layers, MAX_LAYERS),
            ("the number of tokens that it takes", self.max_tokens, MAX_TOKENS),
            ("vocab_size", self.vocab_size, MAX_VOCABULARY),
        ):
            try:
                check_size(what, value, most)
            except ValueError as error:
                raise ServingError(str(error)) from None


class _AsWritten(PreTrainedConfig):
    """A model of a type that vLLM and transformers do not know: what its file says, by the names that they look for."""

    attribute_map = {"num_attention_heads": "num_query_heads", "hidden_size": "model_dim"}  # noqa: RUF012 - OpenELM's


def read_shape(folder: Path) -> ModelShape:
    """Read the shape of the model in a folder. Raises ServingError with a sentence about its `config.json`."""
    return _told(folder, "attention shape", shape_of)


def read_model(folder: Path) -> ServedModel:
    """Read what a model has, as vLLM does. Raises ServingError with a sentence about its `config.json`."""
    shape = read_shape(folder)
    return _told(folder, "layers, tokens and vocabulary", lambda config: _model_of(config, shape))


def _told(folder: Path, what: str, read: Callable[[PreTrainedConfig], _T]) -> _T:
    path = folder / "config.json"
    try:
        return read(_read(path))
    except _MALFORMED as error:
        reason = " ".join(str(error).split())
        raise ServingError(f"{path}: no {what} can be read from it: {reason}") from error


def _model_of(config: PreTrainedConfig, shape: ModelShape) -> ServedModel:
    asked = _convertor(config)
    layers = _layers(config)  # one, where they do not differ
    return ServedModel(
        architecture=", ".join(asked.get_architectures()) or config.model_type,
        shape=shape,
        num_layers=len(layers) if len(layers) > 1 else asked.get_num_hidden_layers(),
        max_tokens=_max_tokens(asked),
        vocab_size=asked.get_vocab_size(),
    )


def _max_tokens(asked: ModelArchConfigConvertorBase) -> int:
    """Give what vLLM takes for the longest sequence; a model that sets no limit is served up to ours."""
    limit = asked.derive_max_model_len_and_key()
    if limit[1] is None:
        return MAX_TOKENS
    told: Any = SimpleNamespace(derived_max_model_len_and_key=limit)  # all that is read of a ModelArchitectureConfig
    return _get_and_verify_max_len(
        asked.hf_text_config, told, None, None, disable_sliding_window=False, sliding_window=None
    )


def shape_of(config: PreTrainedConfig) -> ModelShape:
    """Give the shape of a model that vLLM has read (`ModelConfig.hf_config`).

    Where layers differ, it is the shape that most of them have, the earliest of equals: programs are designed and
    admitted for it. Each layer of an engine traces the program for its own.
    """
    shapes = _layers(config)
    commonest, _ = Counter((shape.group, shape.head_dim) for shape in shapes).most_common(1)[0]
    return next(shape for shape in shapes if (shape.group, shape.head_dim) == commonest)


def _read(path: Path) -> PreTrainedConfig:
    given = json.loads(path.read_text(encoding="utf-8"))
    kind = given.get("model_type")
    if kind in CONFIG_MAPPING or kind in _CONFIG_REGISTRY:
        return get_config_parser("hf").parse(path.parent, trust_remote_code=False)[1]
    inner = next((given[name] for name in _TEXT_PARTS if isinstance(given.get(name), dict)), given)
    return _AsWritten(**{name: value for name, value in inner.items() if value is not None})


def _convertor(config: PreTrainedConfig) -> ModelArchConfigConvertorBase:
    """Give vLLM's reader of this kind of model."""
    kind = _READ_LIKE.get(config.model_type, config.model_type)
    return MODEL_ARCH_CONFIG_CONVERTORS.get(kind, ModelArchConfigConvertorBase)(config, get_hf_text_config(config))


def _layers(config: PreTrainedConfig) -> list[ModelShape]:
    whole = _convertor(config)
    pairs = whole.get_per_layer_hf_configs() or [(config, whole.hf_text_config)]
    return [shape for pair in pairs for shape in _shapes(type(whole)(*pair))]


def _shapes(asked: ModelArchConfigConvertorBase) -> list[ModelShape]:
    """Give what vLLM's reader says: one shape, or one a layer where the numbers of heads are lists."""
    heads, dim = asked.get_total_num_attention_heads(), asked.get_head_size()
    if asked.is_deepseek_mla() and not envs.VLLM_MLA_DISABLE:
        return [ModelShape(heads, 1, dim, getattr(asked.hf_text_config, "kv_lora_rank", None) or 0)]
    dim = _expanded_dim(asked.hf_text_config) or dim
    return [ModelShape(q, kv, dim) for q, kv in _by_layer(heads, asked.get_total_num_kv_heads())]


def _expanded_dim(config: PreTrainedConfig) -> int:
    """Give the width of heads that a layer makes of its latents, 0 without such; `head_dim` may be a part of it."""
    plain, rotated = (getattr(config, f"qk_{part}_head_dim", None) or 0 for part in ("nope", "rope"))
    return plain + rotated if plain and rotated and getattr(config, "kv_lora_rank", None) else 0


def _by_layer(heads: Any, kv_heads: Any) -> list[tuple[Any, Any]]:
    several = [each for each in (heads, kv_heads) if isinstance(each, list)]
    if not several:
        return [(heads, kv_heads)]
    lists = [each if isinstance(each, list) else [each] * len(several[0]) for each in (heads, kv_heads)]
    if not lists[0]:
        raise ServingError("a list of heads per layer is empty")
    return list(zip(*lists, strict=True))
