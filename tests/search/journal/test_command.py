"""`vortex journal`, and the same hypotheses in `vortex show` and `vortex report`."""

import json
from contextlib import closing

import pytest

from search.cli import main
from search.config import CampaignConfig
from search.journal.entries import Hypothesis, Note
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

HERE = Environment("a small CPU", "6", "3.11", torch="2.13.0", vllm="0.32.0", dtype="float32")
HOSTILE = "x [bold]red[/bold] <script>alert(1)</script> | \x1b[2J\u202e `a`"
WORKLOADS = (Workload(Stage.CHECK, 200, 1, ratio=8.0), Workload(Stage.FIDELITY, 200, 8, ratio=8.0))


def measured(ledger, candidate, workload, *figures):
    where = ("m", HERE.digest, "1", 0)
    key = EvaluationKey(candidate.program_digest, workload.stage, workload.digest, *where)
    task = EvaluationTask(key, candidate.proposal.text, (), workload)
    ledger.claim(task, "me", 60, candidate.id)
    taken = tuple(Measurement(*each) for each in figures)
    ledger.finish(Evaluation(key, Status.OK, measurements=taken, ratio=workload.ratio), "me", HERE)


@pytest.fixture
def db(tmp_path):
    """A campaign of two agents: one hypothesis that the numbers confirm, one that they refute, one of another world."""
    url = f"sqlite:///{tmp_path / 'results.db'}"
    with closing(SqlLedger(url)) as ledger:
        campaign = start_campaign(ledger, CampaignConfig(proposers=("llm", "other")))
        written = (
            ("llm", (), {"notes": (Note("holds", HOSTILE),)}),
            ("llm", ("p0",), {"hypotheses": (Hypothesis("signs cost half", "bytes_per_page <= 0.5 parent"),)}),
            (
                "other",
                ("p0",),
                {"hypotheses": (Hypothesis(HOSTILE, "kl < 0.01 at 8"), Hypothesis("it helps", HOSTILE))},
            ),
        )
        for step, (proposer, parents, said) in enumerate(written):
            proposal = Proposal(f"class A{step}: ...", proposer, "reflect", parents, **said)
            candidate = ledger.add_candidate(
                Candidate(campaign.id, step, proposal, Status.OK, "", f"p{step}", f"Rule{step}")
            )
            measured(ledger, candidate, WORKLOADS[0], ("bytes_per_page", 320.0 / (step + 1)), ("cost_ratio", 8.0))
            measured(ledger, candidate, WORKLOADS[1], ("kl", 0.02, 0.015, 0.025))
    return url


def test_the_journal_as_json(db, capsys):
    assert main(["journal", "--db", db, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdicts"] == {"confirmed": 1, "refuted": 1, "not told apart": 0, "not measured": 1}
    first, second, third = told["hypotheses"]
    assert first["hypothesis"] == {"text": "signs cost half", "prediction": "bytes_per_page <= 0.5 parent"}
    assert (first["verdict"], first["step"], first["proposer"], first["name"]) == ("confirmed", 1, "llm", "Rule1")
    assert second["reason"] == "kl 0.02 [0.015, 0.025] at 8x, predicted < 0.01"
    assert third["verdict"] == "not measured"
    assert [each["note"]["kind"] for each in told["notes"]] == ["holds"]


def test_the_journal_as_a_table_shows_text_as_text(db, capsys):
    assert main(["journal", "--db", db]) == 0
    shown = capsys.readouterr().out
    assert "1 confirmed, 1 refuted, 1 not measured" in shown
    assert "[bold]red[/bold]" in " ".join(shown.replace("│", " ").split())
    assert not set("\x1b\u202e") & set(shown)
    assert "What holds" in shown


def test_the_journal_of_one_proposer(db, capsys):
    assert main(["journal", "1", "--proposer", "other", "--db", db, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {each["proposer"] for each in told["hypotheses"]} == {"other"}
    assert told["notes"] == []
    assert main(["journal", "--proposer", "nobody", "--db", db]) == 2
    assert "no proposer 'nobody'; it has llm, other" in capsys.readouterr().err


def test_an_empty_journal_says_so(tmp_path, capsys):
    url = f"sqlite:///{tmp_path / 'results.db'}"
    with closing(SqlLedger(url)) as ledger:
        start_campaign(ledger, CampaignConfig())
    assert main(["journal", "--db", url]) == 0
    assert "Nothing was predicted or noted in campaign 1." in capsys.readouterr().out


def test_show_tells_hypothesis_and_verdict(db, capsys):
    assert main(["show", "p1", "--db", db]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "hypothesis signs cost half: bytes_per_page <= 0.5 parent; confirmed (bytes_per_page 160 at 8x" in shown
    assert main(["show", "p1", "--db", db, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["hypotheses"]
    assert told["verdict"] == "confirmed"
    assert main(["show", "p0", "--db", db]) == 0
    shown = capsys.readouterr().out
    assert "what holds" in shown
    assert "\x1b" not in shown


def test_the_report_has_a_section(db, tmp_path, capsys):
    assert main(["report", "--out", str(tmp_path / "out"), "--db", db]) == 0
    capsys.readouterr()
    text, page = ((tmp_path / "out" / f"report.{kind}").read_text() for kind in ("md", "html"))
    assert "## What was predicted" in text
    assert "1 confirmed, 1 refuted, 1 not measured" in text
    assert "## What agents noted" in text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
