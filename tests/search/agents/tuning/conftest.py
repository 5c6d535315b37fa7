"""Campaigns with a rule to tune, whose mass hangs on its numbers in a known way."""

import math
from types import SimpleNamespace

import pytest

from search.admission import admit, check, digests
from search.archive.archivist import archive_of
from search.config import CampaignConfig
from search.records import (
    Context,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Measurement,
    Proposal,
    Record,
    Stage,
    Status,
)

RATIO = 8.0
CONFIG = CampaignConfig(group=2, head_dim=64, ratios=(RATIO,), seeds=())
NUM_LAYERS = 4

BLEND = '''from vortex_dsl import Float, Int, Program, dot, topk


class Blend(Program):
    """Rank pages by a blend."""

    pages = Int(4, low=1, high=1024, log=True)
    dense_layers = Int(0, 0, 8)
    keys = Float({keys}, low=0.0, high=1.0)
    {more}
    def summarize(self, k, v):
        return {{"key": k.mean("token").to("int4"), "value": v.mean("token").to("int4")}}

    def select(self, q, page):
        score = self.keys * dot(q, page.key, "dim") + (1.0 - self.keys) * dot(q, page.value, "dim")
        return topk(score.max("head"), self.pages)
'''


def blend(keys=0.5, more="", name="Blend"):
    return BLEND.format(keys=keys, more=more).replace("class Blend", f"class {name}")


def key(stage):
    return EvaluationKey("p", stage, "w", "m", "e", "1", 0)


def lost(values):
    """How much of the mass is lost: least at keys = 0.8 and sink = 1."""
    return 0.1 + 0.5 * (values.get("keys", 0.5) - 0.8) ** 2 + 0.02 * abs(values.get("sink", 1) - 1)


def measured(proposal, step, seen=frozenset(), *, in_engine=True):
    """Give the record of a proposal, measured as `lost` has it."""
    from search.agents.tuning.skeleton import skeleton_of

    candidate = admit(proposal, 1, step, CONFIG, seen)
    if candidate.status is not Status.OK:
        return Record(candidate)
    workload = CONFIG.workload(Stage.CHECK, RATIO)
    checked = check(EvaluationTask(key(Stage.CHECK), proposal.text, proposal.values, workload), CONFIG)
    if checked.status is not Status.OK:
        return Record(candidate, (checked,))
    loss = lost(dict(skeleton_of(proposal.text, proposal.values).values))
    errors = [Measurement(f"error_layer_{i}", loss * (1 + 0.1 * i)) for i in range(NUM_LAYERS)]
    recall = Evaluation(key(Stage.RECALL), Status.OK, "", (Measurement("mass", 1 - loss), *errors), ratio=RATIO)
    fidelity = Evaluation(key(Stage.FIDELITY), Status.OK, "", (Measurement("kl", loss**2),), ratio=RATIO)
    return Record(candidate, (checked, recall, fidelity) if in_engine else (checked, recall))


def context(records, step=None, seed=0):
    seen = {d for r in records if r.candidate.status is Status.OK
            for d in digests(r.candidate.proposal, CONFIG.terms, CONFIG.ratios)}  # fmt: skip
    step = len(records) if step is None else step
    shape = (CONFIG.group, CONFIG.head_dim, CONFIG.num_tokens, CONFIG.num_layers, CONFIG.terms.lengths, CONFIG.ratios)
    return Context(seed, step, tuple(records), frozenset(seen), *shape, archive=archive_of(records, CONFIG))


@pytest.fixture
def house():
    return SimpleNamespace(
        blend=blend,
        measured=measured,
        context=context,
        lost=lost,
        ratio=RATIO,
        key=key,
        log=math.log,
    )


@pytest.fixture(scope="session")
def records():
    """Nine programs of one rule, the last three of them not in an engine."""
    values = (0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
    proposals = [Proposal(blend(each, name=f"Blend{i}"), "zoo", "seed") for i, each in enumerate(values)]
    return [measured(proposal, step, in_engine=step < 6) for step, proposal in enumerate(proposals)]
