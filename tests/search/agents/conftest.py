"""Contexts as proposers see them, with made-up figures."""

import hashlib

import pytest

from search.admission import admit
from search.agents.drawing.generate import generate
from search.agents.seeds import seed_proposals
from search.archive.archivist import archive_of
from search.config import CampaignConfig
from search.records import Context, Evaluation, EvaluationKey, Measurement, Proposal, Record, Stage, Status

FIGURES = "5"  # draws in which the front has several members, and the leader is a program that can be changed
CONFIG = CampaignConfig(group=2, head_dim=64, ratios=())


def share(*parts):
    """A number in [0, 1) that depends on the parts alone."""
    return int(hashlib.sha256(" ".join(map(str, (FIGURES, *parts))).encode()).hexdigest()[:12], 16) / 16**12


def record_of(proposal, step, seen=frozenset()):
    candidate = admit(proposal, 1, step, CONFIG, seen)
    if candidate.status is not Status.OK:
        return Record(candidate)
    digest = candidate.program_digest
    figures = {
        Stage.CHECK: [("bytes_per_page", 256.0), ("cost_ratio", 1 + 20 * share("cost", step))],
        Stage.ORACLE: [],
        Stage.RECALL: [("mass", 0.8), ("random_mass", 0.2)],
        Stage.PROBE: [("accuracy", share("accuracy", step)), ("pages_attended", 7.0)],
        Stage.SERVE: [("speedup", 0.5 + share("speed", step))],
    }
    evaluations = (
        Evaluation(
            EvaluationKey(digest, stage, "w", "m", "e", "1", 0),
            Status.OK,
            measurements=tuple(Measurement(*pair) for pair in pairs),
        )
        for stage, pairs in figures.items()
    )
    return Record(candidate, tuple(evaluations))


@pytest.fixture(scope="session")
def seeds():
    return [record_of(proposal, step) for step, proposal in enumerate(seed_proposals(CONFIG))]


@pytest.fixture(scope="session")
def records(seeds):
    """Seeds and some descendants, one of them refused."""
    import random

    drawn = [Proposal(generate(random.Random(i), 64, i), "random", "random") for i in range(len(seeds), 24)]
    refused = Proposal("no program\n", "random", "random")
    return (*seeds, *(record_of(p, len(seeds) + i) for i, p in enumerate([*drawn, refused])))


@pytest.fixture(scope="session")
def context_at(records):
    """Make the context of a step."""

    def make(step, seed=5, shown=records):
        seen = frozenset(r.candidate.program_digest for r in shown if r.candidate.program_digest)
        archive = archive_of(shown, CONFIG)
        shape = (CONFIG.group, CONFIG.head_dim)
        return Context(seed, step, tuple(shown), seen, *shape, CONFIG.num_tokens, archive=archive)

    return make
