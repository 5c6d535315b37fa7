"""Small recordings, drawn rather than recorded."""

import pytest
import torch

from search.evaluator.recall.figures import Asking
from search.evaluator.recall.parts import whole
from search.evaluator.recall.recordings import Model, Recording, Recordings

DIM, SCALE = 8, 0.5


def _drawn(length, names=("a",), layers=3, heads=2, group=2, seed=0, steps=6):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, DIM, generator=generator)

    cache = (layers, len(names), heads, length + steps)
    q = 2 * normal(steps, layers, len(names), heads, group)
    return Recording(length, tuple(names), q, normal(*cache), normal(*cache))


def _asking(*recordings, judged_every=1):
    layers = recordings[0].q.shape[1]
    model = Model(tuple(range(layers)), layers, SCALE)
    return Asking(model, whole(Recordings(model, recordings), judged_every))


@pytest.fixture
def drawn():
    """Draw runs after texts of one length."""
    return _drawn


@pytest.fixture
def asking():
    """Say what dense attention makes of recordings in which every layer is recorded, at a scale of 0.5."""
    return _asking
