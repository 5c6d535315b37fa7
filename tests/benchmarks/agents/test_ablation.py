"""The student reads what stands in a question and no more, and the ablation compares campaigns of the real loop."""

import json
import random
from pathlib import Path

import pytest

from benchmarks.agents import __main__ as command
from benchmarks.agents import page, reading
from benchmarks.agents.ablation import ARMS, BEFORE, WHOLE, Rise, rise, worths
from benchmarks.agents.student import BY_LAYER, CHEAPER, FACTOR, RICHER, SCORES, Student, odds_of
from benchmarks.search.problems import split
from search.contracts import NoMoneyError
from tests.benchmarks.search.conftest import recorded
from vortex_dsl import Shape, load_program

ROOT = Path(__file__).parents[3]
RATIO = 4.0


@pytest.fixture(scope="module")
def question():
    """The rendered question of docs/prompt.md."""
    text = (ROOT / "docs" / "prompt.md").read_text()
    return text.split("````text\n")[2].split("````")[0]


@pytest.fixture(scope="module")
def known(question):
    return reading.facts(question)


@pytest.fixture(scope="module")
def problem():
    return split("recorded", "a digest", recorded())


def test_facts_are_those_of_the_question(known):
    assert (known.kept, known.possible, known.choosing, known.page_bytes) == (0.825, 0.927, pytest.approx(0.13), 96)
    assert known.front["TwoStage"] == (0.857, 704)
    assert (known.tried["CentroidGqa"], known.held[0], known.by_layer[:2]) == (6, 0.45, (0.61, 0.70))
    assert [load_program(text).name for text in known.task] == ["WithValues56"]
    assert list(known.inspirations) == ["TwoStage"]
    assert "CentroidGqa92" in known.under_way
    assert "SparQ" in known.failed


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm.name.startswith("without '")], ids=lambda arm: arm.name)
def test_what_is_left_out_cannot_be_read(arm, question, known):
    title = arm.name.split("'")[1]
    cut = arm.cut(question)
    assert not any(name.startswith(title) for name in reading.sections(cut))
    assert reading.facts(cut).task == known.task
    is_there = any(name.startswith(title) for name in reading.sections(question))
    assert (reading.facts(cut) != known) == is_there


def test_the_question_as_it_was_before_has_names_and_no_numbers(question, known):
    before = reading.facts(next(arm for arm in ARMS if arm.name == BEFORE).cut(question))
    assert before.task == known.task
    assert before == reading.Facts(task=known.task)


def test_facts_turn_the_odds_and_nothing_else_does():
    assert set(odds_of(reading.Facts()).values()) == {1.0}
    poor, good = (odds_of(reading.Facts(kept=kept, possible=0.9)) for kept in (0.5, 0.85))
    assert {poor[name] for name in (*SCORES, *RICHER)} == {FACTOR} == {good[name] for name in CHEAPER}
    assert {odds_of(reading.Facts(by_layer=(0.9, 0.2)))[name] for name in BY_LAYER} == {FACTOR}
    assert odds_of(reading.Facts(), ["tighten"])["tighten"] == 1 / FACTOR


def test_the_student_answers_with_a_program_as_often_as_it_may_and_the_same_for_a_seed(question):
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": question}]
    students = [Student(1, 2, Shape(3, 64)) for _ in range(2)]
    answers = [[each.ask(messages).text for _ in range(2)] for each in students]
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]
    for text in answers[0]:
        load_program(reading.programs(text)[-1])
    with pytest.raises(NoMoneyError):
        students[0].ask(messages)


def test_a_part_is_worth_what_the_whole_keeps_more_with_the_same_seed():
    rng = random.Random(0)
    masses = [rng.random() for _ in range(3)]
    rises = [Rise(WHOLE, i, m, m, 0.1, 1, 1, 0, "", "") for i, m in enumerate(masses)]
    rises += [Rise("part", i, m - 0.2, m - 0.1, 0.1, 1, 1, 0, "", "") for i, m in enumerate(masses)]
    whole, part = worths(rises)
    assert whole.less.value == 0
    assert part.less.value == pytest.approx(0.1)
    assert part.less.low == pytest.approx(part.less.high)
    assert part.less_of_search.value == pytest.approx(0.2)


@pytest.mark.parametrize("name", [WHOLE, BEFORE])
def test_a_campaign_of_two_answers_is_a_function_of_its_seed(name, problem):
    arm = next(arm for arm in ARMS if arm.name == name)
    found = rise(problem, arm, 1, 2, RATIO)
    assert (found.arm, found.num_answers) == (name, 2)
    assert 1 <= found.num_programs + found.num_refused <= 2
    assert 0 < found.seeds <= 1
    assert found == rise(problem, arm, 1, 2, RATIO)


def test_a_recording_that_is_not_there_is_told(tmp_path, capsys):
    assert command.main(["ablation", "--recordings", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert "none" in capsys.readouterr().err


def test_the_page_is_what_the_newest_file_tells(tmp_path):
    assert (ROOT / "docs" / "ablation.md").read_text() == page.page(page.FOLDER), (
        "run python -m benchmarks.agents ablation --markdown > docs/ablation.md"
    )
    assert page.NONE_YET in page.page(tmp_path)
    rises = [Rise(WHOLE, 0, 0.5, 0.4, 0.3, 2, 1, 1, "", "")]
    (tmp_path / "file").write_bytes(b"")
    page.write(tmp_path / f"{page.ABOUT}_1.json", tmp_path / "file", 2, rises, worths(rises))
    assert f"| {WHOLE} | 0.500 | +0.100 | +0.000 |" in page.page(tmp_path)
    assert json.loads((tmp_path / f"{page.ABOUT}_1.json").read_text())["num_answers"] == 2
