"""A small recording: two documents of a model of eight layers, drawn at random with a page that each step asks for."""

import pytest
import torch

from benchmarks.search.problems import split
from search.evaluator.recall.recordings import Model, Recording, Recordings

NUM_LAYERS, NUM_TOKENS, NUM_STEPS = 8, 640, 9


def recorded(seed=0, documents=("one", "two"), num_layers=NUM_LAYERS):
    """Make a recording whose keys have page means that queries ask for."""
    rng = torch.Generator().manual_seed(seed)
    tokens, texts = NUM_TOKENS + NUM_STEPS, len(documents)
    k = torch.randn(num_layers, texts, 1, tokens, 16, generator=rng)
    v = torch.randn(num_layers, texts, 1, tokens, 16, generator=rng)
    q = torch.randn(NUM_STEPS, num_layers, texts, 1, 2, 16, generator=rng)
    wanted = torch.randint(2, NUM_TOKENS // 16 - 3, (num_layers, texts), generator=rng)
    for layer in range(num_layers):
        for text in range(texts):
            page = slice(16 * int(wanted[layer, text]), 16 * int(wanted[layer, text]) + 16)
            k[layer, text, 0, page] += 0.7 * torch.ones(16)
            q[:, layer, text] += 0.7 * torch.ones(16)
    model = Model(tuple(range(num_layers)), num_layers, 0.25)
    return Recordings(model, (Recording(NUM_TOKENS, tuple(documents), q, k.half(), v.half()),))


@pytest.fixture(scope="session")
def selection():
    """A recording in two parts."""
    return split("recorded", "a digest", recorded())
