"""What proposals become: candidates, duplicates, refusals, and the end of a campaign that nobody has any for."""

from dataclasses import replace

import pytest
from fake_campaigns import NUM_SEEDS, SMALL
from fake_evaluator import FakeEvaluator

from search.agents.grammar import Grammar
from search.config import LAG, CampaignConfig, ConfigError
from search.contracts import ProposerError
from search.loop import Loop, start_campaign
from search.outcome import End
from search.records import Proposal, Status
from vortex_dsl import zoo

WINDOW = """from vortex_dsl import Int, Program, reserved_only


class Window(Program):
    \"\"\"Keep only sinks and a window of {step} pages.\"\"\"

    window = Int({step}, 1, 64)

    def select(self, q, page):
        return reserved_only()
"""


def test_the_same_rule_with_another_budget_is_a_duplicate(ledger):
    quest = zoo.text("quest").replace("{", "{{").replace("}", "}}")
    config = CampaignConfig(num_candidates=2, proposers=("scripted",), seeds=("quest",), num_layers=30, ratios=(8,))
    campaign = start_campaign(ledger, config)
    answers = [quest.replace("Int(64", f"Int({pages}") for pages in (8, 9)]
    answers = [text.replace("    def summ", "    dense_layers = Int(0, 0, 8)\n\n    def summ", 1) for text in answers]
    Loop(ledger, FakeEvaluator(2, failure_rate=0), [Scripted(*answers)], campaign).run()
    statuses = [record.candidate.status for record in ledger.records(campaign.id)]
    assert statuses[0] is Status.OK
    assert set(statuses[1:]) == {Status.DUPLICATE}


class Scripted:
    """Proposes what it is given, step by step."""

    name = "scripted"

    def __init__(self, *answers):
        self._answers = list(answers)

    def propose(self, context):
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Proposal(answer.format(step=context.step), self.name, "explore")


def scripted(ledger, num_candidates, *answers):
    config = CampaignConfig(num_candidates=num_candidates, proposers=("scripted",), seeds=(), ratios=())
    campaign = start_campaign(ledger, config)
    outcome = Loop(ledger, FakeEvaluator(2, failure_rate=0), [Scripted(*answers)], campaign).run()
    return outcome, ledger.records(campaign.id)


def program(step):
    return WINDOW.replace("{step}", str(step))


def test_refused_and_repeated_programs_are_recorded_and_do_not_count(ledger):
    bad = "from vortex_dsl import Program\n\nimport os\n"
    _, records = scripted(ledger, 3, program(1), bad, program(1), program(2), program(3))
    statuses = [record.candidate.status for record in records]
    assert statuses == [Status.OK, Status.PROGRAM_ERROR, Status.DUPLICATE, Status.OK, Status.OK]
    assert "3:1" in records[1].candidate.message
    assert records[2].candidate.program_digest == records[0].candidate.program_digest


def test_a_text_is_never_taken_for_a_path(ledger):
    _, records = scripted(ledger, 1, "/etc/passwd", program(1))
    assert records[0].candidate.status is Status.PROGRAM_ERROR


def test_a_campaign_of_nothing_but_refusals_ends(ledger):
    outcome, records = scripted(ledger, 5, "no program")
    assert outcome.end is End.NO_FEASIBLE
    assert len(records) == 2 * 5 + LAG


def test_a_proposer_that_is_away_from_the_start_stops_the_run(ledger):
    outcome, records = scripted(ledger, 3, ProposerError("connection refused"))
    assert outcome.end is End.INFRASTRUCTURE
    assert "connection refused" in outcome.message
    assert records == []


def test_a_proposer_that_fails_later_costs_a_step(ledger):
    outcome, records = scripted(ledger, 2, program(1), ProposerError("overloaded"), program(2))
    assert outcome.end is End.DONE
    assert [r.candidate.status for r in records] == [Status.OK, Status.INFRASTRUCTURE, Status.OK]
    assert records[1].candidate.message == "overloaded"


def test_a_first_step_in_vain_costs_no_more_where_others_were_answered(ledger):
    """Those that are asked beside it may be at their second question, with no proposal yet."""
    outcome, records = scripted(ledger, 1, ProposerError("this one is refused", works=True), program(1))
    assert outcome.end is End.DONE
    assert [r.candidate.status for r in records] == [Status.INFRASTRUCTURE, Status.OK]


def test_a_proposer_that_never_comes_back_ends_the_run(ledger):
    outcome, records = scripted(ledger, 3, program(1), ProposerError("away"))
    assert outcome.end is End.INFRASTRUCTURE
    assert len(records) == 6


def test_a_fault_of_ours_surfaces(ledger):
    with pytest.raises(ZeroDivisionError):
        scripted(ledger, 3, program(1), ZeroDivisionError())


def test_proposers_must_match_the_campaign(ledger):
    with pytest.raises(ConfigError, match="one for each"):
        Loop(ledger, FakeEvaluator(), [Grammar()], start_campaign(ledger, SMALL))


def test_money_ends_a_campaign(ledger):
    class Dear(Grammar):
        def propose(self, context):
            return replace(super().propose(context), dollars=0.4)

    config = replace(SMALL, proposers=("grammar",), max_dollars=1.0)
    campaign = start_campaign(ledger, config)
    outcome = Loop(ledger, FakeEvaluator(4), [Dear()], campaign).run()
    assert outcome.num_admitted == NUM_SEEDS + 3
