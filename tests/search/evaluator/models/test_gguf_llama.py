"""From a GGUF file to a folder: one is written with the format's own library, and what comes back is compared."""

import json

import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, dequantize, quantize
from safetensors.torch import load_file

from search.evaluator.models import gguf_llama

Q8 = GGMLQuantizationType.Q8_0
CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
SPECIAL = {"bos": 0, "eos": 1, "padding": 1, "unknown": 0}


def in_pairs(weight, num_heads):
    """Order the rows of a projection as GGUF keeps them: those that are rotated together beside each other."""
    return weight.reshape(num_heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def written(file, folder, architecture="llama", splitter="smollm"):
    """Write a model's folder as GGUF, matrices in eight bits; give the state that can be read back."""
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())["model"]
    writer = GGUFWriter(file, architecture)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    tokens = [*tokenizer["vocab"], *(f"<unused{i}>" for i in range(config["vocab_size"] - len(tokenizer["vocab"])))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitter)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if i in SPECIAL.values() else 1 for i in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["merges"]])
    for name, number in SPECIAL.items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", number)
    writer.add_chat_template(CHAT)
    expected = _add_weights(writer, load_file(folder / "model.safetensors"), config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def _add_weights(writer, state, config):
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    names = {hf: gguf for gguf, hf in (gguf_llama.OF_THE_MODEL | gguf_llama.OF_A_LAYER).items()}
    expected = {}
    for name, weight in state.items():
        place = name.removesuffix(".weight").split(".")
        gguf = f"blk.{place[2]}.{names['.'.join(place[3:])]}" if "layers" in place else names[".".join(place)]
        if weight.ndim == 1:
            writer.add_tensor(f"{gguf}.weight", weight.numpy())
            expected[name] = weight
            continue
        stored = quantize(weight.numpy(), Q8)
        expected[name] = torch.tensor(dequantize(stored, Q8))
        if place[-1] in heads:
            stored = in_pairs(stored, heads[place[-1]])
        writer.add_tensor(f"{gguf}.weight", stored, raw_dtype=Q8)
    return expected


def test_weights_and_configuration_come_back(tiny_llama, tmp_path):
    expected = written(tmp_path / "model.gguf", tiny_llama)
    (tmp_path / "out").mkdir()
    gguf_llama.convert(tmp_path / "model.gguf", tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (tiny_llama, tmp_path / "out"))
    kept = set(before) - {"pad_token_id", "rms_norm_eps", "transformers_version"}
    assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}
    assert after["rms_norm_eps"] == pytest.approx(before["rms_norm_eps"])


def test_the_tokenizer_comes_back(tiny_llama, tmp_path):
    from transformers import AutoTokenizer

    written(tmp_path / "model.gguf", tiny_llama)
    (tmp_path / "out").mkdir()
    gguf_llama.convert(tmp_path / "model.gguf", tmp_path / "out")
    own, other = (
        AutoTokenizer.from_pretrained(folder, local_files_only=True) for folder in (tiny_llama, tmp_path / "out")
    )
    text = "The harbour, on a single day:\n\tGrüße."
    assert other.encode(text) == own.encode(text, add_special_tokens=False)
    assert (other.bos_token, other.eos_token, other.pad_token) == (own.bos_token, own.eos_token, own.eos_token)
    assert other.apply_chat_template([{"content": "hi"}], tokenize=False) == "hi"
    assert other.tokenize("43") == ["4", "3"]


@pytest.mark.parametrize(
    ("what", "message"),
    [({"architecture": "qwen2"}, "architecture is 'qwen2'"), ({"splitter": "gpt-2"}, "tokenizer is")],
)
def test_another_kind_of_model_is_refused(tiny_llama, tmp_path, what, message):
    written(tmp_path / "model.gguf", tiny_llama, **what)
    with pytest.raises(ValueError, match=message):
        gguf_llama.convert(tmp_path / "model.gguf", tmp_path)
