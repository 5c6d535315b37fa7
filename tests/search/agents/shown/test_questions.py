"""Whole prompts, one for each operator, within their budget."""

import pytest

from search.agents.shown.front import ranked
from search.agents.shown.questions import OPERATORS, TASK, Brief, instructions, question_of
from search.agents.shown.section import BUDGET_TOKENS, PromptError, tokens_of
from search.records import Context

NUM_PARENTS = {"explore": 0, "mutate": 1, "cross": 2, "tune": 1, "simplify": 1, "reflect": 0}


def brief(context, operator, budget=BUDGET_TOKENS):
    parents = tuple(each.record for each in ranked(context, 8.0)[1 : 1 + NUM_PARENTS[operator]])
    return Brief(context, "grammar", parents, budget)


def test_every_operator_has_a_question():
    assert set(OPERATORS) == set(NUM_PARENTS)
    assert all(function.__doc__ for function in OPERATORS.values())


@pytest.mark.parametrize("operator", NUM_PARENTS)
@pytest.mark.parametrize("budget", [6_000, BUDGET_TOKENS, 30_000])
def test_instructions_and_question_keep_to_the_budget(midway, operator, budget):
    asked = brief(midway, operator, budget)
    question = question_of(operator, asked)
    assert tokens_of(instructions(midway)) + tokens_of(question) <= budget
    assert f"# {TASK}" in question
    assert ("Left out for want of room" in question) == (budget < 30_000)
    assert "$" not in question
    for parent in asked.parents:
        assert f"class {parent.candidate.name}(Program)" in question.split(f"# {TASK}")[1]


@pytest.mark.parametrize("operator", NUM_PARENTS)
def test_a_question_is_a_pure_function(midway, operator):
    assert question_of(operator, brief(midway, operator)) == question_of(operator, brief(midway, operator))


def test_what_was_measured_of_each_parent_is_told(midway):
    asked = brief(midway, "cross", 30_000)
    question = question_of("cross", asked)
    for parent in asked.parents:
        assert f"# What was measured of {parent.candidate.name}" in question
        assert f"# What a step of {parent.candidate.name} costs" in question


def test_numbers_to_tune_are_listed_without_the_budget(midway):
    question = question_of("tune", brief(midway, "tune"))
    listed = question.split("It has these numbers:")[1]
    assert "`sink = Int(" in listed
    assert "`pages = " not in listed


def test_the_most_important_sections_stand_in_a_small_budget(midway):
    question = question_of("mutate", brief(midway, "mutate", 8_000))
    assert "# The best programs so far" in question
    assert "# What was measured of" in question
    assert "Published ideas" in question.split("Left out for want of room")[1]


def test_a_first_question_needs_no_records():
    context = Context(0, 0, (), frozenset(), 2, 64, 1000)
    question = question_of("explore", Brief(context, "llm"))
    assert "Nothing has been measured yet." in question
    assert "Invent a program" in question


def test_a_budget_without_room_for_the_task_is_a_sentence(midway):
    with pytest.raises(PromptError, match="has no room for 'Your task'"):
        question_of("mutate", brief(midway, "mutate", 4_000))


@pytest.mark.parametrize(("operator", "error"), [("invent", KeyError), ("mutate", ValueError), ("cross", ValueError)])
def test_what_cannot_be_asked_is_refused(midway, operator, error):
    with pytest.raises(error):
        question_of(operator, Brief(midway, "llm"))


def test_the_page_of_the_docs_is_this_prompt(generate):
    """What docs/prompt.md shows comes from the ledger of a real campaign, by the code that agents are asked with."""
    page = generate.prompt_page()
    assert page == (generate.FOLDER / "prompt.md").read_text()
    assert "smollm2, a real model" in page
    assert "when\n64 of its candidates were measured and 36 under way" in page
