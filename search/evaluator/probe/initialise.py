"""The probe model's shape, and weights that already hold the outline of an induction circuit.

The width is read as four quarters of 64: a token's identity, the identity of the token before it, the value that was
looked up, and room to learn. Layer 0 attends to the previous token and copies its identity; layer 1 matches the current
identity with those copies, and writes the identity of the token that it finds where the output head reads. From there
training takes minutes on one CPU core; from random weights the circuit may take hours to form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from search.evaluator.probe.chains import VOCABULARY, token_ids

if TYPE_CHECKING:
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention

HEAD_DIM, NUM_Q_HEADS, NUM_KV_HEADS, WIDTH = 64, 4, 2, 256
ROPE_THETA = 1e6
MAX_TOKENS = 32768  # serving benchmarks run longer contexts than the model can answer in

NUM_PLANES = HEAD_DIM // 2
FAST = range(NUM_PLANES // 2)  # rotary planes that turn quickly: they tell positions apart
SLOW = range(NUM_PLANES // 2, NUM_PLANES)  # nearly still over 2K tokens: they compare contents
STRENGTH = 8.0  # what one fast plane adds to the score of the previous token
MATCH = 3.0  # scale of the queries and keys that compare identities

IDENTITY, PREVIOUS, FOUND = slice(0, 64), slice(64, 128), slice(128, 192)


def make_config() -> Qwen2Config:
    """Give the configuration: Qwen2, 2 layers, 1.08 M parameters."""
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=len(VOCABULARY),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=NUM_Q_HEADS,
        num_key_value_heads=NUM_KV_HEADS,
        max_position_embeddings=MAX_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=False,
        use_cache=True,
        bos_token_id=token_ids("<s>")[0],
        eos_token_id=None,
        pad_token_id=None,
        dtype="float32",
    )


def make_model(seed: int) -> Qwen2ForCausalLM:
    """Give a model with the circuit's outline in its weights and small noise everywhere else."""
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(make_config())
    with torch.no_grad():
        _spread_identities(model)
        _attend_to_previous(model.model.layers[0].self_attn)
        _match_identities(model.model.layers[1].self_attn)
    return model


def _spread_identities(model: Qwen2ForCausalLM) -> None:
    """Give each token a random identity, and let the output head look for it among what was found."""
    identity = torch.randn(len(VOCABULARY), HEAD_DIM)
    model.model.embed_tokens.weight[:, IDENTITY] = identity
    model.lm_head.weight[:, FOUND] = identity / HEAD_DIM**0.5


def _attend_to_previous(attention: Qwen2Attention) -> None:
    """Let every head score a key by its distance alone, best at one, and copy the identity found there.

    A constant query and a constant key, turned against each other by one step, give a sum of cosines of
    (distance - 1) times each plane's frequency.
    """
    frequency = ROPE_THETA ** (-torch.arange(NUM_PLANES) / NUM_PLANES)
    length = (STRENGTH * HEAD_DIM**0.5) ** 0.5
    for plane in FAST:
        query, key = attention.q_proj.bias.view(-1, HEAD_DIM), attention.k_proj.bias.view(-1, HEAD_DIM)
        query[:, plane] = length
        key[:, plane] = length * torch.cos(frequency[plane])
        key[:, plane + NUM_PLANES] = length * torch.sin(frequency[plane])
    _copy(attention, PREVIOUS)


def _match_identities(attention: Qwen2Attention) -> None:
    """Compare the current identity with the copies of previous ones, in the slow planes of each KV head."""
    dims = [*SLOW, *(plane + NUM_PLANES for plane in SLOW)]
    group = NUM_Q_HEADS // NUM_KV_HEADS
    for kv_head in range(NUM_KV_HEADS):
        basis = torch.linalg.qr(torch.randn(HEAD_DIM, HEAD_DIM))[0][: len(dims)] * MATCH
        _rows(attention.k_proj, kv_head)[dims, PREVIOUS] += basis
        for head in range(kv_head * group, (kv_head + 1) * group):
            _rows(attention.q_proj, head)[dims, IDENTITY] += basis
    _copy(attention, FOUND)


def _copy(attention: Qwen2Attention, target: slice) -> None:
    """Let the values be identities, and write their mean over the heads into the target quarter."""
    for kv_head in range(NUM_KV_HEADS):
        _rows(attention.v_proj, kv_head)[:, IDENTITY] += torch.eye(HEAD_DIM)
    for head in range(NUM_Q_HEADS):
        columns = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        attention.o_proj.weight[target, columns] += torch.eye(HEAD_DIM) / NUM_Q_HEADS


def _rows(projection: torch.nn.Linear, head: int) -> torch.Tensor:
    """Give the view of a projection's weight that belongs to one head: [head_dim, width]."""
    return projection.weight[head * HEAD_DIM : (head + 1) * HEAD_DIM]
