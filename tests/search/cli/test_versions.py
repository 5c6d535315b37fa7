"""Campaigns of other versions of ours, and programs that are given another chance."""

import json
import sqlite3
import time
from contextlib import closing

import pytest

from search.commands.exits import ExitCode
from search.config import CampaignConfig
from search.loop import start_campaign
from search.records import (
    Candidate,
    EvaluationKey,
    EvaluationTask,
    Proposal,
    Stage,
    Status,
)
from search.store.ledger import SqlLedger


def test_a_campaign_from_before_a_stage_is_told_and_gone_on_with(call, pool, db, fake_pool):
    """Its candidates go through the stages that it began with, and no other."""
    ledger = SqlLedger(db)
    campaign = start_campaign(ledger, CampaignConfig(num_candidates=0, proposers=("grammar",), model="probe"))
    ledger.close()
    stored = json.loads(campaign.settings)
    stored["workloads"] = [each for each in stored["workloads"] if each["stage"] != Stage.RECALL]
    _store_settings(db, stored)
    pool(fake_pool())
    assert call("resume", "--db", db)[0] == ExitCode.DONE
    code, out, _ = call("status", "--json", "--db", db)
    assert code == ExitCode.DONE
    assert set(json.loads(out)["stages"]) == set(CampaignConfig().stages) - {Stage.RECALL}
    assert call("leaderboard", "--db", db)[0] == ExitCode.DONE


def test_a_campaign_with_a_stage_of_a_newer_version_is_told_and_not_gone_on_with(call, pool, filled, fake_pool):
    ledger = SqlLedger(filled)
    stored = json.loads(ledger.campaign().settings)
    ledger.close()
    stored["workloads"].append({"stage": "tune", "num_tokens": 1, "num_sequences": 1})
    _store_settings(filled, stored)
    pool(fake_pool())
    assert call("status", "--db", filled)[0] == call("leaderboard", "--db", filled)[0] == ExitCode.DONE
    code, out, err = call("resume", "--db", filled)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "no stage 'tune' here" in err
    assert "upgrade" in err


def _store_settings(db, settings):
    with closing(sqlite3.connect(db.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE campaign SET settings = ?", (json.dumps(settings),))


@pytest.fixture
def given_up(filled, here):
    """A database whose second candidate is in quarantine at its probe; gives the URL and its id."""
    ledger = SqlLedger(filled)
    config = CampaignConfig.from_json(ledger.campaign().settings)
    candidate = ledger.add_candidate(
        Candidate(1, 3, Proposal("text\n", "grammar", "mutate"), Status.OK, "", "c" * 16, "Lost")
    )
    workload = config.workload(Stage.PROBE)
    key = EvaluationKey("c" * 16, Stage.PROBE, workload.digest, "m" * 16, here.digest, "1", 0)
    task = EvaluationTask(key, "text\n", (), workload)
    for _ in range(3):
        ledger.claim(task, "doomed", 0.01, candidate.id)
        ledger.begin([key], "doomed")
        time.sleep(0.02)
    assert ledger.claim(task, "careful", 60.0, candidate.id).status is Status.QUARANTINED
    ledger.close()
    return filled, str(candidate.id)


def test_a_program_in_quarantine_is_forgiven(call, given_up):
    db, name = given_up
    code, out, err = call("db", "forgive", name, "--db", db)
    assert code == ExitCode.DONE
    assert f"{name} Lost {'c' * 16} may be measured again, from stage probe on" in out
    assert "vortex resume" in err
    code, out, err = call("db", "forgive", name, "--db", db)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert f"vortex: candidate {name} is not quarantined" in err


def test_forgiving_speaks_json_and_takes_digests(call, given_up):
    db, name = given_up
    code, out, _ = call("db", "forgive", "cccc", "--db", db, "--json")
    assert code == ExitCode.DONE
    assert json.loads(out) == [{"id": int(name), "name": "Lost", "digest": "c" * 16, "stage": "probe"}]


@pytest.mark.parametrize("others", [["99"], ["1"], ["beef"]])
def test_nothing_is_forgiven_where_one_name_is_wrong(call, given_up, others):
    db, name = given_up
    code, out, err = call("db", "forgive", name, *others, "--db", db)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "no candidate" in err or "not quarantined" in err
    _, out, _ = call("status", "--json", "--db", db)
    assert json.loads(out)["candidates"]["quarantined"] == 1
