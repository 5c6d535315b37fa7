"""The probe model's shape, and weights that already hold the outline of its circuit.

The width is read as four quarters of 64: a symbol's identity, the identity of the name before it, the symbol that was
looked up, and an alias's identity. Layer 0 attends to the previous token, past the word that joins names, and copies
the identity found there. Layer 1 matches the current symbol with those copies: its first KV head copies the symbol that
it finds to where the output head reads, its second an alias to where layer 2 asks. Layer 2 matches that alias, and
copies its symbol to the output. From there training takes minutes on one CPU core; from random weights the circuit may
take hours to form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from search.evaluator.probe.vocabulary import ALIASES, JOINS, NAMES, SYMBOLS, VOCABULARY, token_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention

HEAD_DIM, NUM_Q_HEADS, NUM_KV_HEADS, WIDTH = 64, 4, 2, 256
NUM_LAYERS, FEED_FORWARD = 3, 64
ROPE_THETA = 1e8
MAX_TOKENS = 32768  # serving benchmarks run longer contexts than the model can answer in

NUM_PLANES = HEAD_DIM // 2
FAST = range(12)  # rotary planes that turn quickly: they tell positions apart
RECENT = 12  # turns by two radians over 2K tokens: prefers what stands later
SLOW = range(13, 31)  # nearly still over 2K tokens: they compare contents
STILL = 31  # the slowest: tells kinds of words apart
CLOSE = 10.0  # what one fast plane adds to the score of the previous token
LATER = 8.0  # times 1.7, by how much the latest of 2K tokens is preferred to the first
MATCH = 3.0  # scale of the queries and keys that compare identities
PASSED = 45.0  # what a joining word loses in layer 0
SHUNNED = 20.0  # what a word that is no name loses where values are looked up

IDENTITY, PREVIOUS, FOUND, ALIAS = slice(0, 64), slice(64, 128), slice(128, 192), slice(192, 256)
IS_JOIN, IS_NO_NAME = FOUND.start, FOUND.start + 1  # free in embeddings; at hops they are 0
FLAG = 4.0
BIAS = HEAD_DIM**0.25  # a query's and a key's share of a score of 1, which is their product over sqrt(head_dim)


def make_config() -> Qwen2Config:
    """Give the configuration: Qwen2, 3 layers, 1.09 M parameters."""
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=len(VOCABULARY),
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=NUM_LAYERS,
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
    previous, first, second = (layer.self_attn for layer in model.model.layers)
    with torch.no_grad():
        _spread_identities(model)
        _attend_to_previous(previous)
        for attention, asked in ((first, IDENTITY), (second, ALIAS)):
            _prefer_later(attention)
            _penalise(attention, IS_NO_NAME, SHUNNED)
            _match(attention, asked)
        _copy(first, [(IDENTITY, FOUND), (ALIAS, ALIAS)])
        _copy(second, [(IDENTITY, FOUND), (IDENTITY, FOUND)])
    return model


def _spread_identities(model: Qwen2ForCausalLM) -> None:
    """Give each word a random identity, and let the output head look for the symbols' among what was found."""
    embedding, symbols = model.model.embed_tokens.weight, token_ids(" ".join(SYMBOLS))
    aliases, joins = token_ids(" ".join(ALIASES)), token_ids(" ".join(JOINS))
    others = token_ids(" ".join(word for word in VOCABULARY if word not in NAMES))
    identity = torch.randn(len(VOCABULARY), HEAD_DIM)
    embedding[:, IDENTITY] = identity
    embedding[aliases, ALIAS] = identity[aliases]
    embedding[aliases, IDENTITY] = 0.0
    embedding[joins, IS_JOIN] = FLAG
    embedding[others, IS_NO_NAME] = FLAG
    model.lm_head.weight[symbols, FOUND] = identity[symbols] / HEAD_DIM**0.5


def _attend_to_previous(attention: Qwen2Attention) -> None:
    """Let every head score a key by its distance alone, best at one, and copy the identity found there.

    A constant query and a constant key, turned against each other by one step, give a sum of cosines of
    (distance - 1) times each plane's frequency.
    """
    query, key = _biases(attention)
    for plane in FAST:
        angle = torch.tensor(ROPE_THETA ** (-plane / NUM_PLANES))
        query[:, plane] = CLOSE**0.5 * BIAS
        key[:, plane] = CLOSE**0.5 * BIAS * torch.cos(angle)
        key[:, plane + NUM_PLANES] = CLOSE**0.5 * BIAS * torch.sin(angle)
    _penalise(attention, IS_JOIN, PASSED)
    _copy(attention, [(IDENTITY, PREVIOUS), (IDENTITY, PREVIOUS)])
    for kv_head in range(NUM_KV_HEADS):
        _rows(attention.v_proj, kv_head)[:, ALIAS] += torch.eye(HEAD_DIM)


def _prefer_later(attention: Qwen2Attention) -> None:
    """Let the score fall with the distance, by the steep part of one slow cosine."""
    query, key = _biases(attention)
    ahead = torch.tensor(0.5)
    query[:, RECENT] = LATER**0.5 * BIAS
    key[:, RECENT] = LATER**0.5 * BIAS * torch.cos(ahead)
    key[:, RECENT + NUM_PLANES] = -(LATER**0.5) * BIAS * torch.sin(ahead)


def _penalise(attention: Qwen2Attention, flag: int, loss: float) -> None:
    """Lower the score of keys that carry a flag, by about `loss`, in the plane that stands still."""
    query, _ = _biases(attention)
    query[:, STILL] = loss**0.5 * BIAS
    for kv_head in range(NUM_KV_HEADS):
        _rows(attention.k_proj, kv_head)[STILL, flag] -= loss**0.5 * BIAS / FLAG


def _match(attention: Qwen2Attention, asked: slice) -> None:
    """Compare a quarter of the query's token with the copies of previous identities, in the slow planes."""
    dims = [*SLOW, *(plane + NUM_PLANES for plane in SLOW)]
    group = NUM_Q_HEADS // NUM_KV_HEADS
    for kv_head in range(NUM_KV_HEADS):
        basis = torch.linalg.qr(torch.randn(HEAD_DIM, HEAD_DIM))[0][: len(dims)] * MATCH
        _rows(attention.k_proj, kv_head)[dims, PREVIOUS] += basis
        for head in range(kv_head * group, (kv_head + 1) * group):
            _rows(attention.q_proj, head)[dims, asked] += basis


def _copy(attention: Qwen2Attention, pairs: Sequence[tuple[slice, slice]]) -> None:
    """Let each KV head's values be one quarter, and write their mean over the heads that copy to it into another."""
    targets = [target for _, target in pairs for _ in range(NUM_Q_HEADS // NUM_KV_HEADS)]
    for kv_head, (source, _) in enumerate(pairs):
        _rows(attention.v_proj, kv_head)[:, source] += torch.eye(HEAD_DIM)
    for head, target in enumerate(targets):
        columns = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        attention.o_proj.weight[target, columns] += torch.eye(HEAD_DIM) / targets.count(target)


def _biases(attention: Qwen2Attention) -> tuple[torch.Tensor, torch.Tensor]:
    """Give views of the queries' and of the keys' biases: [head, head_dim] each."""
    return attention.q_proj.bias.view(-1, HEAD_DIM), attention.k_proj.bias.view(-1, HEAD_DIM)


def _rows(projection: torch.nn.Linear, head: int) -> torch.Tensor:
    """Give the view of a projection's weight that belongs to one head: [head_dim, width]."""
    return projection.weight[head * HEAD_DIM : (head + 1) * HEAD_DIM]
