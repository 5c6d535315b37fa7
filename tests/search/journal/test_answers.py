"""What an answer holds for the journal, whatever form it has."""

import json
import time

import pytest

from search.agents.answers import split_answer
from search.journal.answers import entries_of
from search.journal.entries import MAX_HYPOTHESES, MAX_NOTES, Hypothesis, Note

PROGRAM = "from vortex_dsl import Program\n\n\nclass A(Program):\n    pass\n"
BLOCKS = f"""The idea.

```notes
holds: signs answer as well: kl 0.02 (Signs41)
* **Stop**: larger budgets
whatever else
```

```hypotheses
- `signs` keep order: at a tenth: `bytes_per_page <= 160 at 8`
it is better
```

```python
{PROGRAM}```
"""
SIGNS = Hypothesis("`signs` keep order: at a tenth", "bytes_per_page <= 160 at 8")


def test_blocks_are_read_and_the_program_stays():
    found = entries_of(BLOCKS)
    assert found.hypotheses == (SIGNS, Hypothesis("it is better", ""))
    assert found.notes == (
        Note("holds", "signs answer as well: kl 0.02 (Signs41)"),
        Note("stop", "larger budgets"),
        Note("other", "whatever else"),
    )
    text, rationale = split_answer(found.rest)
    assert text == PROGRAM
    assert rationale == "The idea."


@pytest.mark.parametrize(
    "hypotheses",
    [
        ["it keeps order: kl < 1"],
        "it keeps order: kl < 1\n",
        [{"text": "it keeps order", "prediction": "kl < 1"}],
        {"text": "it keeps\norder", "prediction": "kl < 1"},
    ],
)
def test_json_is_read(hypotheses):
    notes = [{"kind": "next", "text": "more"}, "stop: this"]
    found = entries_of(json.dumps({"program": PROGRAM, "hypotheses": hypotheses, "notes": notes}))
    assert found.hypotheses == (Hypothesis("it keeps order", "kl < 1"),)
    assert found.notes == (Note("next", "more"), Note("stop", "this"))
    assert split_answer(found.rest) == (PROGRAM, "")


@pytest.mark.parametrize("given", [None, 3, [3, None, [[]]], [{}], {"text": None}, [""], "", {"prediction": {}}])
def test_json_of_another_form_holds_nothing(given):
    found = entries_of(json.dumps({"program": PROGRAM, "hypotheses": given, "notes": given}))
    assert (found.hypotheses, found.notes) == ((), ())
    assert split_answer(found.rest)[0] == PROGRAM


@pytest.mark.parametrize("answer", ["", "no", "[]", "```hypotheses\n```", "[" * 100_000, "```", "null", PROGRAM])
def test_an_answer_without_entries_is_left_as_it_is(answer):
    found = entries_of(answer)
    assert (found.hypotheses, found.notes) == ((), ())
    assert split_answer(found.rest)[0].strip() in answer


def test_what_was_only_thought_was_not_said():
    assert entries_of(f"<think>{BLOCKS}</think>\n{PROGRAM}").hypotheses == ()


def test_there_are_bounds():
    many = "\n".join(f"claim {i}: kl < {i}" for i in range(100))
    found = entries_of(f"```hypotheses\n{many}\n```\n```notes\n{many}\n```\n")
    assert [each.text for each in found.hypotheses] == [f"claim {i}" for i in range(MAX_HYPOTHESES)]
    assert len(found.notes) == MAX_NOTES
    late = "x" * 100_000 + BLOCKS
    assert entries_of(late).hypotheses == ()


def test_several_blocks_keep_their_order():
    assert [
        h.text for h in entries_of("```hypotheses\na: kl < 1\n```\n\n```Hypotheses\nb: kl < 2\n```").hypotheses
    ] == [
        "a",
        "b",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_any_end_are_taken_out_and_no_others(end):
    found = entries_of(BLOCKS.replace("\n", end))
    assert found.hypotheses[0] == SIGNS
    assert split_answer(found.rest) == (PROGRAM, "The idea.")


def test_blocks_in_a_quotation_are_read():
    found = entries_of("".join(f"> {line}\n" for line in BLOCKS.splitlines()))
    assert found.hypotheses[0] == SIGNS


@pytest.mark.parametrize("unit", [">>\nx\n", ">-\nx\n"])
def test_quotations_within_others_are_read_in_seconds(unit):
    start = time.process_time()
    entries_of(unit * (60_000 // len(unit)))
    assert time.process_time() - start < 5
