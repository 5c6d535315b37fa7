"""What is asked at a step: a pure function of the context, about programs that are there."""

from collections import Counter
from dataclasses import replace

import pytest

from search.agents.llm.choosing import CROSS, EXPLORE, MUTATE, OPERATORS, SIMPLIFY, TUNE
from search.agents.llm.operators import ask
from search.agents.shown.questions import instructions
from search.agents.shown.section import BUDGET_TOKENS, tokens_of
from search.journal.reflecting import REFLECT
from vortex_dsl import load_program


@pytest.fixture(scope="module")
def asked(context_at):
    return [ask(context_at(step), "llm") for step in range(30, 130)]


def of(asked, operator):
    return [each for each in asked if each.operator == operator]


def test_every_operator_is_asked_for_about_as_often_as_it_should(asked):
    counted = Counter(each.operator for each in asked)
    assert set(counted) == set(OPERATORS)
    assert counted[EXPLORE] + counted[MUTATE] > 50


def test_a_question_depends_on_the_step_and_on_who_asks_alone(context_at):
    assert ask(context_at(40), "llm") == ask(context_at(40), "llm")
    names = {ask(context_at(40), f"llm{i}").question for i in range(8)}
    assert len(names) > 1


def test_what_is_best_stands_in_every_question(asked, context_at):
    (best, *_) = context_at(30).archive.leaders(0.0)
    name = context_at(30).records[best.step].candidate.name
    assert all(name in each.question for each in asked)


def test_every_question_says_how_predictions_are_written_and_keeps_to_its_budget(asked, context_at):
    for each in asked:
        assert "```hypotheses" in each.question
        assert tokens_of(instructions(context_at(30))) + tokens_of(each.question) <= BUDGET_TOKENS


def test_an_agent_that_has_records_reflects_when_it_is_due(context_at, records):
    own = replace(
        records[-2],
        candidate=replace(records[-2].candidate, proposal=replace(records[-2].candidate.proposal, proposer="llm")),
    )
    due = replace(context_at(40, shown=(*records, own)), reflects=True)
    assert ask(due, "llm").operator == REFLECT
    assert "```notes" in ask(due, "llm").question
    assert ask(due, "llm").question.count("```hypotheses") == 1
    assert ask(due, "other").operator != REFLECT
    assert ask(replace(due, reflects=False), "llm").operator != REFLECT


def test_changes_of_one_program_show_it_as_edits_would_find_it(asked):
    for operator in (MUTATE, SIMPLIFY, TUNE):
        for each in of(asked, operator):
            (parent,) = each.parents
            assert each.shown in each.question
            assert load_program(each.shown + "\n").name == parent.candidate.name
            assert each.digests == (parent.candidate.program_digest,)
    assert all("<<<<<<< SEARCH" in each.question for each in of(asked, MUTATE))


def test_two_programs_are_crossed(asked):
    for each in of(asked, CROSS):
        first, second = each.parents
        assert first.candidate.program_digest != second.candidate.program_digest
        for parent in each.parents:
            assert f"class {parent.candidate.name}(Program)" in each.question


def test_numbers_to_tune_are_listed_without_the_budget(asked):
    for each in of(asked, TUNE):
        assert "* `sink = Int(" in each.question
        assert "* `pages = " not in each.question


def test_without_parents_another_idea_is_asked_for(context_at, seeds):
    context = context_at(30, shown=[])
    assert {ask(context, f"llm{i}").operator for i in range(20)} == {EXPLORE}


def test_nothing_is_left_to_fill_in(asked):
    assert not any("$" in each.question for each in asked)


def lengthened(records, num_tokens):
    """Give records whose programs have a docstring that a prompt counts as so many tokens."""

    def longer(record):
        proposal = record.candidate.proposal
        text = proposal.text.replace('"""\n', f'\n\n    {"(" * num_tokens}\n    """\n', 1)
        return replace(record, candidate=replace(record.candidate, proposal=replace(proposal, text=text)))

    return [longer(each) for each in records]


def test_where_a_parents_text_has_no_room_another_idea_is_asked_for(context_at, records):
    """What agents bring may be as long as a program may be, which is more than a prompt holds."""
    shown = lengthened(records, BUDGET_TOKENS)
    found = [ask(context_at(step, shown=shown), "llm") for step in range(30, 60)]
    assert {each.operator for each in found} == {EXPLORE}
    assert all(not each.parents for each in found)


def test_where_two_texts_have_no_room_together_one_is_changed(context_at, records):
    shown = lengthened(records, 4_000)
    found = [ask(context_at(step, shown=shown), "llm") for step in range(30, 90)]
    assert {MUTATE, EXPLORE} <= {each.operator for each in found}
    assert CROSS not in {each.operator for each in found}
    for each in found:
        assert tokens_of(instructions(context_at(30))) + tokens_of(each.question) <= BUDGET_TOKENS
