"""What prefill writes into an engine's cache: listened to once, and written again without computing it.

The model's forward is replaced for the time of a request, within vLLM's own step: so vLLM itself decides where tokens
lie, and finds them in its prefix cache afterwards as if it had computed them.
"""

from __future__ import annotations

import inspect
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from search.evaluator.prefill.kept import Prefilled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from search.evaluator.engine import Engine

WRITTEN = ("layer", "key", "value", "kv_cache", "slot_mapping")  # what a layer is given to write, by name


def can_replay(engine: Engine) -> bool:
    """Say whether all that this engine keeps of a prompt is its layers' keys and values.

    Elsewhere (latents, states, a GPU, where prefill is quick) every engine prefills for itself.
    """
    context = engine.llm.llm_engine.vllm_config.compilation_config.static_forward_context
    return engine.on_cpu and all(_writes_keys(layer) for layer in context.values())


def token_bytes(engine: Engine) -> int:
    """Give the bytes of keys and values of one token in all layers."""
    return sum(2 * layer.num_kv_heads * layer.head_size for layer in engine.attention_layers) * _dtype(engine).itemsize


def prefilled_by(engine: Engine, prompt: Sequence[int]) -> Prefilled:
    """Prefill one prompt, of which the engine's prefix cache must hold nothing, and give what its layers wrote."""
    heard: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in engine.attention_layers]
    with ExitStack() as undo:
        for layer, parts in zip(engine.attention_layers, heard, strict=True):
            undo.enter_context(_heard(layer.impl, parts))
        engine.generate([prompt], 1)
    keys, values = (torch.stack([torch.cat([part[i] for part in parts]) for parts in heard]) for i in (0, 1))
    if keys.shape[1] != len(prompt):
        raise RuntimeError(f"a prompt of {len(prompt)} tokens was prefilled, but {keys.shape[1]} tokens were written")
    return Prefilled(keys, values)


def replay(engine: Engine, prompt: Sequence[int], prefilled: Prefilled) -> None:
    """Write a prompt's keys and values into the engine's cache, and the fields of the program that it serves."""
    with _replaced_forward(engine, prefilled):
        engine.generate([prompt], 1)


def _dtype(engine: Engine) -> torch.dtype:
    dtype = engine.llm.llm_engine.vllm_config.model_config.dtype
    assert isinstance(dtype, torch.dtype), "vLLM has settled the model's type before it makes layers"
    return dtype


def _writes_keys(layer: Any) -> bool:
    write = getattr(getattr(layer, "impl", None), "do_kv_cache_update", None)
    shared = getattr(layer, "kv_sharing_target_layer_name", None)
    return write is not None and shared is None and tuple(inspect.signature(write).parameters) == WRITTEN


@contextmanager
def _heard(impl: Any, parts: list[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[None]:
    """Keep what one layer is given to write, part by part."""
    write = impl.do_kv_cache_update

    def heard(layer: Any, key: torch.Tensor, value: torch.Tensor, kv_cache: Any, slot_mapping: torch.Tensor) -> None:
        num_tokens = len(slot_mapping)
        parts.append((key[:num_tokens].clone(), value[:num_tokens].clone()))
        write(layer, key, value, kv_cache, slot_mapping)

    impl.do_kv_cache_update = heard
    try:
        yield
    finally:
        del impl.do_kv_cache_update  # the class's own shows again


@contextmanager
def _replaced_forward(engine: Engine, prefilled: Prefilled) -> Iterator[None]:
    """Let the model write what is kept instead of computing it; what it says is nothing."""
    from vllm.forward_context import get_forward_context

    from vortex_dsl.serving.layers.mha import VortexImpl

    layers = engine.attention_layers
    hidden_size = engine.llm.llm_engine.vllm_config.model_config.get_hidden_size()

    def forward(input_ids: torch.Tensor, positions: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        context = get_forward_context()
        for i, layer in enumerate(layers):
            slots = context.slot_mapping[layer.layer_name]
            place = positions[: len(slots)]
            each = (kept[i].index_select(0, place) for kept in (prefilled.keys, prefilled.values))
            layer.impl.do_kv_cache_update(layer, *each, layer.kv_cache, slots)
            if isinstance(layer.impl, VortexImpl):
                layer.impl.close_pages(layer.kv_cache, context.attn_metadata[layer.layer_name])  # type: ignore[arg-type, index, call-overload]
        return torch.zeros(len(input_ids), hidden_size, dtype=_dtype(engine))

    engine.llm.apply_model(lambda model: setattr(model, "forward", forward))
    try:
        yield
    finally:
        engine.llm.apply_model(lambda model: delattr(model, "forward"))
