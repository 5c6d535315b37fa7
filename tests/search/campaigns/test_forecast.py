"""What a campaign is expected to take, before it starts: by hand where numbers are small, else from records."""

import json
import math
import re
from pathlib import Path

import pytest

from search.agents.baselines import Random
from search.campaigns.forecast import expected, forecast
from search.campaigns.reading import read_setup
from search.cli import main
from search.commands.exits import ExitCode
from search.config import CampaignConfig, SeedProgram
from search.kinds.pace import A_GUESS, ELSEWHERE, FROM_PAGE, GUESSED, MEASURED_ONCE_S, OnRecord
from search.loop import Loop, start_campaign
from search.records import (
    Candidate,
    Environment,
    Evaluation,
    EvaluationKey,
    Proposal,
    Record,
    Stage,
    Status,
)
from search.workloads import WORKLOADS, workloads_for
from vortex_dsl import zoo

PAGE = Path(__file__).resolve().parents[3] / "docs" / "evaluator.md"


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch):
    """A forecast that starts a pool fails."""

    def started(*_):
        raise AssertionError("a dry run starts nothing")

    monkeypatch.setattr("search.campaigns.machines.Machines.pool", started)


def place(device, dtype):
    return Environment(device, "", "3.11", "2", "1", dtype=dtype)


def test_evaluations_are_counted_by_hand():
    config = CampaignConfig(num_candidates=100, ratios=(4, 8), workloads=workloads_for(0), recall_share=0.08)
    found = expected(config, num_seeds=10, num_references=3)
    assert found[Stage.CHECK] == found[Stage.RECALL] == 110 * 2 + 3
    entering = 10 + 100 * (0.08 + 0.02)
    assert found[Stage.ORACLE] == 10 + 3 + 20
    assert (
        found[Stage.FIDELITY] == found[Stage.RETRIEVAL] == math.ceil(entering * 2 + 3 + (3 + 2) * 2)
    )  # and leaders and rivals
    assert found[Stage.SERVE] == 9  # (2 stages * ln(20 / 10) + 3 leaders) * 2 ratios


def test_of_the_published_rules_their_share_enters_and_of_given_ones_everyone():
    given = (SeedProgram(zoo.text("quest")),)
    config = CampaignConfig(
        num_candidates=0, ratios=(4,), workloads=workloads_for(0), published_share=0.1, seed_programs=given
    )
    found = expected(config, num_seeds=36, num_references=3)
    assert found[Stage.CHECK] == found[Stage.RECALL] == 36 + 3
    assert found[Stage.ORACLE] == 1 + 4 + 3  # a tenth of 35, rounded up
    assert found[Stage.FIDELITY] == found[Stage.RETRIEVAL] == 1 + 4 + 3 + 3 + 2  # three leaders, two rivals


def test_where_everybody_enters_everybody_is_counted():
    config = CampaignConfig(num_candidates=0, ratios=(8,), workloads=WORKLOADS)
    assert expected(config, 5, 2) == {
        Stage.CHECK: 7, Stage.RECALL: 7, Stage.ORACLE: 7, Stage.PROBE: 7 + 3 + 2, Stage.SERVE: 5,
    }  # fmt: skip


def test_without_a_database_seconds_are_those_of_the_page(db):
    told = forecast(read_setup(None, {"db": db, "candidates": 20, "workers": 4}))
    recall = next(each for each in told.stages if each.stage is Stage.RECALL)
    assert (recall.seconds_each, recall.from_what) == (MEASURED_ONCE_S[Stage.RECALL], FROM_PAGE)
    assert told.seconds == told.worker_seconds / 4 > 0
    assert told.dollars == 0
    assert told.disk_bytes > 0


def test_seconds_of_the_page_are_what_the_page_says():
    told = dict(re.findall(r"^\| evaluation: (\w+) \|[^|]*\| ([\d.]+) \|", PAGE.read_text(), re.MULTILINE))
    stages = set(MEASURED_ONCE_S) - set(GUESSED) - {Stage.CHECK}  # of which the page tells no mean
    assert {stage.value for stage in stages} == set(told)
    assert {stage: MEASURED_ONCE_S[stage] for stage in stages} == {
        stage: pytest.approx(float(told[stage.value]), rel=0.05) for stage in stages
    }


def test_seconds_of_the_page_are_of_another_kind_for_a_gpu(db):
    told = forecast(read_setup(None, {"db": db, "gpus": ["H200"]}))
    assert {each.from_what for each in told.stages} == {A_GUESS, f"{FROM_PAGE}, {ELSEWHERE}"}


def test_with_a_database_seconds_are_those_on_record(db, ledger, fake, monkeypatch):
    monkeypatch.undo()
    config = CampaignConfig(num_candidates=1, model="probe", seeds=("dense", "quest"), proposers=("random",))
    campaign = start_campaign(ledger, config)
    Loop(ledger, fake(2), [Random()], campaign).run()
    taken = [e.elapsed_s for r in ledger.records(campaign.id) for e in r.evaluations if e.key.stage is Stage.RECALL]
    told = forecast(read_setup(None, {"db": db}))
    recall = next(each for each in told.stages if each.stage is Stage.RECALL)
    assert recall.seconds_each == pytest.approx(sum(taken) / len(taken))
    assert recall.from_what == f"{len(taken)} on record"


def test_language_models_cost_what_their_turns_and_prices_come_to(db):
    agent = {"llm": "m", "base_url": "http://127.0.0.1:1/v1", "price": (10.0, 100.0)}
    asked = {"db": db, "candidates": 30, "proposers": {"grammar": 2, "big": 1}, "endpoints": {"big": agent}}
    told = forecast(read_setup(None, asked))
    (big,) = told.agents
    assert big.num_proposals == 10
    assert big.prompt_tokens > 1000
    assert told.dollars == pytest.approx(10 * (big.prompt_tokens * 10 + big.completion_tokens * 100) / 1e6)
    assert forecast(read_setup(None, asked | {"max_dollars": 0.01})).dollars == 0.01


def test_seconds_end_where_the_budget_does(db):
    told = forecast(read_setup(None, {"db": db, "candidates": 100_000, "max_seconds": 60.0, "workers": 2}))
    assert (told.worker_seconds, told.seconds) == (120.0, 60.0)
    assert any("120 s" in limit for limit in told.limits)


def test_further_kinds_measure_what_is_timed_again(capsys, db):
    asked = {"db": db, "workers": 3, "ratios": (4, 8)}
    alone = forecast(read_setup(None, asked | {"gpus": ("H100",)}))
    told = forecast(read_setup(None, asked | {"gpus": ("H100", "H200=2", "CPU=16")}))
    assert told.stages == alone.stages
    assert (told.workers, told.seconds) == (3, alone.seconds)
    assert [(each.kind, each.workers) for each in told.further] == [("H200", 2), ("CPU", 16)]
    timed = next(each.num_evaluations for each in told.stages if each.stage is Stage.SERVE)
    again = 3 * timed + 5 * 2  # oracle, probe and serve, and three leaders and two rivals a ratio
    assert {each.num_evaluations for each in told.further} == {again}
    assert told.disk_bytes > alone.disk_bytes
    assert main(["run", "--dry-run", "--db", db, "--gpu", "H100", "--gpu", "CPU=16"]) == ExitCode.DONE
    assert "CPU too, 16 workers: about" in capsys.readouterr().out


def test_seconds_of_further_kinds_are_told_too(capsys, db, monkeypatch):
    """By what is on record there, else as on the first kind; a budget counts the first alone, and says so."""
    asked = {"db": db, "workers": 3, "ratios": (8,), "gpus": ("H100", "H200=2", "CPU=16"), "max_seconds": 60.0}
    h100, cpu = place("NVIDIA H100 80GB HBM3", "bfloat16"), place("AMD EPYC 9654", "float32")
    measured = [(h100, Stage.SERVE, 3.0), (h100, Stage.ORACLE, 1.0), (h100, Stage.PROBE, 2.0), (cpu, Stage.SERVE, 50.0)]
    record = Record(
        Candidate(1, 0, Proposal("", "zoo", "seed"), Status.OK),
        tuple(
            Evaluation(EvaluationKey("p", stage, "w", "m", where.digest, "4", 0), Status.OK, elapsed_s=seconds)
            for where, stage, seconds in measured
        ),
    )
    known = OnRecord((record,), {where.digest: where for where in (h100, cpu)})
    monkeypatch.setattr("search.campaigns.forecast.on_record", lambda _setup: known)
    told = forecast(read_setup(None, asked))
    each_s = {each.stage: each.seconds_each for each in told.stages}
    assert [each_s[stage] for stage in (Stage.SERVE, Stage.ORACLE, Stage.PROBE)] == [3.0, 1.0, 2.0]
    timed = next(each.num_evaluations for each in told.stages if each.stage is Stage.SERVE)
    h200, cpus = told.further
    assert h200.worker_seconds == timed * (3.0 + 1.0) + (timed + 5) * 2.0  # and three leaders and two rivals again
    assert h200.from_what == "oracle, probe, serve as on the first kind"
    assert cpus.worker_seconds == timed * (50.0 + 1.0) + (timed + 5) * 2.0
    assert cpus.from_what == "oracle, probe as on the first kind"
    assert (h200.seconds, cpus.seconds) == (h200.worker_seconds / 2, cpus.worker_seconds / 16)
    assert told.worker_seconds <= 180.0
    assert "workers of the first kind have measured for 180 s together" in told.limits
    options = [word for kind in asked["gpus"] for word in ("--gpu", kind)]
    assert main(["run", "--dry-run", "--db", db, "--workers", "3", "--ratio", "8", *options]) == ExitCode.DONE
    assert "seconds of each: oracle, probe as on the first kind" in " ".join(capsys.readouterr().out.split())


def test_seconds_of_a_named_kind_are_not_those_of_another(db, monkeypatch):
    here = place("AMD EPYC 9654", "float32")
    key = EvaluationKey("p", Stage.SERVE, "w", "m", here.digest, "4", 0)
    record = Record(
        Candidate(1, 0, Proposal("", "zoo", "seed"), Status.OK), (Evaluation(key, Status.OK, elapsed_s=50.0),)
    )
    monkeypatch.setattr("search.campaigns.forecast.on_record", lambda _setup: OnRecord((record,), {here.digest: here}))
    for kind, source in (("CPU", "1 on record"), ("H100", "1 on record, of another kind")):
        told = forecast(read_setup(None, {"db": db, "gpus": (kind,)}))
        serve = next(each for each in told.stages if each.stage is Stage.SERVE)
        assert (serve.seconds_each, serve.from_what) == (50.0, source)


def test_a_dry_run_prints_its_plan_and_leaves_nothing_behind(capsys, tmp_path, db):
    file = tmp_path / "c.toml"
    file.write_text("candidates = 12\nratios = [8]\npatience = 5\n")
    assert main(["run", str(file), "--dry-run", "-n", "7", "--db", db]) == ExitCode.DONE
    out = capsys.readouterr().out
    for expected_part in ("7 candidates on probe", "quest", "grammar 4", "recall", "about", "5 candidates in a row"):
        assert expected_part in out
    assert main(["run", str(file), "--dry-run", "--db", db, "--json"]) == ExitCode.DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["candidates"], told["ratios"]) == (12, [8.0])
    assert list(tmp_path.iterdir()) == [file]


def test_a_dry_run_of_an_unknown_key_is_one_sentence(capsys, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("candidate = 12\n")
    assert main(["run", str(file), "--dry-run"]) == ExitCode.USAGE
    assert capsys.readouterr().err == f"vortex: {file}: there is no key 'candidate'; did you mean 'candidates'?\n"


def test_a_model_that_has_no_turn_in_a_round_of_nobody_is_asked_nothing(db):
    """Only what an agent brings from outside takes steps; the endpoint stands there for another campaign."""
    agent = {"llm": "a", "base_url": "http://localhost:1/v1", "price": [1.0, 2.0]}
    asked = {"db": db, "outside": ["coder"], "proposers": ["coder"], "endpoints": {"big": agent}}
    (told,) = forecast(read_setup(None, asked)).agents
    assert (told.num_proposals, told.dollars) == (0, 0.0)
