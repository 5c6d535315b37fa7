"""Tiny models with multi-head latent attention and random weights, in the shapes that vLLM's CPU kernel takes.

The latent is as wide as in the published models, 512 channels and 64 rotated ones; everything else is small. Weights
are drawn wide enough for attention to be sharp and for greedy tokens to have a margin.
"""

import json

LATENT = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 32, "v_head_dim": 32}
SMALL = {
    "vocab_size": 256, "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 4096, "n_shared_experts": 1,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "initializer_range": 0.15, "n_group": 1, "topk_group": 1,
}  # fmt: skip


def save(kind, folder):
    """Write a model of two layers, a dense one and one of experts; `kind` is deepseek_v2 or glm4_moe_lite."""
    import torch
    from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, Glm4MoeLiteConfig, Glm4MoeLiteForCausalLM

    torch.manual_seed(1)
    if kind == "deepseek_v2":
        model = DeepseekV2ForCausalLM(DeepseekV2Config(q_lora_rank=None, first_k_dense_replace=1, **SMALL, **LATENT))
    else:
        layers = ["dense", "sparse"]
        model = Glm4MoeLiteForCausalLM(Glm4MoeLiteConfig(q_lora_rank=48, mlp_layer_types=layers, **SMALL, **LATENT))
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"first_k_dense_replace": 1}))
    return str(folder)
