"""A quick look at a program beside its parents and the best published rule, over a scripted looker."""

from dataclasses import replace

import pytest

from search.agents.look import look, published
from search.contracts import LookError
from search.records import Evaluation, EvaluationKey, Measurement, Proposal, Stage, Status
from tests.search.agents.looking import Scripted
from vortex_dsl import ProgramError, zoo

RATIO = 3.0


def recalled(record, mass):
    key = EvaluationKey(record.candidate.program_digest, Stage.RECALL, "w", "m", "e", "1", 0)
    taken = Evaluation(key, Status.OK, measurements=(Measurement("mass", mass),), ratio=RATIO)
    return replace(record, evaluations=(*record.evaluations, taken))


@pytest.fixture
def context(context_at, seeds):
    """Two published rules were measured at the ratio, Quest being the better one."""
    masses = {"Quest": 0.8, "Centroid": 0.7}
    shown = [recalled(r, masses[r.candidate.name]) if r.candidate.name in masses else r for r in seeds]
    return replace(context_at(30, shown=shown), ratios=(RATIO,), lengths=(8000,))


def proposed(name):
    return Proposal(zoo.text(name), "llm", "explore", values=(("dense_layers", 0),))


def named(context, name):
    return next(r for r in context.records if r.candidate.name == name)


def test_the_best_published_rule_is_the_one_that_was_measured_best(context):
    assert published(context, RATIO).candidate.name == "Quest"
    assert published(context, 16.0) is None


def test_a_program_stands_beside_its_parent_and_the_best_published_rule(context):
    looker = Scripted({"QuestSub": 0.9, "Quest": 0.8, "Centroid": 0.7})
    seen = look(proposed("quest_sub"), RATIO, context, looker, [named(context, "Centroid")])
    assert seen.is_best
    told = seen.told()
    assert "QuestSub at a cost ratio of 3, with a budget of" in told
    assert "keeps 0.900 of the model's attention" in told
    assert "* the parent, Centroid, keeps 0.700 (+0.200 for yours)" in told
    assert "* the best published rule, Quest, keeps 0.800 (+0.100 for yours)" in told
    assert "layer 1 0.800 of 0.950 (Centroid 0.600, Quest 0.700)" in told


def test_every_program_is_looked_at_with_the_budget_of_the_ratio(context):
    looker = Scripted({"QuestSub": 0.9, "Quest": 0.8})
    look(proposed("quest_sub"), RATIO, context, looker)
    budgets = {name: dict(values)["pages"] for name, values in looker.asked}
    assert set(budgets) == {"QuestSub", "Quest"}
    assert budgets["QuestSub"] < budgets["Quest"]


def test_kinds_of_text_are_told_where_there_are_several(context):
    looker = Scripted({"QuestSub": 0.9, "Quest": 0.8}, kinds=("prose", "code"))
    told = look(proposed("quest_sub"), RATIO, context, looker).told()
    assert "By kind of text" in told
    assert "code 0.900 of 0.950 (Quest 0.800)" in told
    alone = Scripted({"QuestSub": 0.9, "Quest": 0.8}, kinds=("prose",))
    assert "By kind of text" not in look(proposed("quest_sub"), RATIO, context, alone).told()


def test_what_keeps_less_than_another_is_not_the_best(context):
    looker = Scripted({"QuestSub": 0.75, "Quest": 0.8})
    assert not look(proposed("quest_sub"), RATIO, context, looker).is_best


def test_reasons_for_no_look_are_sentences(context, context_at, seeds):
    looker = Scripted({"QuestSub": 0.9})
    with pytest.raises(LookError, match="cost ratio of 1000"):
        look(proposed("quest_sub"), 1000.0, context, looker)
    with pytest.raises(ProgramError, match="class"):
        look(Proposal("x = 1\n", "llm", "explore"), RATIO, context, looker)
    unmeasured = [replace(r, evaluations=()) for r in seeds]
    with pytest.raises(LookError, match="no program of this campaign has been compared"):
        look(proposed("quest_sub"), RATIO, replace(context_at(30, shown=unmeasured), ratios=(RATIO,)), looker)
