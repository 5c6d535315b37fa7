"""What was measured: `leaderboard`, `compare`, `status`, `show`, `export`."""

import json
import re
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest

from search.behaviour import sketch
from search.commands.exits import ExitCode
from search.config import CampaignConfig
from search.loop import start_campaign
from search.ranking.standing import Standing
from search.records import (
    Candidate,
    Evaluation,
    EvaluationKey,
    EvaluationTask,
    Proposal,
    Stage,
    Status,
    Workload,
)
from search.store.ledger import SqlLedger
from search.workloads import held_out, workloads_for
from vortex_dsl import zoo

QUEST = Path(zoo.__file__).with_name("quest.py")


def test_leaderboard_json_is_the_contract(call, filled):
    code, out, err = call("leaderboard", "--db", filled, "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert [row["name"] for row in rows] == ["Quest", "Child"]
    assert set(rows[0]) == {field.name for field in fields(Standing)} | {"front"}
    promised = (
        "id name digest origin parents accuracy accuracy_low accuracy_high recall speedup speedup_low speedup_high "
        "pages_attended bytes_per_page device model"
    )
    assert set(promised.split()) <= set(rows[0])
    assert (rows[0]["accuracy"], rows[0]["speedup"], rows[0]["device"]) == (0.75, 1.25, "a small CPU")
    assert rows[0]["dtype"] == "float32"


def test_leaderboard_shows_the_front_and_all_says_why_others_have_no_figure(call, filled):
    code, out, _ = call("leaderboard", "--db", filled)
    assert code == 0
    assert "0.750 [.700,.800]" in out
    assert "1.25x [1.20,1.30]" in out
    assert "device: a small CPU, float32 (torch" in out
    assert "Child" not in out
    assert "1 without a figure to rank them by: --all shows them" in out
    listed = call("leaderboard", "--all", "--db", filled)[1]
    assert "oracle: the engine died" in next(line for line in listed.splitlines() if "Child" in line)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--where", "accuracy > .7 and speedup_low > 1"), ["Quest"]),
        (("--where", "status == 'crashed'"), ["Child"]),
        (("--sort", "-name"), ["Quest", "Child"]),
        (("--sort", "name", "--top", "1"), ["Child"]),
        (("--ratio", "16"), []),
        (("--ratio", "0", "--model", "probe", "--device", "small"), ["Quest", "Child"]),
        (("--device", "H200"), []),
    ],
)
def test_leaderboard_gives_what_is_asked_for(call, filled, options, names):
    assert [row["name"] for row in json.loads(call("leaderboard", *options, "--db", filled, "--json")[1])] == names
    assert call("leaderboard", *options, "--db", filled)[0] == ExitCode.DONE


@pytest.mark.parametrize("option", ["--where", "--sort"])
def test_leaderboard_refuses_what_it_does_not_know(call, filled, option):
    code, out, err = call("leaderboard", option, "spedup" if option == "--sort" else "spedup > 1", "--db", filled)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "no 'spedup'; did you mean 'speedup'?" in err


def test_compare_tells_differences_and_refuses_what_has_none(call, filled, add):
    ledger = SqlLedger(filled)
    campaign = ledger.campaign()
    config = CampaignConfig.from_json(campaign.settings)
    third = Candidate(campaign.id, 3, Proposal("more\n", "grammar", "mutate"), Status.OK, "", "c" * 16, "Third")
    add(ledger, config, third, dict.fromkeys(config.stages, Status.OK))
    ledger.close()
    code, out, _ = call("compare", "1", "cccc", "--db", filled, "--json")
    (speed,) = json.loads(out)
    assert (code, speed["figure"], speed["difference"], speed["stage"]) == (0, "speedup", 1.0, "serve")
    assert speed["low"] < 1 < speed["high"]
    code, out, _ = call("compare", "1", "cccc", "--db", filled)
    assert code == 0
    assert "A: Quest (1), B: Third" in out
    code, out, err = call("compare", "1", "2", "--db", filled)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert "nothing to compare" in err
    assert call("compare", "1", "--db", filled)[0] == ExitCode.USAGE
    code, out, err = call("compare", "1", "aaaa", "--db", filled)
    assert (code, out, "candidate 1 is given twice" in err) == (ExitCode.USAGE, "", True)


def test_leaderboard_top_cuts_off(call, filled):
    assert len(json.loads(call("leaderboard", "--top", "1", "--db", filled, "--json")[1])) == 1


@pytest.mark.parametrize("options", [(), ("--top", "1"), ("--ratio", "0"), ("--model", "probe")])
def test_leaderboard_reads_no_row_that_it_does_not_show(call, filled, options, monkeypatch):
    monkeypatch.setattr(SqlLedger, "page", lambda *_: pytest.fail("all rows are read"))
    code, out, _ = call("leaderboard", *options, "--db", filled)
    assert (code, "Quest" in out, "1 without a figure to rank them by" in out) == (0, True, True)


def test_leaderboard_of_an_unknown_campaign_is_refused(call, filled):
    code, _, err = call("leaderboard", "--campaign", "99", "--db", filled)
    assert code == ExitCode.USAGE
    assert "no campaign 99" in err


def test_status_counts_stages_and_statuses(call, filled):
    code, out, _ = call("status", "--db", filled, "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["campaign"], told["seed"], told["num_steps"]) == (1, 7, 3)
    assert told["stages"]["check"] == {"ok": 2}
    assert told["stages"]["oracle"] == {"ok": 1, "crashed": 1}
    assert told["candidates"]["program_error"] == 1


def test_status_draws_a_table(call, filled):
    code, out, _ = call("status", "--db", filled)
    assert code == 0
    assert "oracle" in out
    assert "crashed" in out


def test_status_tells_where_the_time_of_workers_goes(call, decoding):
    """One decodes, one has decoded and is confirmed."""
    told = json.loads(call("status", "--db", decoding, "--json")[1])
    took = {(each["stage"], each["split"], each["ratio"]): each for each in told["took"]}
    assert took["check", "search", 8.0] == {
        "stage": "check", "split": "search", "ratio": 8.0, "seconds": 6.0, "num_ran": 3, "num_passed": 3,
        "num_ended": 3, "num_running": 0,
    }  # fmt: skip
    assert (took["fidelity", "search", 8.0]["seconds"], took["fidelity", "search", 8.0]["num_running"]) == (30.0, 1)
    assert took["fidelity", "held_out", 8.0]["seconds"] == 64.0
    out = call("status", "--db", decoding)[1]
    assert re.search(r"fidelity \(held out\) .* 1 .* 64\.0 .* 64\.0%", out)


def test_status_says_nothing_of_seconds_where_there_are_none(call, filled):
    assert "seconds" not in call("status", "--db", filled)[1]


@pytest.fixture
def decoding(db, here):
    """Give a campaign of which three were checked at one ratio; one decodes, one has decoded and is confirmed."""
    ledger = SqlLedger(db)
    decoding = Workload(Stage.FIDELITY, 200, 8, lengths=(100, 200), num_decoded=9)
    workloads = (Workload(Stage.CHECK, 200, 1), decoding)
    usual = {"num_candidates": 3, "proposers": ("grammar",), "model": "smollm2"}
    config = CampaignConfig(ratios=(8.0,), workloads=workloads, **usual)
    campaign = start_campaign(ledger, config)
    for step in range(3):
        digest = f"{step}" * 16
        proposal = Proposal("text\n", "grammar", "draw")
        stored = ledger.add_candidate(Candidate(campaign.id, step, proposal, Status.OK, "", digest, f"Rule{step}"))
        measured = [(config.workload(Stage.CHECK, 8.0), 2.0)]
        if step:
            measured.append((config.workload(Stage.FIDELITY, 8.0), 30.0))
        if step == 1:
            measured.append((held_out(config.workload(Stage.FIDELITY, 8.0), 1), 64.0))
        for workload, elapsed_s in measured:
            key = EvaluationKey(digest, workload.stage, workload.digest, "m" * 16, here.digest, "1", 0)
            ledger.claim(EvaluationTask(key, "text\n", (), workload), "me", 60.0, stored.id)
            if (step, workload.stage) != (2, Stage.FIDELITY):
                ledger.finish(Evaluation(key, Status.OK, "", elapsed_s=elapsed_s), "me", here)
    ledger.close()
    return db


@pytest.mark.parametrize("name", ["1", "aaaa"])
def test_show_tells_everything(call, filled, name):
    code, out, _ = call("show", name, "--db", filled)
    assert code == 0
    for expected in ("class Quest(Program)", "pages=4", "zoo/seed", "a" * 16, "accuracy 0.750 [.700,.800]"):
        assert expected in out


def test_show_tells_why_a_candidate_failed(call, filled):
    assert "the engine died" in call("show", "2", "--db", filled)[1]
    assert "x:1:1: bad" in call("show", "3", "--db", filled)[1]


def _asked(db):
    """Add a candidate of a language model's, that was asked twice."""
    said = [
        {"role": "system", "content": "You invent sparse attention."},
        {"role": "user", "content": "Improve [bold]this[/bold]:\n\nclass Quest(Program)"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "name": "check"}]},
    ]
    ledger = SqlLedger(db)
    proposal = Proposal("(\n", "llm", "mutate", conversation=json.dumps(said))
    ledger.add_candidate(Candidate(ledger.campaign().id, 3, proposal, Status.PROGRAM_ERROR, "x:1:1: bad"))
    ledger.close()
    return said


def test_show_prints_what_was_asked_and_answered(call, filled):
    said = _asked(filled)
    code, out, _ = call("show", "4", "--prompt", "--db", filled)
    assert code == 0
    expected = ("system", "You invent", "user", "Improve [bold]this[/bold]:", "class Quest", "assistant", "tool_calls")
    assert sorted(out.index(text) for text in expected) == [out.index(text) for text in expected]
    assert json.loads(call("show", "4", "--prompt", "--json", "--db", filled)[1]) == said
    told = json.loads(call("show", "4", "--json", "--db", filled)[1])
    assert told["candidate"]["proposal"]["conversation"] == ""


def test_show_says_that_nobody_was_asked(call, filled):
    code, out, err = call("show", "2", "--prompt", "--db", filled)
    assert (code, out) == (0, "")
    assert "grammar proposed it without asking" in err
    assert json.loads(call("show", "2", "--prompt", "--json", "--db", filled)[1]) == []


def test_show_json_names_the_circumstances(call, filled, here):
    told = json.loads(call("show", "1", "--db", filled, "--json")[1])
    assert told["candidate"]["proposal"]["text"] == QUEST.read_text()
    assert told["environments"][here.digest] == asdict(here)
    assert len(told["evaluations"]) == len(CampaignConfig().stages)


def test_show_tells_which_earlier_candidate_attends_alike(call, db, here):
    ledger = SqlLedger(db)
    config = CampaignConfig(proposers=("grammar",), workloads=workloads_for(0))
    campaign = start_campaign(ledger, config)
    for step, (digest, rows) in enumerate((("a" * 16, 100), ("b" * 16, 90))):
        proposal = Proposal(QUEST.read_text(), "zoo", "seed")
        stored = ledger.add_candidate(Candidate(campaign.id, step, proposal, Status.OK, "", digest, f"Rule{step}"))
        workload = config.workload(Stage.SCREEN, 8.0)
        key = EvaluationKey(digest, Stage.SCREEN, workload.digest, "m" * 16, here.digest, "1", 0)
        ledger.claim(EvaluationTask(key, proposal.text, (), workload), "me", 60.0, stored.id)
        answers = sketch(np.arange(rows), np.arange(rows))
        ledger.finish(Evaluation(key, Status.OK, "", (), answers=answers, ratio=8.0), "me", here)
    ledger.close()
    shown = " ".join(call("show", "2", "--db", db)[1].split())
    assert re.search(r"attends as Rule0 \(id 1\) at 8x: overlap 0\.[89]\d", shown)
    (nearest,) = json.loads(call("show", "2", "--db", db, "--json")[1])["nearest"]
    assert (nearest["candidate"], nearest["name"], nearest["ratio"]) == (1, "Rule0", 8.0)
    assert nearest["likeness"] == pytest.approx(0.9, abs=0.06)
    assert "attends as" not in call("show", "1", "--db", db)[1]


@pytest.mark.parametrize("command", ["show", "export"])
def test_an_unknown_id_is_refused(call, filled, command):
    code, out, err = call(command, "4711", "--db", filled)
    assert (code, out) == (ExitCode.USAGE, "")
    assert "4711" in err


def test_export_refuses_what_never_answered(call, filled, tmp_path):
    code, _, err = call("export", "2", "-o", str(tmp_path), "--db", filled)
    assert code == ExitCode.REFUSED
    assert "gave no answers in an engine" in err
