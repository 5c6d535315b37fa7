"""What failed by our own fault is measured after all by whoever resumes a campaign, and its replay follows that."""

from dataclasses import replace

import pytest

from search.campaigns.proposers import proposers_of
from search.campaigns.replay import replay
from search.cli import main
from search.commands.exits import ExitCode
from search.config import CampaignConfig
from search.loop import Loop, start_campaign
from search.outcome import End
from search.records import Evaluation, Stage, Status
from search.workloads import workloads_for

ROUND = ("grammar", "tune", "greedy", "best_of_n", "random")
SMALL = CampaignConfig(
    seed=3, num_candidates=24, seeds=("dense", "quest", "quest_sub", "centroid"), ratios=(4, 8), proposers=ROUND,
    num_layers=30, workloads=workloads_for(0), recall_share=0.3,
)  # fmt: skip

LONG = replace(SMALL, num_candidates=40)


@pytest.fixture
def losing(fake):
    """A class of evaluators that lose their worker with the programs that come to a stage as the so manieth.

    `drain_after` so many more evaluations, once the first of them was tried three times, the loop is interrupted.
    """

    class Losing(fake):
        def __init__(self, stage, *which, drain_after=None):
            super().__init__(4, shuffle=5)
            self.loop, self._stage, self._which, self._left, self._come = None, stage, which, drain_after, []
            self._num_lost = 0

        def _run(self, task):
            if self._num_lost >= 3 and self._left is not None:
                self._left -= 1
                if self._left < 0:
                    self.loop.drain()
            if task.key.stage is not self._stage:
                return super()._run(task)
            if task.text not in self._come:
                self._come.append(task.text)
            if self._come.index(task.text) in self._which:
                self._num_lost += 1
                return Evaluation(task.key, Status.INFRASTRUCTURE, "the worker was lost")
            return super()._run(task)

    return Losing


def run(ledger, campaign, evaluator):
    config = CampaignConfig.from_json(campaign.settings)
    loop = evaluator.loop = Loop(ledger, evaluator, proposers_of(config, {}), campaign)
    return loop.run().end


@pytest.mark.parametrize(("stage", "which"), [(Stage.SCREEN, [2]), (Stage.RECALL, [1, 4]), (Stage.FIDELITY, [2])])
def test_a_campaign_that_lost_a_worker_is_resumed_and_replayed(ledger, losing, stage, which):
    campaign = start_campaign(ledger, SMALL)
    run(ledger, campaign, losing(stage, *which))
    before = len(ledger.records(campaign.id))
    assert {e.status for r in ledger.records(campaign.id) for e in r.evaluations} >= {Status.INFRASTRUCTURE}
    assert run(ledger, campaign, losing(None)) is End.DONE
    assert all(e.status is not Status.INFRASTRUCTURE for r in ledger.records(campaign.id) for e in r.evaluations)
    found = replay(ledger, campaign)
    assert (found.step, found.difference, found.num_absent) == (None, "", 0)
    assert found.late
    assert {until for _, until in found.late} == {before}


@pytest.mark.parametrize("drain_after", [4, 20])
def test_so_is_one_that_was_interrupted_before(ledger, losing, drain_after):
    """In between: steps before are finished first, without what was lost; those to come know it."""
    campaign = start_campaign(ledger, LONG)
    assert run(ledger, campaign, losing(Stage.RECALL, 2, drain_after=drain_after)) is End.INTERRUPTED
    before = len(ledger.records(campaign.id))
    assert run(ledger, campaign, losing(None)) is End.DONE
    found = replay(ledger, campaign)
    assert (found.step, found.difference, found.num_absent) == (None, "", 0)
    assert {until for _, until in found.late} == {before}
    assert before < len(ledger.records(campaign.id))


def test_what_is_lost_again_and_again_is_known_once_it_is_measured(ledger, losing):
    campaign = start_campaign(ledger, LONG)
    for stage, which in ((Stage.RECALL, 2), (Stage.RECALL, 0), (Stage.ORACLE, 0), (Stage.FIDELITY, 0)):
        run(ledger, campaign, losing(stage, which, drain_after=6))
    assert run(ledger, campaign, losing(None)) is End.DONE
    found = replay(ledger, campaign)
    assert (found.step, found.difference, found.num_absent) == (None, "", 0)
    assert len({each.resumed for each in ledger.unmeasured(campaign.id)}) > 2


def test_one_that_was_out_of_order_is_replayed_too(ledger, losing):
    campaign = start_campaign(ledger, SMALL)
    assert run(ledger, campaign, losing(Stage.ORACLE, *range(2, 40))) is End.INFRASTRUCTURE
    assert run(ledger, campaign, losing(None)) is End.DONE
    assert replay(ledger, campaign).difference == ""


def test_nobody_need_resume_it(ledger, losing):
    campaign = start_campaign(ledger, SMALL)
    assert run(ledger, campaign, losing(Stage.RECALL, 2)) is End.DONE
    found = replay(ledger, campaign)
    assert (found.difference, found.late) == ("", ())


def test_who_resumes_it_elsewhere_measures_all_of_it_there(ledger, losing):
    """What was lost on one machine is no matter of another."""
    campaign = start_campaign(ledger, SMALL)
    run(ledger, campaign, losing(Stage.RECALL, 2))

    class Elsewhere(losing):
        model_digest = "another"

    assert run(ledger, campaign, Elsewhere(None)) is End.DONE
    assert all(each.until is None for each in ledger.unmeasured(campaign.id))


def test_the_command_tells_which_step_was_late(db, ledger, losing, capsys):
    campaign = start_campaign(ledger, SMALL)
    run(ledger, campaign, losing(Stage.RECALL, 2))
    run(ledger, campaign, losing(None))
    (late,) = replay(ledger, campaign).late
    assert main(["replay", "--db", db]) == ExitCode.DONE
    told = f"step {late[0]} was measured to its end only when the campaign was resumed: known from step {late[1]} on"
    assert told in capsys.readouterr().out
