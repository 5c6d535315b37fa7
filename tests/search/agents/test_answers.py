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
    "never closed, with words behind it": f"Idea.\n```python\n{P}\nThis keeps what matters.\n",
    "closed as if it began": f"Idea.\n```python\n{P}```python\n",
    "HTML": f'Idea.\n<pre><code class="language-python">\n{html.escape(P)}</code></pre>\n',
    "HTML without a word for code": f"Idea.\n<pre>{html.escape(P)}</pre>",
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
    "a fence that ends in the last line": f"Idea.\n```python\n{P.rstrip()}```\nThat is all.\n",
    "a fence that ends in the last line, another behind it": f"Idea.\n```python\n{P.rstrip()}```\n```sh\nls\n```\n",
    "a fence that begins in a line": f"Idea. ```python\n{P}```\n",
    "a token of a chat's template behind a fence": f"Idea.\n```python\n{P}```<|im_end|>\n",
    "a token of a chat's template behind the program": f"Idea.\n\n{P.rstrip()}</s>",
    "a section of a tag's characters": f"Idea.\n<program><![CDATA[{P}]]></program>\n",
    "JSON with line breaks in its texts": '{"idea": "Idea.", "program": "' + P.replace('"', '\\"') + '"}',
    "JSON with a comma too many": 'Idea.\n{"program": ' + json.dumps(P) + ",}",
    "JSON with line breaks in its texts, in a block": 'Idea.\n```json\n{"program": "'
    + P.replace('"', '\\"')
    + '"}\n```\n',
    "a block in a block": f"Idea.\n```markdown\n```python\n{P}```\n```\n",
    "YAML in a block": "Idea.\n```yaml\nprogram: |\n" + "".join(f"  {line}\n" for line in P.splitlines()) + "```\n",
    "its import in another block": "Idea.\n```python\n{}\n```\n```python\n{}```\n".format(*P.split("\n\n\n", 1)),
    "thoughts in brackets": f"[THINK]```python\nclass Draft(Program): pass\n```[/THINK]\nIdea.\n```python\n{P}```\n",
    "a page's end in it": f"Idea.\n```python\n\x0c{P}```\n",
    "JSON that was cut off": "Idea.\n" + json.dumps({"program": P})[:-2],
    "JSON within JSON": "Idea.\n" + json.dumps({"name": "submit", "arguments": {"program": P}}),
    "JSON within JSON in a block": f"Idea.\n```json\n{json.dumps({'result': {'code': P}})}\n```\n",
    "JSON of lines": json.dumps({"idea": "Idea.", "program": P.splitlines()}),
    "a quotation": "Idea.\n" + "".join(f"> {line}\n" for line in f"```python\n{P}```".splitlines()),
    "a quotation in a quotation": "Idea.\n" + "".join(f"> > {line}\n" for line in f"```python\n{P}```".splitlines()),
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
        '"code": "class A(Program):" ' * 9_000, '"code": "' + "\\" * 64_000,
        "<code><![CDATA[" * 4_000 + "]]>   " * 4_000,
        ">>\nx\n" * 13_000, ">-\nx\n" * 13_000, "> - > 1. >\nx\n" * 5_000,
    ],
    ids=lambda answer: answer[:12],
)  # fmt: skip
def test_no_answer_takes_long(answer):
    start = time.process_time()
    split_answer(answer)
    assert time.process_time() - start < 5


def test_what_only_looks_like_an_end_is_left_in_the_program():
    """Three backticks around a word in a docstring, brackets before a comparison, a docstring that shows a fence."""
    said = P.replace('"""', '"""Of ```pages```\n\n    q[i[0]]>0\n\n    ', 1)
    text, _ = split_answer(f"Idea.\n```python\n{said}```\n")
    assert text == said
    fenced = P.replace('"""', '"""As\n\n    ```\n    topk```\n\n    ', 1)
    assert split_answer(f"Idea.\n````python\n{fenced}````\n")[0] == fenced
    tagged, _ = split_answer(f"Idea.\n<program>\n{said}</program>\n")
    assert tagged == said


def test_what_helps_a_program_may_stand_behind_it_without_a_fence():
    helped = P + "\n\ndef nothing():\n    return 0\n\n\nNOTHING = 0\n"
    text, reasons = split_answer(f"Idea.\n\n{helped}\nThat is all.\n")
    assert text.strip() == helped.strip()
    assert "That is all." in reasons


def test_the_last_program_counts():
    assert split_answer("a\n```\nold\n```\nb\n```python\nnew\n```\n") == ("new\n", "a\n```\nold\n```\nb")


@pytest.mark.parametrize("answer", ["", "I cannot do that.", "[1, 2]", '{"idea": 1}', "[" * 100_000])
def test_an_answer_without_a_program_stands_for_it(answer):
    assert split_answer(answer) == (answer, "")
