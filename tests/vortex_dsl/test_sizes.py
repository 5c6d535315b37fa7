"""What a model and a workload may measure: each size that comes from outside has a bound, held before it costs."""

from __future__ import annotations

import time

import pytest
import torch

from vortex_dsl import Shape, attend, cost, decode, load_program, zoo
from vortex_dsl.values import MAX_GROUP, MAX_HEAD_DIM, MAX_HEADS, MAX_LAYERS, MAX_SEQUENCES, MAX_TOKENS, check_size

QUEST = load_program(zoo.text("quest"))
MOST_SECONDS = 1.0


def zeros(*shape: int) -> torch.Tensor:
    """Give a tensor of any size that takes no memory."""
    return torch.zeros(()).expand(shape)


def attended(heads: int, head_dim: int, tokens: int = 16, batch: int = 1, kv_heads: int = 1, **more: int) -> None:
    k = zeros(batch, kv_heads, tokens, head_dim)
    attend(QUEST, zeros(batch, heads, head_dim), k, k, **more)


def decoded(heads: int, head_dim: int, prompt: int = 16, layers: int = 1, batch: int = 1, kv_heads: int = 1) -> None:
    k = zeros(layers, batch, kv_heads, prompt + 1, head_dim)
    decode(QUEST, zeros(1, layers, batch, heads, head_dim), k, k, prompt)


TOO_LARGE = {
    "group of a shape": (lambda: Shape(MAX_GROUP + 1, 64), "group is 257; give a whole number from 1 to 256"),
    "head_dim of a shape": (lambda: Shape(4, 10**9), "head_dim is 1000000000; give a whole number from 1 to 1,024"),
    "nothing": (lambda: Shape(0, 64), "group is 0; give"),
    "negative": (lambda: Shape(4, -64), "head_dim is -64; give"),
    "no whole number": (lambda: Shape(4, 64.0), "head_dim is '64.0'; give"),  # type: ignore[arg-type]
    "a boolean": (lambda: Shape(True, 64), "group is 'True'; give"),
    "digits without end": (lambda: Shape(4, 10**5000), "head_dim is 'a number of very many digits'; give"),
    "tokens of a cost": (lambda: cost(QUEST, Shape(4, 64), MAX_TOKENS + 1), "cost: tokens is 2147483649; give"),
    "half a token": (lambda: cost(QUEST, Shape(4, 64), 0.5), "cost: tokens is '0.5'; give"),  # type: ignore[arg-type]
    "attend: group": (lambda: attended(MAX_GROUP + 1, 8), "group is 257; give"),
    "attend: head_dim": (lambda: attended(1, 10**9), "head_dim is 1000000000; give"),
    "attend: tokens": (lambda: attended(1, 8, tokens=MAX_TOKENS + 1), "attend: tokens is 2147483649; give"),
    "attend: batch": (lambda: attended(1, 8, batch=MAX_SEQUENCES + 1), "attend: batch is 65537; give"),
    "attend: KV heads": (lambda: attended(10**6, 8, kv_heads=10**6), "attend: num_kv_heads is 1000000; give"),
    "attend: no KV heads": (lambda: attended(1, 8, kv_heads=0), "attend: num_kv_heads is 0; give"),
    "attend: layers": (lambda: attended(1, 8, num_layers=MAX_LAYERS + 1), "attend: num_layers is 4097; give"),
    "attend: layer": (lambda: attended(1, 8, layer=3, num_layers=3), "attend: layer is 3; give a whole number from 0"),
    "decode: group": (lambda: decoded(MAX_GROUP + 1, 8), "group is 257; give"),
    "decode: head_dim": (lambda: decoded(1, 10**9), "head_dim is 1000000000; give"),
    "decode: tokens": (lambda: decoded(1, 8, prompt=MAX_TOKENS), "decode: tokens is 2147483649; give"),
    "decode: layers": (lambda: decoded(1, 8, layers=MAX_LAYERS + 1), "decode: layers is 4097; give"),
    "decode: batch": (lambda: decoded(1, 8, batch=MAX_SEQUENCES + 1), "decode: batch is 65537; give"),
    "decode: KV heads": (lambda: decoded(10**6, 8, kv_heads=MAX_HEADS + 1), "decode: num_kv_heads is 65537; give"),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_size_out_of_bounds_is_refused_at_once_with_a_sentence(name: str) -> None:
    call, sentence = TOO_LARGE[name]
    start = time.process_time()
    with pytest.raises(ValueError, match="; give a whole number from") as caught:
        call()
    assert time.process_time() - start < MOST_SECONDS
    assert str(caught.value).startswith(sentence)
    assert len(str(caught.value)) < 120


def test_the_largest_sizes_are_taken() -> None:
    shape = Shape(MAX_GROUP, MAX_HEAD_DIM)
    assert cost(QUEST, shape, MAX_TOKENS).pages_dense == MAX_TOKENS // 16
    check_size("layers", MAX_LAYERS, MAX_LAYERS)
    check_size("nothing", 0, 5, least=0)
