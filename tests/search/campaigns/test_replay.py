"""A campaign decided again from its record is the same, and whatever was changed in the record is found."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from search.campaigns.proposers import proposers_of
from search.campaigns.replay import replay
from search.cli import main
from search.commands.exits import ExitCode
from search.config import CampaignConfig, ConfigError
from search.contracts import ProposerError
from search.loop import Loop, start_campaign
from search.outcome import End
from search.records import Proposal, Stage
from search.store.ledger import SqlLedger
from search.workloads import workloads_for

ROUND = ("grammar", "tune", "greedy", "best_of_n", "random")
SMALL = CampaignConfig(
    seed=3, num_candidates=24, seeds=("dense", "quest", "quest_sub", "centroid"), ratios=(4, 8), proposers=ROUND,
    num_layers=30, workloads=workloads_for(0), recall_share=0.3,
)  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory, fake):
    """The database of a finished campaign, measured by four workers."""
    file = tmp_path_factory.mktemp("kept") / "results.db"
    with closing(SqlLedger(f"sqlite:///{file}")) as ledger:
        campaign = start_campaign(ledger, SMALL)
        assert Loop(ledger, fake(4, shuffle=5), proposers_of(SMALL, {}), campaign).run().end is End.DONE
    return file


@pytest.fixture
def recorded(kept, db, ledger):
    """The finished campaign, in a database that a test may tamper with."""
    with closing(sqlite3.connect(kept)) as source, closing(sqlite3.connect(db.removeprefix("sqlite:///"))) as target:
        source.backup(target)
    return ledger.campaign()


def change(db, statement, *parameters):
    """Tamper with the database behind the ledger's back; one row at least must change."""
    with closing(sqlite3.connect(db.removeprefix("sqlite:///"))) as connection, connection:
        assert connection.execute(statement, parameters).rowcount > 0


def test_a_campaign_is_replayed_step_by_step(ledger, recorded):
    before = ledger.records(recorded.id)
    found = replay(ledger, recorded)
    assert (found.difference, found.step, found.num_absent) == ("", None, 0)
    assert found.num_steps == len(before) > 24
    assert set(found.asked_again) == set(ROUND)
    assert found.from_record == ()
    assert ledger.records(recorded.id) == before
    assert len(ledger.campaigns()) == 1


def test_a_changed_text_is_found_at_its_step(db, ledger, recorded):
    record = next(r for r in ledger.records(recorded.id) if r.candidate.step == 11)
    text = record.candidate.proposal.text
    change(db, "UPDATE source SET text = ? WHERE text = ?", text.replace("class ", "class X", 1), text)
    found = replay(ledger, recorded)
    assert found.step == 11
    assert "another text" in found.difference


def test_a_changed_measurement_is_found_by_what_it_decided(db, ledger, recorded):
    """The first seeds' answers made wrong: others would have been timed in the end, or bred."""
    change(
        db,
        "UPDATE measurement SET value = 0.01 WHERE name = 'accuracy' AND evaluation_id IN "
        "(SELECT evaluation_id FROM candidate_evaluation JOIN candidate ON candidate.id = candidate_id WHERE step < 8)",
    )
    found = replay(ledger, recorded)
    assert found.step is not None
    assert found.difference


def test_a_changed_check_is_found(db, ledger, recorded):
    change(
        db,
        "UPDATE measurement SET value = value + 1 WHERE name = 'bytes_per_page' AND evaluation_id IN "
        "(SELECT evaluation_id FROM candidate_evaluation JOIN candidate ON candidate.id = candidate_id WHERE step = 6)",
    )
    found = replay(ledger, recorded)
    assert found.step == 6
    assert "bytes_per_page" in found.difference


def test_a_missing_evaluation_is_found(db, ledger, recorded):
    """Of a step that later ones saw."""
    (row,) = (e for e in ledger.records(recorded.id)[1].evaluations if e.key.stage is Stage.ORACLE)
    change(
        db,
        "DELETE FROM candidate_evaluation WHERE evaluation_id IN (SELECT id FROM evaluation WHERE stage = 'oracle' "
        "AND program_digest = ?)",
        row.key.program_digest,
    )
    found = replay(ledger, recorded)
    assert (found.step, found.difference) == (1, "its gates open stage oracle, never measured")


def test_a_changed_refusal_is_found(db, ledger, recorded):
    steps = [r.candidate.step for r in ledger.records(recorded.id) if r.candidate.status == "ok"]
    change(db, "UPDATE candidate SET status = 'duplicate' WHERE step = ?", steps[-1])
    found = replay(ledger, recorded)
    assert found.step == steps[-1]
    assert "status" in found.difference


def test_a_changed_seed_gives_another_campaign(db, ledger, recorded):
    change(db, "UPDATE campaign SET settings = ?", replace(SMALL, seed=4).to_json())
    found = replay(ledger, ledger.campaign(recorded.id))
    assert found.step == 4
    assert "grammar proposes another" in found.difference


def test_a_campaign_that_was_interrupted_is_replayed_as_far_as_it_went(ledger, fake):
    class Drainer(fake):
        def submit(self, task):
            super().submit(task)
            if len(self.tasks) == 60:
                loop.drain()

    campaign = start_campaign(ledger, SMALL)
    loop = Loop(ledger, Drainer(4), proposers_of(SMALL, {}), campaign)
    assert loop.run().end is End.INTERRUPTED
    found = replay(ledger, campaign)
    assert found.difference == ""
    assert found.num_steps == len(ledger.records(campaign.id))
    assert found.num_absent > 0


class Model:
    """A language model: its answers are its own, and sometimes there is none."""

    name = "llm"

    def propose(self, context):
        if context.step % 7 == 0:
            raise ProposerError("the endpoint is away")
        return Proposal(f"no program, step {context.step}\n", self.name, "explore", dollars=0.1)


def test_answers_of_language_models_are_taken_from_the_record(ledger, fake):
    config = replace(SMALL, proposers=("grammar", "llm"), num_candidates=6)
    campaign = start_campaign(ledger, config)
    grammar, _ = proposers_of(replace(config, proposers=("grammar", "random")), {})
    assert Loop(ledger, fake(4), [grammar, Model()], campaign).run().end is End.DONE
    found = replay(ledger, campaign)
    assert (found.difference, found.asked_again, found.from_record) == ("", ("grammar",), ("llm",))


def test_what_was_asked_in_vain_is_replayed_with_what_it_cost(ledger, fake):
    """Turns are drawn by dollars too; and who is asked in vain first may be no mistake."""

    class Dear(Model):
        def propose(self, context):
            if context.step % 2:
                return super().propose(replace(context, step=1))
            raise ProposerError("the answer broke off", 5.0, works=True)

    config = replace(SMALL, proposers=("llm", "grammar"), num_candidates=12, lag=4, bandit=True)
    campaign = start_campaign(ledger, config)
    grammar, _ = proposers_of(replace(config, proposers=("grammar", "random")), {})
    assert Loop(ledger, fake(4), [Dear(), grammar], campaign).run().end is End.DONE
    proposals = [r.candidate.proposal for r in ledger.records(campaign.id)]
    first = next(each for each in proposals if each.proposer == "llm")
    assert (first.operator, first.dollars) == ("failed", 5.0)
    assert replay(ledger, campaign).difference == ""


@pytest.mark.parametrize("num_away", [5, 7])  # steps
def test_a_campaign_that_was_resumed_after_failures_in_a_row_is_replayed_to_its_end(ledger, fake, num_away):
    """The model answers again at the sixth step, or at the eighth, before which `resume` stops twice more."""

    class Away(Model):
        def propose(self, context):
            if context.step in range(len(SMALL.seeds) + 1, len(SMALL.seeds) + 1 + num_away):
                raise ProposerError("its answer broke off", works=True)
            return super().propose(replace(context, step=context.step * 7 + 1))

    config = replace(SMALL, proposers=("llm",), num_candidates=6)
    campaign = start_campaign(ledger, config)
    ends = []
    while not ends or ends[-1].num_steps < len(SMALL.seeds) + num_away + config.num_candidates:
        ends.append(Loop(ledger, fake(4), [Away()], campaign).run())
        assert len(ends) < 10
    assert [each.end for each in ends] == [End.INFRASTRUCTURE] * (num_away - 4) + [End.DONE]
    assert "the last 5 proposals failed" in ends[0].message
    found = replay(ledger, campaign)
    assert (found.difference, found.num_absent) == ("", 0)
    assert found.num_steps == ends[-1].num_steps


def test_a_stop_rule_stops_the_replay_where_it_stopped(db, ledger, fake):
    config = replace(SMALL, num_candidates=60, patience=10)
    campaign = start_campaign(ledger, config)
    outcome = Loop(ledger, fake(4), proposers_of(config, {}), campaign).run()
    assert "no progress" in outcome.message
    assert replay(ledger, campaign).difference == ""
    change(db, "UPDATE campaign SET settings = ?", replace(config, patience=3).to_json())
    found = replay(ledger, ledger.campaign(campaign.id))
    assert found.step < outcome.num_steps
    assert "ends before it" in found.difference


def test_nothing_measured_is_nothing_to_replay(ledger):
    campaign = start_campaign(ledger, SMALL)
    with pytest.raises(ConfigError, match="nothing was measured"):
        replay(ledger, campaign)


def test_a_campaign_measured_in_two_places_is_refused(ledger, fake, recorded):
    class Elsewhere(fake):
        model_digest = "another"

    Loop(ledger, Elsewhere(4), proposers_of(SMALL, {}), recorded).run()
    with pytest.raises(ConfigError, match="2 circumstances"):
        replay(ledger, recorded)


def test_the_command_says_what_it_found(db, ledger, recorded, capsys):
    assert main(["replay", "--db", db]) == ExitCode.DONE
    assert "asked again: grammar, tune, greedy, best_of_n, random" in capsys.readouterr().out
    change(db, "UPDATE candidate SET rationale = 'mine' WHERE step = 9")
    assert main(["replay", str(recorded.id), "--db", db]) == ExitCode.REFUSED
    assert "differs first at step 9" in capsys.readouterr().out
    assert main(["replay", "--db", db, "--json"]) == ExitCode.REFUSED
    assert json.loads(capsys.readouterr().out)["step"] == 9
    assert main(["replay", "77", "--db", db]) == ExitCode.USAGE
