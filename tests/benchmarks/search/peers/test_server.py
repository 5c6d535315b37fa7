"""What peers are answered: mutations that are programs and new, and scores as long as evaluations are left."""

import json
import urllib.error
import urllib.request

import pytest

from benchmarks.search.peers.server import Desk, programs_of, served
from benchmarks.search.runs import judge
from search.fit import fit
from vortex_dsl import load_program, zoo

RATIO, NUM = 4.0, 3
PROMPT = """# History
```python
{other}
```
# Current Program
```python
{current}
```
# Task
```python
# Your rewritten program here
```"""


@pytest.fixture
def desk(selection):
    return Desk(selection, RATIO, seed=0, num=NUM)


def post(url, body):
    with urllib.request.urlopen(
        urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=60
    ) as got:
        return json.load(got)


def test_a_chat_answers_with_a_mutated_program(desk):
    prompt = PROMPT.format(other=zoo.text("centroid"), current=zoo.text("quest"))
    question = {
        "model": "mutations",
        "messages": [{"role": "system", "content": ""}, {"role": "user", "content": prompt}],
    }
    with served(desk) as address:
        answers = [post(f"{address}/v1/chat/completions", json.dumps(question).encode()) for _ in range(3)]
    texts = [answer["choices"][0]["message"]["content"].split("```python\n")[1].split("```")[0] for answer in answers]
    for text in texts:
        load_program(text)
    assert len({*texts, zoo.text("quest")}) == 4


def test_the_current_program_is_told_from_the_others():
    parent, others = programs_of(PROMPT.format(other="one", current="two"))
    assert parent == "two\n"
    assert others == ["one\n", "# Your rewritten program here\n"]
    with pytest.raises(ValueError, match="no current program"):
        programs_of("```python\none\n```")


def test_mutations_are_new(desk, selection):
    terms = selection.terms
    digests = [fit(desk.mutate(zoo.text("quest"), []), (), terms, RATIO).digest for _ in range(5)]
    assert len(set(digests)) == 5


def test_scores_are_those_of_the_search(desk, selection):
    judged = judge(selection, zoo.text("centroid"), (), RATIO, "")
    answer = desk.evaluate(zoo.text("centroid"))
    assert answer["score"] == judged.search
    assert set(answer["layers"]) == {"mass_layer_1", "mass_layer_4", "mass_layer_7"}
    assert (answer["message"], answer["left"]) == ("", NUM - 1)


def test_evaluations_come_to_an_end(desk):
    names = ("centroid", "centroid", "quest", "streaming", "ball")
    answers = [desk.evaluate(zoo.text(name)) for name in names]
    assert [each["left"] for each in answers] == [2, 2, 1, 0, 0]
    assert answers[-1]["score"] == 0.0
    assert desk.evaluate(zoo.text("centroid"))["score"] == answers[0]["score"] > 0
    assert len(desk.evaluated) == NUM


def test_what_is_no_program_scores_nothing(desk):
    assert desk.evaluate("import os\n")["score"] == 0.0
    assert "import" in desk.evaluate("import os\n")["message"]
    assert desk.evaluate(zoo.text("oracle_mass"))["score"] == 0.0  # it does not reach the ratio


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [("/elsewhere", b"{}", 404), ("/evaluate", b"no JSON", 400), ("/evaluate", b"{}", 400), ("/evaluate", b"", 413)],
)
def test_bad_questions_are_refused(desk, path, body, code):
    with served(desk) as address, pytest.raises(urllib.error.HTTPError) as refused:
        post(address + path, body)
    refused.value.close()
    assert refused.value.code == code
