"""A Llama in a GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) as transformers saves models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path

    from gguf import GGUFReader
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, PreTrainedTokenizerFast

BYTE_LEVEL_BPE, SINGLE_DIGITS = (
    "gpt2",
    "smollm",
)  # kinds of tokenizer and of what splits text before it, by GGUF's names
CONTROL = 3  # the type of tokens that stand for no text
OF_THE_MODEL = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
OF_A_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(file: Path, folder: Path) -> None:
    """Write configuration, tokenizer and weights in float32 into a folder.

    float32 is what the format defines: four bits times a scale in float16, plus a minimum in float16, has more digits
    than bfloat16 holds. Raises ValueError or KeyError where the file holds something else than such a model.
    """
    from gguf import GGUFReader
    from safetensors.torch import save_file

    reader = GGUFReader(file)
    config = _config(reader)
    config.save_pretrained(folder)
    _tokenizer(reader, config.max_position_embeddings).save_pretrained(folder)
    save_file(_weights(reader, config), folder / "model.safetensors", metadata={"format": "pt"})


def _value(reader: GGUFReader, name: str) -> Any:
    return reader.fields[name].contents()


def _config(reader: GGUFReader) -> LlamaConfig:
    from transformers import LlamaConfig

    architecture = _value(reader, "general.architecture")
    if architecture != "llama":
        raise ValueError(f"its architecture is {architecture!r}, where a llama was expected")
    numbers = {
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "head_dim": "rope.dimension_count",
        "max_position_embeddings": "context_length",
        "vocab_size": "vocab_size",
        "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    }
    return LlamaConfig(
        **{name: _value(reader, f"llama.{gguf}") for name, gguf in numbers.items()},
        **{f"{name}_token_id": i for name, i in _special_ids(reader).items() if name != "unk"},
        rope_parameters={"rope_type": "default", "rope_theta": _value(reader, "llama.rope.freq_base")},
        tie_word_embeddings=all(tensor.name != "output.weight" for tensor in reader.tensors),
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    )


def _special_ids(reader: GGUFReader) -> dict[str, Any]:
    names = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
    return {name: _value(reader, f"tokenizer.ggml.{gguf}_token_id") for name, gguf in names.items()}


def _tokenizer(reader: GGUFReader, max_tokens: int) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    vocabulary = _value(reader, "tokenizer.ggml.tokens")
    special = {f"{name}_token": vocabulary[i] for name, i in _special_ids(reader).items()}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_byte_level_bpe(reader, vocabulary),
        model_max_length=max_tokens,
        clean_up_tokenization_spaces=False,
        **special,
    )
    tokenizer.chat_template = _value(reader, "tokenizer.chat_template")
    return tokenizer


def _byte_level_bpe(reader: GGUFReader, vocabulary: list[str]) -> Tokenizer:
    """Give GPT-2's byte-level BPE, with each digit split off beforehand."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kinds = tuple(_value(reader, f"tokenizer.ggml.{name}") for name in ("model", "pre"))
    if kinds != (BYTE_LEVEL_BPE, SINGLE_DIGITS):
        raise ValueError(f"its tokenizer is {kinds}, where {(BYTE_LEVEL_BPE, SINGLE_DIGITS)} was expected")
    merges = [tuple(pair.split(" ")) for pair in _value(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(vocabulary)}, merges))
    digits, byte_level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    types = _value(reader, "tokenizer.ggml.token_type")
    control = [token for token, kind in zip(vocabulary, types, strict=True) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


def _weights(reader: GGUFReader, config: LlamaConfig) -> dict[str, torch.Tensor]:
    """Give the state of a LlamaForCausalLM, dequantised."""
    from gguf import dequantize

    q, kv = config.num_attention_heads, config.num_key_value_heads or config.num_attention_heads
    heads = {"attn_q": q, "attn_k": kv}
    state = {}
    for tensor in reader.tensors:
        name, _, kind = tensor.name.rpartition(".")
        weight = torch.tensor(dequantize(tensor.data, tensor.tensor_type))  # a copy: norms still lie in the file
        part = name.rpartition(".")[2]
        state[f"{_name(name)}.{kind}"] = _halves(weight, heads[part]) if part in heads else weight
    return state


def _name(name: str) -> str:
    """Give the name in transformers of what GGUF calls "blk.7.attn_q" or "token_embd"."""
    if not name.startswith("blk."):
        return OF_THE_MODEL[name]
    _, layer, part = name.split(".")
    return f"model.layers.{layer}.{OF_A_LAYER[part]}"


def _halves(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Order a projection's rows as transformers rotates them: what GGUF keeps in pairs, in two halves of each head.

    weight: [num_heads * head_dim, hidden_size], rows 2i and 2i + 1 of a head rotated together; then i and
    i + head_dim / 2.
    """
    rows, width = weight.shape
    pairs = weight.view(num_heads, rows // num_heads // 2, 2, width)
    return pairs.transpose(1, 2).reshape(rows, width).contiguous()
