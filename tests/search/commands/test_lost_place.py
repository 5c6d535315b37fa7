"""A machine that lost its worker each time is nowhere on record: what is shown of a program does without it."""

import json
from contextlib import closing
from types import SimpleNamespace

import pytest
from fake_measurements import CAMPAIGN, ELSEWHERE, measure, propose, quarantine, task
from starlette.testclient import TestClient

from search.campaigns.machines import recording_behind
from search.commands.exits import ExitCode
from search.contracts import LookError
from search.dash.app import build
from search.kinds.pace import on_record
from search.records import Stage, Status
from search.store.ledger import SqlLedger


@pytest.fixture
def lost(tmp_path):
    """Give the URL of a ledger whose candidate was measured on one machine and lost on another one."""
    url = f"sqlite:///{tmp_path / 'lost.db'}"
    with closing(SqlLedger(url)) as ledger:
        campaign = ledger.create_campaign(CAMPAIGN)
        candidate = ledger.add_candidate(propose(campaign, 0))
        measure(ledger, candidate, task(), accuracy=0.5)
        quarantine(ledger, task(stage=Stage.RECALL, environment=ELSEWHERE), candidate)
    return url


def test_show_tells_the_places_that_are_known(call, lost):
    code, out, err = call("show", "1", "--db", lost, "--json")
    assert (code, err) == (ExitCode.DONE, "")
    told = json.loads(out)
    assert [each["status"] for each in told["evaluations"]] == [Status.QUARANTINED, Status.OK]
    assert [each["device"] for each in told["environments"].values()] == ["Xeon"]


def test_the_dashboard_says_so(lost):
    with (
        closing(SqlLedger(lost, read_only=True)) as ledger,
        TestClient(build(ledger), base_url="http://localhost") as site,
    ):
        shown = site.get("/rules/1")
    assert (shown.status_code, "a machine that lost its worker each time" in shown.text) == (200, True)


def test_a_forecast_reads_no_seconds_there(lost):
    known = on_record(SimpleNamespace(db=lost, model=CAMPAIGN.model))
    assert [each.device for each in known.places.values()] == ["Xeon"]
    assert known.seconds_on(Stage.RECALL) is None


def test_there_is_no_recording_of_it(lost, tmp_path):
    with closing(SqlLedger(lost, read_only=True)) as ledger, pytest.raises(LookError, match="were not measured here"):
        recording_behind(ledger, ledger.candidate(1), 0.0, tmp_path)
