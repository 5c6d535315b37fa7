"""The student reads what stands in a question and no more, and the ablation compares campaigns of the real loop."""

import math
import random
from pathlib import Path

import pytest

from benchmarks.agents import __main__ as command
from benchmarks.agents import page, reading
from benchmarks.agents.ablation import (
    ARMS,
    BEFORE,
    LOOKS_ALONE,
    WHOLE,
    Rise,
    rise,
    rise_in_time,
    rises_of,
    worths,
)
from benchmarks.agents.student import BY_LAYER, CHEAPER, FACTOR, FINER, RICHER, SCORES, SOME_CHANNELS, Student, odds_of
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
    assert (known.few, known.between, known.ends, known.quarters) == (
        0.49,
        0.54,
        pytest.approx(0.6),
        (0.04, 0.19, 0.49, 0.27),
    )
    assert "represent" in known.led
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
    asked = 1 + FACTOR
    assert {poor[name] for name in (*SCORES, *RICHER)} == {asked} == {good[name] for name in CHEAPER}
    assert {odds_of(reading.Facts(by_layer=(0.9, 0.2)))[name] for name in BY_LAYER} == {asked}
    assert {odds_of(reading.Facts(between=0.4))[name] for name in FINER} == {asked}
    assert odds_of(reading.Facts(ends=0.6))["reserve"] == asked
    for known in (reading.Facts(few=0.5), reading.Facts(quarters=(0.1, 0.1, 0.4, 0.4)), reading.Facts(turns=True)):
        assert {odds_of(known)[name] for name in SOME_CHANNELS} == {asked}
    assert odds_of(reading.Facts(led=("tighten",)))["tighten"] == asked
    assert odds_of(reading.Facts(), ["tighten"])["tighten"] == 1 / FACTOR


def test_the_student_answers_as_many_questions_as_it_may_and_the_same_for_a_seed(question):
    asked = [{"role": "system", "content": ""}, {"role": "user", "content": question}]
    students = [Student(1, 2, Shape(3, 64)) for _ in range(2)]
    answers = [[each.ask(asked) for _ in range(2)] for each in students]
    assert answers[0] == answers[1]
    assert answers[0][0].text != answers[0][1].text
    for answer in answers[0]:
        load_program(reading.programs(answer.text)[-1])
        assert answer.usage.prompt > answer.usage.completion > 0
    talked = [*asked, {"role": "assistant", "content": answers[0][1].text}, {"role": "user", "content": "Again."}]
    assert students[0].ask(talked).text != answers[0][1].text, "to go on with a conversation is no new question"
    with pytest.raises(NoMoneyError):
        students[0].ask(asked)
    assert (students[0].num_begun, students[0].num_given) == (2, 3)


def made(arm, seed, seen, held_out):
    return Rise(arm, seed, seen, held_out, 0.1, 2, 1, 3, 4000, "", "")


def test_a_part_is_worth_what_the_whole_keeps_more_with_the_same_seed():
    rng = random.Random(0)
    masses = [rng.random() for _ in range(3)]
    rises = [made(WHOLE, i, m, m) for i, m in enumerate(masses)]
    rises += [made(BEFORE, i, m - 0.2, m - 0.1) for i, m in enumerate(masses)]
    whole, part = worths(rises)
    assert whole.less.value == 0
    assert part.less.value == pytest.approx(0.1)
    assert part.less.low == pytest.approx(part.less.high)
    assert part.less_seen.value == pytest.approx(0.2)
    assert (part.share_refused, part.num_answers, part.num_tokens) == (0.5, 3, 4000)


def test_what_is_within_the_luck_of_seeds_is_not_told_apart():
    rises = [made(WHOLE, i, m, m) for i, m in enumerate((0.5, 0.6, 0.4, 0.5))]
    rises += [made(BEFORE, i, m, m) for i, m in enumerate((0.4, 0.6, 0.5, 0.45))]
    _, part = worths(rises)
    assert part.less.low < 0 < part.less.high
    assert part.less.value == pytest.approx(0.0125)


@pytest.mark.parametrize("name", [WHOLE, BEFORE])
def test_a_campaign_of_two_proposals_is_a_function_of_its_seed(name, problem):
    arm = next(arm for arm in ARMS if arm.name == name)
    found = rise(problem, arm, 1, 2, RATIO)
    assert (found.arm, found.num_proposals) == (name, 2)
    assert found.num_answers == 2 if arm.turns == 1 else 2 <= found.num_answers <= 2 * arm.turns
    assert found.num_tokens > found.num_answers
    assert 0 <= found.num_programs <= 2
    assert 0 < found.seeds <= 1
    assert name != WHOLE or found == rise(problem, arm, 1, 2, RATIO)


class Read:
    """A recording that can be read, and is not searched on."""

    def selection(self):
        return None


def test_nothing_is_begun_once_time_is_up_or_where_it_is_known():
    where = Read()
    assert rise_in_time(where, 0, 0, 2, until_s=0.0) is None
    known = {(arm.name, seed) for arm in ARMS for seed in range(2)}
    assert list(rises_of(where, range(2), 2, 1, known, until_s=math.inf)) == []


def test_a_recording_that_is_not_there_is_told(tmp_path, capsys):
    assert command.main(["ablation", "--recordings", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert "none" in capsys.readouterr().err


def test_the_page_is_what_the_newest_file_tells(tmp_path):
    assert (ROOT / "docs" / "ablation.md").read_text() == page.page(page.FOLDER), (
        "run python -m benchmarks.agents ablation --markdown > docs/ablation.md"
    )
    assert page.NONE_YET in page.page(tmp_path)
    rises = [made(WHOLE, seed, 0.5, 0.4) for seed in range(5)] + [made(BEFORE, seed, 0.4, 0.35) for seed in range(5)]
    rises += [made(LOOKS_ALONE, seed, 0.5, 0.4) for seed in range(4)]
    (tmp_path / "recorded").write_bytes(b"")
    here = page.circumstances(tmp_path / "recorded", 2)
    path, none = page.begun(tmp_path, here)
    assert none == []
    page.write(path, here, rises)
    told = page.page(tmp_path)
    assert f"| {BEFORE} | 0.400 | +0.250 [+0.250, +0.250] | +0.050 [+0.050, +0.050] | " in told
    assert f"as worse: {BEFORE}; as better: none." in told
    assert f"| {LOOKS_ALONE} |" not in told, "four seeds say nothing"
    assert "so that nothing can be said: the whole question, no look; names of the best alone, and looks; " in told
    assert set(page.begun(tmp_path, here)[1]) == set(rises), "a search that is there is not made again"
    assert page.begun(tmp_path, here | {"num_proposals": 3})[1] == []
