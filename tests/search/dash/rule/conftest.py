"""A small campaign in a real ledger: a published rule, what was made of it, and what nobody should believe."""

import json
from contextlib import closing
from types import SimpleNamespace

import pytest
import torch
from starlette.testclient import TestClient

from search.campaigns.machines import recording_behind
from search.config import CampaignConfig
from search.dash.app import build
from search.evaluator.recall.recordings import Model, Recording, Recordings, save
from search.fit import traced
from search.journal.entries import Hypothesis
from search.loop import start_campaign
from search.records import (
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Measurement,
    Proposal,
    Stage,
    Status,
    Workload,
)
from search.store.ledger import SqlLedger
from search.workloads import held_out
from vortex_dsl import Shape, zoo

HERE = Environment("a small CPU", "6", "3.11", torch="2.13.0", vllm="0.32.0", dtype="float32")
LENGTHS = (100, 200)
WORKLOADS = tuple(
    Workload(stage, 200, num, lengths=LENGTHS)
    for stage, num in ((Stage.CHECK, 1), (Stage.RECALL, 2), (Stage.FIDELITY, 4), (Stage.SERVE, 2))
)
CONFIG = CampaignConfig(
    num_candidates=9, proposers=("grammar",), model="smollm2", group=2, head_dim=8, num_layers=3, ratios=(8.0, 16.0),
    workloads=WORKLOADS, seeds=("quest",),
)  # fmt: skip
VALUES = (("dense_layers", 0),)
HOSTILE = "<script>alert('x')</script>\u202eevil\x1b[2J{{ 7 * 7 }}"
SECRET = "it said " + "x" * 40_000  # more than a page shows


class Book:
    """Writes into a ledger as a run would."""

    def __init__(self, url):
        self.ledger = SqlLedger(url)
        self.campaign = start_campaign(self.ledger, CONFIG)
        self.num = 0

    def propose(self, text, name, **proposal):
        made = Proposal(text, **{"proposer": "grammar", "operator": "mutate", "values": VALUES, **proposal})
        digest = traced(text, VALUES, Shape(2, 8))[1].digest
        self.num += 1
        return self.ledger.add_candidate(
            Candidate(self.campaign.id, self.num, made, Status.OK, program_digest=digest, name=name)
        )

    def refuse(self, text, message):
        self.num += 1
        made = Proposal(text, "llm", "explore")
        return self.ledger.add_candidate(Candidate(self.campaign.id, self.num, made, Status.PROGRAM_ERROR, message))

    def measure(self, candidate, stage, *measurements, held=False, message="", status=Status.OK, ratio=8.0):
        workload = CONFIG.workload(stage, ratio)
        workload = held_out(workload, 1) if held else workload
        key = EvaluationKey(candidate.program_digest, stage, workload.digest, "m" * 16, HERE.digest, "3", int(held))
        self.ledger.claim(EvaluationTask(key, candidate.proposal.text, (), workload), "me", 60.0, candidate.id)
        self.ledger.finish(Evaluation(key, status, message, measurements, ratio=ratio, elapsed_s=1.5), "me", HERE)

    def judge(self, candidate, kl, speedup):
        self.measure(candidate, Stage.CHECK, Measurement("cost_ratio", 8.1), Measurement("budget", 2.0))
        layers = (Measurement(f"mass_layer_{i}", 0.9 - 0.1 * i, 0.5, 0.99, 2) for i in range(12))
        self.measure(candidate, Stage.RECALL, Measurement("mass", 0.7314, 0.7, 0.8, 2), *layers)
        texts = [Measurement(f"kl_text_{i}", kl * (1 + 0.1 * i)) for i in range(4)]
        kinds = Measurement("kl_prose", kl, 0.0, 1.0, 3), Measurement("kl_100", kl / 2, 0.0, 1.0, 2)
        self.measure(candidate, Stage.FIDELITY, Measurement("kl", kl, kl / 2, kl * 2, 4), *texts, *kinds)
        self.measure(candidate, Stage.FIDELITY, Measurement("kl", 0.4321, 0.1, 0.9, 8), held=True)
        taken = Measurement("speedup", speedup, speedup / 1.1, speedup * 1.1, 4)
        self.measure(candidate, Stage.SERVE, taken, message=f"slow {HOSTILE}", status=Status.BELOW_GATE)

    def judge_cheaper(self, candidate, kl):
        self.measure(candidate, Stage.CHECK, Measurement("cost_ratio", 16.3), Measurement("budget", 1.0), ratio=16.0)
        texts = (Measurement(f"kl_text_{i}", kl * (1 + 0.1 * i)) for i in range(4))
        self.measure(candidate, Stage.FIDELITY, Measurement("kl", kl, kl / 2, kl * 2, 4), *texts, ratio=16.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Give the URL of the ledger, with the candidates' ids."""
    url = f"sqlite:///{tmp_path_factory.mktemp('rules')}/results.db"
    book = Book(url)
    with closing(book.ledger):
        quest = book.propose(zoo.text("quest"), "Quest", proposer="zoo", operator="seed")
        changed = zoo.text("quest").replace('max("head")', 'mean("head")')
        assert changed != zoo.text("quest")
        child = book.propose(
            changed, "Child", parents=(quest.program_digest,), rationale=HOSTILE, proposer="llm",
            hypotheses=(Hypothesis("averaging loses less", "kl < parent"),),
            conversation=json.dumps([{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": SECRET}]),
        )  # fmt: skip
        grandchild = book.propose(zoo.text("centroid"), HOSTILE, parents=(child.program_digest,))
        refused = book.refuse(f"# {HOSTILE}\nclass {HOSTILE}", HOSTILE)
        book.judge(quest, 0.2, 1.5)
        book.judge(child, 0.1, 2.0)
        book.judge_cheaper(quest, 0.6)
        book.judge_cheaper(child, 0.5)
    return SimpleNamespace(
        url=url, quest=quest.id, child=child.id, grandchild=grandchild.id, refused=refused.id,
        digest=child.program_digest, hostile=HOSTILE, secret=SECRET,
    )  # fmt: skip


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Give the folder in which workers would have recorded, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    scratch = tmp_path / "vortex-search" / "engines"
    scratch.mkdir(parents=True)
    return scratch


@pytest.fixture
def record(made, cache):
    """Give a function that writes what recall of the rules was measured on."""

    def write(length=200, layers=3, heads=2, group=2, dim=8, steps=4):
        generator = torch.Generator().manual_seed(0)
        q = torch.randn(steps, layers, 1, heads, group, dim, generator=generator)
        k, v = (torch.randn(layers, 1, heads, length + steps, dim, generator=generator) for _ in "kv")
        found = Recordings(Model(tuple(range(layers)), layers, 0.5), (Recording(length, ("prose 1",), q, k, v),))
        with closing(SqlLedger(made.url, read_only=True)) as opened:
            save(found, recording_behind(opened, opened.candidate(made.child), 8.0, cache))

    return write


@pytest.fixture(scope="module")
def site(made):
    """Give a client of the dashboard over it."""
    with (
        closing(SqlLedger(made.url, read_only=True)) as ledger,
        TestClient(build(ledger), base_url="http://127.0.0.1") as client,
    ):
        yield client
