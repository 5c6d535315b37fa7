"""What attention a model has: read once, as vLLM reads `config.json`, for whoever asks. No code of the model is run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, PreTrainedConfig
from vllm import envs
from vllm.config.model import MODEL_ARCH_CONFIG_CONVERTORS, ModelArchConfigConvertorBase
from vllm.transformers_utils.config import _CONFIG_REGISTRY, get_config_parser, get_hf_text_config

from vortex_dsl.serving.config import ServingError
from vortex_dsl.values import MAX_GROUP, MAX_HEAD_DIM

if TYPE_CHECKING:
    from pathlib import Path

# MPT says how many KV heads it has where DBRX does, and vLLM looks there for DBRX only.
_READ_LIKE = {"mpt": "dbrx"}
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


class _AsWritten(PreTrainedConfig):
    """A model of a type that vLLM and transformers do not know: what its file says, by the names that they look for."""

    attribute_map = {"num_attention_heads": "num_query_heads", "hidden_size": "model_dim"}  # noqa: RUF012 - OpenELM's


def read_shape(folder: Path) -> ModelShape:
    """Read the shape of the model in a folder. Raises ServingError with a sentence about its `config.json`."""
    path = folder / "config.json"
    try:
        return shape_of(_read(path))
    except _MALFORMED as error:
        reason = " ".join(str(error).split())
        raise ServingError(f"{path}: no attention shape can be read from it: {reason}") from error


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


def _layers(config: PreTrainedConfig) -> list[ModelShape]:
    kind = _READ_LIKE.get(config.model_type, config.model_type)
    convertor = MODEL_ARCH_CONFIG_CONVERTORS.get(kind, ModelArchConfigConvertorBase)
    text = get_hf_text_config(config)
    pairs = convertor(config, text).get_per_layer_hf_configs() or [(config, text)]
    return [shape for pair in pairs for shape in _shapes(convertor(*pair))]


def _shapes(asked: ModelArchConfigConvertorBase) -> list[ModelShape]:
    """Give what vLLM's reader says: one shape, or one a layer where the numbers of heads are lists."""
    heads, dim = asked.get_total_num_attention_heads(), asked.get_head_size()
    if asked.is_deepseek_mla() and not envs.VLLM_MLA_DISABLE:
        return [ModelShape(heads, 1, dim, getattr(asked.hf_text_config, "kv_lora_rank", None) or 0)]
    return [ModelShape(q, kv, dim) for q, kv in _by_layer(heads, asked.get_total_num_kv_heads())]


def _by_layer(heads: Any, kv_heads: Any) -> list[tuple[Any, Any]]:
    several = [each for each in (heads, kv_heads) if isinstance(each, list)]
    if not several:
        return [(heads, kv_heads)]
    lists = [each if isinstance(each, list) else [each] * len(several[0]) for each in (heads, kv_heads)]
    if not lists[0]:
        raise ServingError("a list of heads per layer is empty")
    return list(zip(*lists, strict=True))
