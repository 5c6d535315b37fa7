"""A good program in an answer of any form is found."""

import json

import pytest

from search.agents.answers import split_answer
from vortex_dsl import load_program, zoo

P = zoo.text("quest").strip() + "\n"
FORMS = {
    "plain": f"Idea.\n```python\n{P}```\n",
    "another language's word": f"Idea.\n```python3\n{P}```\n",
    "title": f'Idea.\n```python title="mine.py"\n{P}```\n',
    "carriage returns": f"Idea.\n```python\n{P}```\n".replace("\n", "\r\n"),
    "tildes": f"Idea.\n~~~python\n{P}~~~\n",
    "cut off behind the program": f"Idea.\n```python\n{P}",
    "in a list": "1. Idea.\n   ```python\n" + "".join(f"   {line}\n" for line in P.splitlines()) + "   ```\n",
    "usage behind it": f"Idea.\n```python\n{P}```\nRun it:\n```sh\nvortex check mine.py\n```\n",
    "its heart behind it": f"Idea.\n```python\n{P}```\nThe heart is\n```python\nbound = maximum(q * page.hi, 0)\n```\n",
    "thoughts before it": f"<think>\n```python\nclass Draft(Program): pass\n```\n</think>\nIdea.\n```python\n{P}```\n",
    "four backticks": f"Idea.\n````python\n{P}````\n",
    "no block": f"Idea.\n\n{P}",
    "JSON": json.dumps({"idea": "Idea.", "program": P}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_program_and_its_reasons_are_found(form):
    text, reasons = split_answer(FORMS[form])
    assert load_program(text).name == "Quest"
    assert reasons.removeprefix("1. ").startswith("Idea.")
    assert "maximum(q * page.hi, q * page.lo)" not in reasons


def test_the_last_program_counts():
    assert split_answer("a\n```\nold\n```\nb\n```python\nnew\n```\n") == ("new\n", "a\n```\nold\n```\nb")


@pytest.mark.parametrize("answer", ["", "I cannot do that.", "[1, 2]", '{"idea": 1}', "[" * 100_000])
def test_an_answer_without_a_program_stands_for_it(answer):
    assert split_answer(answer) == (answer, "")
