"""Planted selection: queries, keys and values whose truth is known, drawn from a seed.

Every key carries the topic of its segment, a code of its position and noise; the first token is a sink that every query
asks for a little. What else a KV head's queries ask for is its kind: a *needle*, one token somewhere; what is *local*,
the last tokens; or what is *diffuse*, all segments of a topic.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch

from search.evaluator.recall.recordings import Model, Recording, Recordings

NUM_LAYERS, NUM_KV_HEADS, GROUP, HEAD_DIM = 12, 2, 2, 64
NUM_TOKENS, NUM_STEPS = 3072, 16
NUM_NEEDLES, NUM_TOPICS, SEGMENT = 8, 8, 40
FIRST_NEEDLE, LAST_NEEDLE = 64, 256  # tokens from the beginning, and from the end, between which needles lie
PLANES, SHORTEST, LONGEST = 12, 16, 1024  # of the code of positions: pairs of channels, and their periods in tokens


class Trait(NamedTuple):
    """What a key may have: its norm there, and by how much a query that asks for it raises the logit."""

    norm: float
    logit: float

    @property
    def asked(self) -> float:
        """Give the norm of what asks for it, before the softmax scale."""
        return self.logit * math.sqrt(HEAD_DIM) / self.norm


SINK, NEEDLE, LOCAL, DIFFUSE = Trait(6.0, 6.0), Trait(10.0, 9.5), Trait(5.0, 9.0), Trait(5.0, 3.0)


class Kind(StrEnum):
    """What the queries of a KV head ask for."""

    NEEDLE = "needle"
    LOCAL = "local"
    DIFFUSE = "diffuse"


@dataclass(frozen=True)
class Planted:
    """Recordings and their truth.

    kinds: of each layer's KV heads. wanted: bool [step, layer, text, kv_head, token], the tokens that are asked for:
    the needle, the last 32 tokens, or those of the topic.
    """

    recordings: Recordings
    kinds: tuple[tuple[Kind, ...], ...]
    wanted: torch.Tensor


def planted(seed: int, num_documents: int = 8) -> Planted:
    """Draw recordings of some documents."""
    kinds = tuple(tuple(_kind(layer, head) for head in range(NUM_KV_HEADS)) for layer in range(NUM_LAYERS))
    directions = [_directions(seed, layer) for layer in range(NUM_LAYERS)]
    tokens = NUM_TOKENS + NUM_STEPS
    q = torch.empty(NUM_STEPS, NUM_LAYERS, num_documents, NUM_KV_HEADS, GROUP, HEAD_DIM)
    k, v = (torch.empty(NUM_LAYERS, num_documents, NUM_KV_HEADS, tokens, HEAD_DIM) for _ in range(2))
    wanted = torch.zeros(NUM_STEPS, NUM_LAYERS, num_documents, NUM_KV_HEADS, tokens, dtype=torch.bool)
    for text in range(num_documents):
        document = _Document(seed, text)
        for layer, kinds_here in enumerate(kinds):
            for head, kind in enumerate(kinds_here):
                place = (layer, text, head)
                k[place], v[place] = document.keys(directions[layer][head]), document.noise(tokens, HEAD_DIM)
                q[:, *place], wanted[:, *place] = document.queries(directions[layer][head], kind)
    names = tuple(f"document {text}" for text in range(num_documents))
    model = Model(tuple(range(NUM_LAYERS)), NUM_LAYERS, 1 / math.sqrt(HEAD_DIM))
    recording = Recording(NUM_TOKENS, names, q, k.half(), v.half())
    return Planted(Recordings(model, (recording,)), kinds, wanted)


def _kind(layer: int, head: int) -> Kind:
    """Let kinds go round, so that layers next to each other have them all, and every third layer too."""
    return tuple(Kind)[(NUM_KV_HEADS * layer + head + layer // 3) % len(Kind)]


@dataclass(frozen=True)
class _Directions:
    """What stands for what in the keys of one KV head: unit vectors [HEAD_DIM], orthogonal to each other.

    needles and topics: [number, HEAD_DIM]; planes: [2 * PLANES, HEAD_DIM].
    """

    sink: torch.Tensor
    needles: torch.Tensor
    topics: torch.Tensor
    planes: torch.Tensor


def _directions(seed: int, layer: int) -> list[_Directions]:
    rng = torch.Generator().manual_seed(_seed(seed, "layer", layer))
    found = []
    for _ in range(NUM_KV_HEADS):
        basis = torch.linalg.qr(torch.randn(HEAD_DIM, HEAD_DIM, generator=rng)).Q
        sizes = (1, NUM_NEEDLES, NUM_TOPICS, 2 * PLANES)
        sink, needles, topics, planes = basis[: sum(sizes)].split(sizes)
        found.append(_Directions(sink[0], needles, topics, planes))
    return found


class _Document:
    """One text: where its needles lie, and which topic each token has."""

    def __init__(self, seed: int, text: int) -> None:
        self._rng = torch.Generator().manual_seed(_seed(seed, "text", text))
        tokens = NUM_TOKENS + NUM_STEPS
        places = torch.randperm(NUM_TOKENS - FIRST_NEEDLE - LAST_NEEDLE, generator=self._rng)[:NUM_NEEDLES]
        self._needles = FIRST_NEEDLE + places
        segments = torch.randint(NUM_TOPICS, (-(-tokens // SEGMENT),), generator=self._rng)
        self._topics = segments.repeat_interleave(SEGMENT)[:tokens]
        periods = torch.logspace(math.log10(SHORTEST), math.log10(LONGEST), PLANES)
        angles = 2 * math.pi * torch.arange(tokens)[:, None] / periods
        self._code = torch.cat((angles.cos(), angles.sin()), 1) / math.sqrt(PLANES)  # of unit norm

    def noise(self, *shape: int) -> torch.Tensor:
        """Draw standard normal numbers."""
        return torch.randn(*shape, generator=self._rng)

    def keys(self, of: _Directions) -> torch.Tensor:
        """Draw the keys of one KV head: [token, dim]."""
        k = self.noise(NUM_TOKENS + NUM_STEPS, HEAD_DIM)
        k += DIFFUSE.norm * of.topics[self._topics] + LOCAL.norm * self._code @ of.planes
        k[self._needles] += NEEDLE.norm * of.needles
        k[0] += SINK.norm * of.sink
        return k

    def queries(self, of: _Directions, kind: Kind) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the queries of one KV head, [step, head, dim], and say what they ask for, [step, token]."""
        steps, tokens = torch.arange(NUM_STEPS), torch.arange(NUM_TOKENS + NUM_STEPS)
        q = self.noise(NUM_STEPS, GROUP, HEAD_DIM) + SINK.asked * of.sink
        now = NUM_TOKENS + steps
        if kind is Kind.NEEDLE:
            which = torch.randint(NUM_NEEDLES, (NUM_STEPS,), generator=self._rng)
            asked, wanted = NEEDLE.asked * of.needles[which], tokens == self._needles[which][:, None]
        elif kind is Kind.LOCAL:
            asked = LOCAL.asked * self._code[now] @ of.planes
            wanted = (tokens <= now[:, None]) & (tokens > now[:, None] - 32)
        else:
            which = torch.randint(NUM_TOPICS, (NUM_STEPS,), generator=self._rng)
            asked, wanted = DIFFUSE.asked * of.topics[which], self._topics == which[:, None]
        return q + asked[:, None], wanted & (tokens <= now[:, None])


def _seed(*parts: object) -> int:
    """Mix what a draw depends on."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")
