"""Candidates whose log KL is known to hang on what a few of their layers lose."""

import math
import random
from types import SimpleNamespace

import pytest

from search.records import Candidate, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status

RATIO, NUM_LAYERS = 8.0, 12
WEIGHTS = [0.0] * 9 + [0.2, 1.0, 0.5]  # of layers
NOISE = 0.1  # deviation of log KL


def evaluation(stage, figures, status=Status.OK):
    key = EvaluationKey("p", stage, "w", "m", "e", "1", 0)
    return Evaluation(key, status, measurements=tuple(Measurement(*each) for each in figures.items()), ratio=RATIO)


def candidate(step, lost, log_kl=None, operator="random"):
    """Give a record whose layers err so much, with a KL if it was in an engine."""
    errors = {f"error_layer_{i}": each for i, each in enumerate(lost)}
    mean = 1 - math.fsum(lost) / len(lost)
    found = [evaluation(Stage.RECALL, {"mass": mean, **errors})]
    if log_kl is not None:
        found.append(evaluation(Stage.FIDELITY, {"kl": math.exp(log_kl)}))
    return Record(Candidate(1, step, Proposal("", "random", operator), Status.OK), tuple(found))


def drawn(num, seed=0, noise=NOISE):
    """Draw records with results, and the log KL of each without its noise."""
    rng = random.Random(seed)
    records, truth = [], []
    for step in range(num):
        lost = [rng.uniform(0.02, 0.6) for _ in range(NUM_LAYERS)]
        truth.append(math.fsum(w * math.log(each) for w, each in zip(WEIGHTS, lost, strict=True)))
        records.append(candidate(step, lost, truth[-1] + rng.gauss(0, noise)))
    return records, truth


@pytest.fixture
def make():
    return SimpleNamespace(candidate=candidate, drawn=drawn, evaluation=evaluation)
