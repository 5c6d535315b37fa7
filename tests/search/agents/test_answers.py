"""A good program in an answer of any form is found."""

import html
import json
import time

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
    "JSON in a block": f"Idea.\n```json\n{json.dumps({'program': P})}\n```\n",
    "a block in JSON": json.dumps({"idea": "Idea.", "content": f"```python\n{P}```\n"}),
    "a list of JSON": json.dumps([{"idea": "Idea.", "program": P}]),
    "JSON twice": json.dumps(f"Idea.\n```python\n{P}```\n"),
    "a tag": f"Idea.\n<program>\n{P}</program>\n",
    "an escaped tag": f"Idea.\n<code>\n{html.escape(P)}</code>\n",
    "a tag around a block": f"Idea.\n<answer>\n```python\n{P}```\n</answer>\n",
    "indented, without a fence": "Idea.\n\n" + "".join(f"    {line}\n" for line in P.splitlines()),
    "prose behind it, no block": f"Idea.\n\n{P}\nThis bounds every score from above.\n",
    "within HTML": f"Idea.\n<details>\n```python\n{P}```\n</details>\n",
    "a mark of byte order and hard spaces": f"\ufeffIdea.\n```python\n{P.replace('    ', chr(160) * 4)}```\n",
    "old carriage returns": f"Idea.\n```python\n{P}```\n".replace("\n", "\r"),
    "an open thought behind it": f"Idea.\n```python\n{P}```\n<think>Shall I",
    "the end of a thought alone": f"```python\nclass Draft(Program): pass\n```\n</think>\nIdea.\n```python\n{P}```\n",
    "thoughts in capitals": f"<Thinking>hm</Thinking>\nIdea.\n```python\n{P}```\n",
    "other blocks around it": f"Idea.\n```text\nq . k\n```\n```python\n{P}```\n```json\n{{}}\n```\n",
    "an edge in another fence": f"Idea.\n`````python\n{P}`````\n",
    "a quotation": "Idea.\n" + "".join(f"> {line}\n" for line in f"```python\n{P}```".splitlines()),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_program_and_its_reasons_are_found(form):
    text, reasons = split_answer(FORMS[form])
    assert load_program(text).name == "Quest"
    assert reasons.removeprefix("1. ").startswith("Idea.")
    assert "maximum(q * page.hi, q * page.lo)" not in reasons


def test_a_program_that_is_in_thoughts_alone_is_better_than_none():
    text, _ = split_answer(f"<think>I shall write\n```python\n{P}```\nand then I was cut off")
    assert load_program(text).name == "Quest"


@pytest.mark.parametrize(
    "answer",
    [
        "<think>" * 9000, "</think>" * 9000, "[" * 65_000, "![" * 32_000, "a\n" * 32_000, "```\n" * 16_000,
        "<code>" * 10_000, "class A(Program):\n" * 3_500, "> " * 32_000, '{"program": ' * 900,
    ],
    ids=lambda answer: answer[:12],
)  # fmt: skip
def test_no_answer_takes_long(answer):
    start = time.process_time()
    split_answer(answer)
    assert time.process_time() - start < 5


def test_the_last_program_counts():
    assert split_answer("a\n```\nold\n```\nb\n```python\nnew\n```\n") == ("new\n", "a\n```\nold\n```\nb")


@pytest.mark.parametrize("answer", ["", "I cannot do that.", "[1, 2]", '{"idea": 1}', "[" * 100_000])
def test_an_answer_without_a_program_stands_for_it(answer):
    assert split_answer(answer) == (answer, "")
