"""`vortex leaderboard` of a campaign that was stopped before anything was decoded: what is known, and how to see it."""

import json
import sqlite3
from contextlib import closing

import pytest

from search.commands.exits import ExitCode
from search.commands.watching.progress import summary
from search.config import CampaignConfig
from search.loop import start_campaign
from search.records import Candidate, Evaluation, EvaluationKey, EvaluationTask, Measurement, Proposal, Stage, Status
from search.store.ledger import SqlLedger
from search.workloads import workloads_for
from tests.search.commands.conftest import HERE, RATIO

RECALLS = {"Quest": 0.7, "Best": 0.9, "Crashed": 0.95, "Unscreened": None}
SENTENCE = "nobody is on the front, as no rule has passed a stage yet that ranks it"


def filled_with(place, recalls):
    """Make a database of rules of which at most recall is known; what is called Crashed was stopped by it."""
    config = CampaignConfig(num_candidates=4, proposers=("grammar",), ratios=(RATIO,), workloads=workloads_for(0))
    with closing(SqlLedger(place)) as ledger:
        campaign = start_campaign(ledger, config)
        for step, (name, recall) in enumerate(recalls.items()):
            digest = "abcdef"[step] * 16
            found = {Stage.CHECK: Measurement("cost_ratio", RATIO)}
            found |= {Stage.RECALL: Measurement("recall", recall)} if recall else {}
            proposal = Proposal(f"{name}\n", "grammar", "random")
            stored = ledger.add_candidate(Candidate(campaign.id, step, proposal, Status.OK, "", digest, name))
            for stage, figure in found.items():
                workload = config.workload(stage, RATIO)
                key = EvaluationKey(digest, stage, workload.digest, "m" * 16, HERE.digest, "1", 0)
                ledger.claim(EvaluationTask(key, proposal.text, (), workload), "me", 60.0, stored.id)
                is_lost = name == "Crashed" and stage is Stage.RECALL
                status, message = (Status.CRASHED, "it died") if is_lost else (Status.OK, "")
                ledger.finish(Evaluation(key, status, message, (figure,), ratio=RATIO), "me", HERE)
    return place


def test_the_best_are_shown_by_recall_and_it_is_said_that_this_ranks_nobody(call, tmp_path):
    db = filled_with(str(tmp_path / "stopped.db"), RECALLS)
    code, out, _ = call("leaderboard", "--db", db)
    assert code == ExitCode.DONE
    assert f"{SENTENCE}; the best by recall alone, which ranks nobody" in out
    table, reasons = out.split("why there is no more of")
    assert table.index("Best") < table.index("Quest")
    assert {"Crashed", "Unscreened"}.isdisjoint(table.split())
    assert "0.900" in table
    assert "4 without a figure to rank them by: --all shows them" in table
    assert reasons.count("passed recall; ") == 2
    assert "Quest" not in call("leaderboard", "--top", "1", "--db", db)[1]


@pytest.mark.parametrize(("recalls", "says"), [
    ({"Unscreened": None}, "1 without a figure to rank them by: --all says why"),
    ({"Crashed": 0.5}, "1 without a figure to rank them by: --all says why"),
])  # fmt: skip
def test_where_not_even_recall_is_known_it_is_said_in_a_sentence_without_a_table(call, tmp_path, recalls, says):
    out = call("leaderboard", "--db", filled_with(str(tmp_path / "stopped.db"), recalls))[1]
    assert f"{SENTENCE}; {says}" in out
    assert "speed-up" not in out


def test_what_an_engine_wrote_takes_one_line_in_tables_and_logs_and_is_whole_in_json(call, tmp_path):
    db, wrote = filled_with(str(tmp_path / "stopped.db"), {"Crashed": 0.5}), "it died:\n" + "a line of it\n" * 99
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("UPDATE evaluation SET message = ? WHERE message != ''", (wrote,))
        connection.execute("UPDATE standing SET reason = ? WHERE reason != ''", (wrote,))
    out = call("leaderboard", "--all", "--db", db)[1]
    assert out.count("a line of it") < 20
    assert "`vortex show ID` tells all of it" in out
    assert json.loads(call("leaderboard", "--json", "--db", db)[1])[0]["reason"] == wrote
    assert call("show", "1", "--db", db)[1].count("a line of it") == 99
    with closing(SqlLedger(db)) as ledger:
        line = summary(ledger.candidate(1))
    assert "it died: a line of it" in line
    assert "\n" not in line
    assert len(line) < 500
