"""Leaders are simplified after a search: what chooses the same pages with a part less leads in their place."""

import hashlib
from contextlib import closing
from dataclasses import replace

import pytest

from search.agents.seeds import seed_proposals
from search.agents.simplifying import SIMPLIFIER
from search.campaigns.replay import replay
from search.commands.campaign import _shorter
from search.commands.watching.progress import Lines, Steps
from search.config import CampaignConfig
from search.loop import Loop, start_campaign
from search.outcome import End
from search.ranking.simpler import SIMPLER, is_simpler, num_operations
from search.records import Evaluation, Measurement, Proposal, Stage, Status
from search.store.ledger import SqlLedger
from search.workloads import workloads_for
from vortex_dsl import Shape, load_program, trace

NEUTRAL = " * where(layer.index % 2 == 0, self.less, 1.0)"
LADEN = f"""from vortex_dsl import Float, Int, Program, dot, layer, topk, where


class Laden(Program):
    "Rank pages by their mean keys; the budget has a factor that does nothing."

    less = Float(1.0, low=0.25, high=1.0)
    pages = Int(64, low=1, high=1024, log=True)

    def summarize(self, k, v):
        return {{"middle": (0.5 * k.max("token") + 0.5 * k.min("token")).to("int8")}}

    def select(self, q, page):
        return topk(dot(q, page.middle, "dim").max("head"), self.pages{NEUTRAL})
"""
PLAIN = LADEN.replace(NEUTRAL, "")
CONFIG = CampaignConfig(
    seed=1, num_candidates=1, proposers=("scripted",), seeds=("dense", "quest", "centroid"), ratios=(4, 8),
    num_layers=30, workloads=workloads_for(0), lag=4, simplify_trials=12,
)  # fmt: skip


class Scripted:
    """Proposes one program."""

    name = "scripted"

    def __init__(self, text):
        self._text = text

    def propose(self, context):
        return Proposal(self._text, self.name, "explore")


@pytest.fixture
def judging(fake):
    """The fake evaluator, to which the neutral factor makes no difference and what is laden is the best."""

    class Judging(fake):
        def __init__(self, *args, worse=0.0, **named):
            super().__init__(*args, failure_rate=0.0, **named)
            self.worse = worse

        def _run(self, task):
            found, is_laden = super()._run(task), "less = " in task.text
            answers = hashlib.sha512(behaviour(task).encode()).hexdigest() * 2
            kl = 0.01 if behaviour(task) == behaviour(task, LADEN) else 0.5
            kl += self.worse * (not is_laden)
            if task.key.stage is Stage.FIDELITY:
                return replace(found, measurements=(Measurement("kl", kl, 0.9 * kl, 1.1 * kl),))
            if task.key.stage in (Stage.RETRIEVAL, Stage.SERVE):
                name = "accuracy" if task.key.stage is Stage.RETRIEVAL else "speedup"
                return replace(found, measurements=(Measurement(name, 1.0, 0.9, 1.1),))
            return replace(found, answers=answers) if task.key.stage is Stage.SCREEN else found

    return Judging


def behaviour(task, text=None):
    program = load_program((text or task.text).replace(NEUTRAL, ""))
    values = {name: value for name, value in task.values if name in program.tunables}
    return trace(program.with_values(**values), Shape(2, 64)).digest


def run(ledger, evaluator, config=CONFIG, campaign=None, text=LADEN):
    campaign = campaign or start_campaign(ledger, config)
    return Loop(ledger, evaluator, [Scripted(text)], campaign).run(), campaign


def trials(ledger, campaign):
    return [record for record in ledger.records(campaign.id) if is_simpler(record)]


def test_a_leader_with_a_neutral_part_ends_without_it(ledger, judging):
    outcome, campaign = run(ledger, judging(2))
    (laden,) = (r for r in ledger.records(campaign.id) if r.candidate.proposal.proposer == "scripted")
    assert outcome.end is End.DONE
    led = {(each.record.candidate.proposal.operator, each.ratio) for each in outcome.leaders}
    assert {(SIMPLER, 4.0), (SIMPLER, 8.0)} <= led
    (leader,) = {
        each.record.candidate.step: each.record for each in outcome.leaders if is_simpler(each.record)
    }.values()
    proposal = leader.candidate.proposal
    assert "self.pages)" in proposal.text
    assert "less" not in load_program(proposal.text).tunables
    assert (proposal.proposer, proposal.parents) == (SIMPLIFIER, (laden.candidate.program_digest,))
    assert f"self.pages in place of self.pages{NEUTRAL}" in proposal.rationale
    assert num_operations(leader) < num_operations(laden)
    assert outcome.simplified == ((leader, laden),)
    told = _shorter(leader, laden)
    assert f"is {num_operations(laden) - num_operations(leader)} operations shorter than Laden" in told
    standings = {s.digest: s for s in ledger.standings(campaign.id) if s.ratio == 4.0}
    assert standings[leader.candidate.program_digest].confirmed
    assert not standings[laden.candidate.program_digest].confirmed


def test_it_goes_through_every_stage_and_what_attends_otherwise_through_none(ledger, judging):
    outcome, campaign = run(ledger, judging(2))
    led = {each.record.candidate.step for each in outcome.leaders}
    stages = {r.candidate.step: {e.key.stage for e in r.evaluations} for r in trials(ledger, campaign)}
    (step,) = led & stages.keys()
    assert stages.pop(step) >= {Stage.RECALL, Stage.ORACLE, Stage.FIDELITY, Stage.RETRIEVAL, Stage.SERVE}
    assert stages
    assert all(each <= {Stage.CHECK, Stage.SCREEN} for each in stages.values())


def test_without_a_neutral_part_it_costs_no_more_than_the_trials(ledger, judging):
    outcome, campaign = run(ledger, judging(2), text=PLAIN)
    found = trials(ledger, campaign)
    assert 0 < len(found) <= CONFIG.simplify_trials
    assert all(e.key.stage in (Stage.CHECK, Stage.SCREEN) for r in found for e in r.evaluations)
    assert outcome.simplified == ()
    assert "Laden" in {each.record.candidate.name for each in outcome.leaders}
    _, campaign = run(ledger, judging(2), replace(CONFIG, simplify_trials=2), text=PLAIN)
    assert len(trials(ledger, campaign)) == 2


def test_who_loses_more_does_not_take_the_place(ledger, judging):
    outcome, campaign = run(ledger, judging(2, worse=0.005))
    assert trials(ledger, campaign)
    assert outcome.simplified == ()
    assert {each.record.candidate.name for each in outcome.leaders} & {"Laden"}


def test_it_is_the_same_whoever_measures_and_when_replayed(tmp_path, judging):
    told = []
    for number, shuffle in ((1, 0), (8, 3)):
        with closing(SqlLedger(f"sqlite:///{tmp_path / f'{number}.db'}")) as ledger:
            _, campaign = run(ledger, judging(number, shuffle=shuffle))
            told.append([(r.candidate.proposal, r.candidate.status) for r in ledger.records(campaign.id)])
            found = replay(ledger, campaign)
            assert (found.difference, found.num_absent) == ("", 0)
            assert found.num_steps == len(told[-1])
    assert told[0] == told[1]


@pytest.mark.parametrize("crash_after", [20, 30, 40, 50])
def test_a_campaign_that_is_killed_goes_on_as_if_undisturbed(tmp_path, ledger, judging, crash_after):
    with closing(SqlLedger(f"sqlite:///{tmp_path / 'whole.db'}")) as whole:
        outcome, campaign = run(whole, judging(2))
        steps = [record.candidate.proposal for record in whole.records(campaign.id)]
    campaign = start_campaign(ledger, CONFIG)
    with pytest.raises(RuntimeError, match="killed"):
        run(ledger, judging(2, crash_after=crash_after), campaign=campaign)
    assert replay(ledger, campaign).difference == ""
    again, _ = run(ledger, judging(2), campaign=campaign)
    assert [record.candidate.proposal for record in ledger.records(campaign.id)] == steps
    measured = judging(2)
    last, _ = run(ledger, measured, campaign=campaign)
    assert measured.tasks == []
    led = [[(e.record.candidate.step, e.ratio) for e in each.leaders] for each in (outcome, again, last)]
    assert led[0] == led[1] == led[2]


def test_the_progress_tells_of_the_search_alone(ledger, judging, capsys):
    lines = Lines(Steps())
    campaign = start_campaign(ledger, CONFIG)
    for _ in range(2):  # the second time it is resumed
        Loop(ledger, judging(2), [Scripted(LADEN)], campaign, lines).run()
        num_given = len(seed_proposals(CONFIG))
        assert lines.num_finished == lines.num_candidates == num_given + 1
    assert SIMPLIFIER not in "".join(capsys.readouterr())


def test_time_that_is_over_ends_the_search_and_simplifies_its_leaders_all_the_same(ledger, judging):
    class Slow(judging):
        def _run(self, task):
            return replace(super()._run(task), elapsed_s=1.0)

    outcome, _ = run(ledger, Slow(2), replace(CONFIG, max_worker_seconds=5.0))
    assert outcome.end is End.DONE
    assert len(outcome.simplified) == 1


def test_a_trial_that_fails_is_no_simplification(ledger, judging):
    class Failing(judging):
        def _run(self, task):
            is_tried = task.key.stage is Stage.SCREEN and "Without a part" in task.text
            return Evaluation(task.key, Status.CRASHED, "made to fail") if is_tried else super()._run(task)

    outcome, campaign = run(ledger, Failing(2))
    assert {record.status for record in trials(ledger, campaign)} <= {Status.CRASHED, Status.DUPLICATE}
    assert outcome.simplified == ()
    assert "Laden" in {each.record.candidate.name for each in outcome.leaders}
