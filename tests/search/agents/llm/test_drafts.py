"""From answers to programs: whole, by edits, or by values."""

import pytest

from search.agents.llm.drafts import NO_PROGRAM, drafted
from vortex_dsl import load_program, zoo

SHOWN = zoo.text("twilight")
EDIT = "Another cut.\n\n<<<<<<< SEARCH\nclass Twilight(Program):\n=======\nclass Dusk(Program):\n>>>>>>> REPLACE\n"


@pytest.fixture
def context(context_at):
    return context_at(30)


def test_a_whole_program_is_taken_with_its_reasons(context):
    draft = drafted(f"Because.\n\n```python\n{SHOWN}```", "", context)
    assert (draft.text, draft.rationale, draft.complaint) == (SHOWN, "Because.", "")


def test_edits_change_the_program_that_was_shown(context):
    draft = drafted(EDIT, SHOWN, context)
    assert draft.text == SHOWN.replace("class Twilight", "class Dusk")
    assert draft.rationale == "Another cut."


def test_a_whole_program_beside_edits_is_the_answer(context):
    assert drafted(f"{EDIT.replace('Dusk', 'Day')}\n```python\n{SHOWN}```", SHOWN, context).text == SHOWN


def test_values_become_defaults_under_another_name(context):
    program = load_program(SHOWN)
    name = next(name for name in ("p", "mass", *program.tunables) if name in program.tunables)
    value = program.tunables[name].high
    for answer in (
        f'Less.\n\n```json\n{{"values": {{"{name}": {value}}}}}\n```',
        f'{{"why": "Less.", "values": {{"{name}": {value}}}}}',
    ):
        draft = drafted(answer, SHOWN, context)
        tuned = load_program(draft.text)
        assert tuned.values[name] == value
        assert tuned.name == "Twilight30"
        assert draft.rationale == "Less."
        assert dict(tuned.values) == dict(program.values) | {name: value}


@pytest.mark.parametrize(
    ("answer", "shown", "told"),
    [
        ("I would rather not.", SHOWN, NO_PROGRAM),
        ("", SHOWN, NO_PROGRAM),
        (EDIT, "", "no program that edits could change"),
        (EDIT.replace("Twilight(", "Twiligt("), SHOWN, "stand nowhere"),
        ('{"values": {"nothing": 1}}', SHOWN, "has no tunable 'nothing'"),
        ('{"values": {"sink": 1.5}}', SHOWN, "tunable 'sink'"),
        ('{"values": {"sink": null}}', SHOWN, "tunable 'sink'"),
        ('{"values": {"self": 1}}', SHOWN, "these values are refused"),
        ('{"values": {"sink": 1}}', "", "no program whose values"),
    ],
)
def test_what_holds_no_program_says_why_and_keeps_what_was_said(context, answer, shown, told):
    draft = drafted(answer, shown, context)
    assert told in draft.complaint
    assert draft.text == answer
