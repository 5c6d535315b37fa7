"""The probe runs through lm-eval itself, offline."""

import time

import pytest

from search.evaluator.probe.chains import KINDS, make_problems
from search.evaluator.probe.tasks import ProbeTasks

NUM = 3
PROBLEMS = [p for kind in KINDS for p in make_problems(kind, NUM, 256, seed=7, split="search")]
BY_PROMPT = {p.prompt: p for p in PROBLEMS}


def perfect(prompts, max_tokens):
    return [BY_PROMPT[prompt].chain[:max_tokens] for prompt in prompts]


@pytest.fixture(scope="module")
def probe():
    return ProbeTasks(PROBLEMS)


def test_a_perfect_generator_scores_one_and_is_called_once(probe):
    calls = []

    def counted(prompts, max_tokens):
        calls.append((len(prompts), max_tokens))
        return perfect(prompts, max_tokens)

    result = probe.run(counted)
    assert calls == [(len(PROBLEMS), 9)]
    assert result.num_scored == 8 * len(PROBLEMS)
    assert result.accuracy == 1.0
    assert dict(result.by_kind) == dict.fromkeys(KINDS, 1.0)


def test_a_wrong_generator_scores_nothing(probe):
    result = probe.run(lambda prompts, max_tokens: [[";"] * max_tokens for _ in prompts])
    assert result.accuracy == 0.0
    assert dict(result.by_kind) == dict.fromkeys(KINDS, 0.0)


def test_one_wrong_hop_is_found_where_it_is(probe):
    target = probe.problems[4]

    def slips(prompts, max_tokens):
        answers = perfect(prompts, max_tokens)
        answers[prompts.index(target.prompt)][-1] = ";"
        return answers

    result = probe.run(slips)
    assert [i for i, hop in enumerate(result.correct) if not hop] == [4 * 8 + 7]
    assert result.hops[4] == (True,) * 7 + (False,)
    assert dict(result.by_kind)[target.kind] == pytest.approx(1 - 1 / (8 * NUM))
    assert result.kinds[4] == target.kind


def test_runs_do_not_see_each_other_and_are_cheap(probe):
    first = probe.run(perfect)
    began = time.perf_counter()
    probe.run(lambda prompts, max_tokens: [[] for _ in prompts])
    assert probe.run(perfect) == first
    assert time.perf_counter() - began < 2.0


def test_problems_of_a_kind_are_brought_together():
    mixed = ProbeTasks(PROBLEMS[::-1])
    assert mixed.run(perfect).accuracy == 1.0
    assert list(mixed.tasks) == list(reversed(KINDS))


def test_too_few_answers_are_refused(probe):
    with pytest.raises(ValueError, match=r"answered 1 of \d+ prompts"):
        probe.run(lambda prompts, max_tokens: [["s1"]])


def test_no_problems_are_refused():
    with pytest.raises(ValueError, match="no probe problems"):
        ProbeTasks([])
