"""A model's attention shape, as vLLM reads it: small configurations with the names that public models use."""

import json

import pytest

from vortex_dsl.serving.config import ServingError
from vortex_dsl.values import MAX_TOKENS

pytestmark = pytest.mark.vllm

LATENT = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
DEEPSEEK = {"model_type": "deepseek_v2", "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 16}
BY_LAYER = {"model_type": "openelm", "model_dim": 1280, "num_query_heads": [12, 16], "num_kv_heads": [3, 4]}
LLAMA = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8}
CONFIGS = {
    "names of its own": ({"model_type": "gpt2", "n_embd": 768, "n_head": 12}, (12, 12, 64, 0)),
    "multi-query": (
        {"model_type": "falcon", "hidden_size": 4544, "num_attention_heads": 71, "multi_query": True},
        (71, 1, 64, 0),
    ),
    "groups": (
        {"model_type": "chatglm", "hidden_size": 4096, "num_attention_heads": 32, "multi_query_group_num": 2},
        (32, 2, 128, 0),
    ),
    "KV heads inside another object": (
        {"model_type": "mpt", "d_model": 4096, "n_heads": 32, "attn_config": {"kv_n_heads": 8}},
        (32, 8, 128, 0),
    ),
    "a text model inside": ({"model_type": "llama4", "text_config": {**LLAMA, "head_dim": 128}}, (32, 8, 128, 0)),
    "a text model inside an unknown one": ({"model_type": "unheard-of", "llm_config": LLAMA}, (32, 8, 128, 0)),
    "latents": ({**DEEPSEEK, **LATENT}, (16, 1, 576, 512)),
    "heads that are made of latents before attention": (
        {
            "model_type": "minicpm3", "hidden_size": 2560, "num_attention_heads": 40, "num_key_value_heads": 40,
            "kv_lora_rank": 256, "qk_rope_head_dim": 32, "qk_nope_head_dim": 64, "v_head_dim": 64,
        },
        (40, 40, 96, 0),
    ),
    "lists per layer": ({**BY_LAYER, "head_dim": 64}, (12, 3, 64, 0)),
    "layers that differ: what most have": (
        {"num_attention_heads": [8, 16, 16], "num_key_value_heads": 4, "head_dim": 64},
        (16, 4, 64, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shape_is_what_vllm_serves(name, tmp_path):
    from vortex_dsl.serving.shapes import ModelShape, read_shape

    config, expected = CONFIGS[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_shape(tmp_path) == ModelShape(*expected)


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    from vortex_dsl.serving.shapes import read_shape

    config = {"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}, **LLAMA}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "configuration_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert read_shape(tmp_path).group == 4
    assert not (tmp_path / "ran").exists()


def test_a_latent_model_has_one_kv_head_for_all_its_queries():
    from vortex_dsl.serving.shapes import ModelShape

    assert ModelShape(16, 1, 576, 512).group == 16


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 1, 64), "reads 0 as num_attention_heads"),
        ((True, 1, 64), "reads True as num_attention_heads"),
        ((8, 3, 64), "8 query heads are no multiple of 3 KV heads"),
        ((512, 1, 64), "at most 256 heads of 1024"),
        ((8, 8, 2048), "at most 256 heads of 1024"),
    ],
)
def test_a_shape_that_no_program_can_have_is_refused(numbers, message):
    from vortex_dsl.serving.shapes import ModelShape

    with pytest.raises(ServingError, match=message):
        ModelShape(*numbers)


ROPE = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 1000}


@pytest.mark.parametrize(
    ("config", "num_layers", "max_tokens", "vocab_size"),
    [
        ({"model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 7, "n_ctx": 9, "n_positions": 8}, 7, 8, 50257),
        ({**BY_LAYER, "head_dim": 64, "num_transformer_layers": 2, "vocab_size": 9}, 2, MAX_TOKENS, 9),
        ({**ROPE, "num_hidden_layers": 3, "vocab_size": 50}, 3, 1000, 50),
        ({**ROPE, "num_hidden_layers": 3, "rope_scaling": {"type": "linear", "factor": 4}}, 3, 4000, 32000),
        ({**DEEPSEEK, **LATENT, "num_hidden_layers": 5}, 5, 2048, 102400),
        (
            {"model_type": "unheard-of", "llm_config": {**LLAMA, "num_hidden_layers": 4, "vocab_size": 8}},
            4,
            MAX_TOKENS,
            8,
        ),
    ],
)
def test_layers_tokens_and_vocabulary_are_what_vllm_serves(tmp_path, config, num_layers, max_tokens, vocab_size):
    from vortex_dsl.serving.shapes import read_model, read_shape

    (tmp_path / "config.json").write_text(json.dumps(config))
    found = read_model(tmp_path)
    assert (found.num_layers, found.max_tokens, found.vocab_size) == (num_layers, max_tokens, vocab_size)
    assert found.shape == read_shape(tmp_path)
