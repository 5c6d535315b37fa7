"""What a model has, read from its folder."""

import json
import shutil

import pytest

from search.evaluator.models import ModelError, model_digest, model_facts

LAYERS = {"num_hidden_layers": 2, "vocab_size": 100}
NULLS = {"num_key_value_heads": None, "head_dim": None}


@pytest.mark.parametrize(
    ("config", "group", "head_dim"),
    [
        ({"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2}, 2, 64),
        ({"hidden_size": 9, "num_attention_heads": 4, "head_dim": 128}, 1, 128),
        ({"hidden_size": 8, "num_attention_heads": 2, **NULLS}, 1, 4),
    ],
)
def test_a_models_shape(tmp_path, config, group, head_dim):
    (tmp_path / "config.json").write_text(json.dumps(config | LAYERS))
    facts = model_facts(tmp_path)
    assert (facts.group, facts.head_dim) == (group, head_dim)
    assert (facts.num_layers, facts.vocab_size) == (2, 100)


def test_all_facts_of_another_model(tiny_llama):
    facts = model_facts(tiny_llama, "tiny")
    assert (facts.name, facts.folder, facts.digest) == ("tiny", tiny_llama, model_digest(tiny_llama))
    assert facts.architecture == "LlamaForCausalLM"
    assert (facts.num_layers, facts.num_q_heads, facts.num_kv_heads) == (3, 6, 2)
    assert (facts.group, facts.head_dim) == (3, 32)
    assert (facts.max_tokens, facts.vocab_size) == (2048, 448)
    assert model_facts(tiny_llama).name == str(tiny_llama)


def test_facts_follow_the_file(tiny_llama, tmp_path):
    shutil.copy(tiny_llama / "config.json", tmp_path)
    before = model_facts(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    after = model_facts(tmp_path)
    assert (before.num_layers, after.num_layers) == (3, 5)
    assert before.digest != after.digest


def test_a_model_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        model_facts(tmp_path / "nowhere")


def test_a_model_that_takes_too_few_tokens_is_refused_with_both_figures(tiny_llama):
    facts = model_facts(tiny_llama, "tiny")
    facts.require_tokens(2048)
    with pytest.raises(ModelError, match="need 2,049 tokens, prompt and answer, but the model tiny takes 2,048;"):
        facts.require_tokens(2049)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ('{"num_attention_heads": 0, "hidden_size": 8}', "reads 0 as num_attention_heads"),
        ('{"num_attention_heads": "8", "hidden_size": 8}', "no attention shape can be read"),
        ('{"num_attention_heads": 8, "num_key_value_heads": 0, "hidden_size": 8}', "reads 0 as num_key_value_heads"),
        ('{"num_attention_heads": 7, "num_key_value_heads": 2, "hidden_size": 8}', "no multiple"),
        ('{"num_attention_heads": 8, "head_dim": -3}', "reads 0 as head_dim"),
        ('{"num_attention_heads": 8, "hidden_size": 16384}', "of 2048 channels"),
        ('{"num_attention_heads": 257, "num_key_value_heads": 1, "head_dim": 64}', "257 query heads per KV head"),
        ('{"num_attention_heads": [4, 8], "num_key_value_heads": [2], "head_dim": 64}', "shorter"),
        ('{"num_attention_heads": [], "head_dim": 64}', "a list of heads per layer is empty"),
        ('{"model_type": "llama", "num_attention_heads": 0}', "division"),
        ('{"model_type": "llama", "num_attention_heads": "8"}', "expected int, got str"),
        ('{"model_type": "mamba", "hidden_size": 64}', "reads 0 as"),
        ('{"num_attention_heads": 8}', "reads 0 as head_dim"),
        ('{"num_attention_heads": 8, "head_dim": 8, "vocab_size": 9}', "num_hidden_layers is 0"),
        ('{"num_attention_heads": 8, "head_dim": 8, "num_hidden_layers": 9}', "vocab_size is 0"),
        (
            '{"num_attention_heads": 8, "head_dim": 8, "num_hidden_layers": 9, "vocab_size": 9, "max_seq_len": 0}',
            "takes is 0",
        ),
    ],
)
def test_a_model_that_does_not_say_its_shape_is_refused(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        model_facts(tmp_path)
