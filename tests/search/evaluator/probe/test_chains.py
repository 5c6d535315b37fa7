"""Chain problems: what they hold, how they are split, how answers are scored."""

from itertools import pairwise

import pytest

from search.evaluator.probe.chains import (
    ASK,
    END_PAIR,
    KINDS,
    SPLITS,
    START,
    VOCABULARY,
    Problem,
    make_problems,
    score,
    split_of,
    token_ids,
)

LENGTH = 512
RING = {"s0": "s1", "s1": "s2", "s2": "s3", "s3": "s0"}


def latest_pairs(problem: Problem) -> dict[str, str]:
    """Read the pairs off the prompt, the latest winning: the meaning of `following`."""
    words = problem.prompt.split(" ")
    return {words[i - 2]: words[i - 1] for i, word in enumerate(words) if word == END_PAIR}


def pair_positions(problem: Problem) -> dict[str, list[int]]:
    """Give the positions at which each key stands with a value."""
    words = problem.prompt.split(" ")
    found: dict[str, list[int]] = {}
    for i, word in enumerate(words):
        if word == END_PAIR:
            found.setdefault(words[i - 2], []).append(i - 2)
    return found


def asked_keys(problem: Problem) -> list[str]:
    return [problem.prompt.split(" ")[-1], *problem.chain[:-1]]


@pytest.mark.parametrize("kind", KINDS)
def test_prompt_and_answer_fill_the_length_exactly(kind):
    for num_tokens in (LENGTH, LENGTH + 1, 2032):
        for problem in make_problems(kind, 2, num_tokens, seed=3, split="search"):
            words = problem.prompt.split(" ")
            assert problem.num_prompt_tokens == len(words) == len(token_ids(problem.prompt))
            assert len(words) + problem.num_hops == num_tokens
            assert (words[0], words[-2]) == (START, ASK)
            assert set(words) <= set(VOCABULARY)


@pytest.mark.parametrize("kind", KINDS)
def test_following_is_what_the_prompt_says_last(kind):
    for problem in make_problems(kind, 4, LENGTH, seed=1, split="search"):
        assert latest_pairs(problem) == problem.following
        assert len(set(asked_keys(problem))) == problem.num_hops, "a chain repeats no key"


def test_problems_depend_on_their_arguments_alone():
    first = make_problems("many", 3, LENGTH, seed=1, split="search")
    assert make_problems("many", 3, LENGTH, seed=1, split="search") == first
    assert make_problems("many", 2, LENGTH, seed=1, split="search") == first[:2], "asking for fewer changes none"
    prompts = {p.prompt for p in first}
    assert prompts.isdisjoint(p.prompt for p in make_problems("many", 3, LENGTH, seed=2, split="search"))


@pytest.mark.parametrize("kind", KINDS)
def test_no_problem_can_be_in_both_splits(kind):
    for split in SPLITS:
        for seed in range(3):
            assert all(split_of(p.prompt) == split for p in make_problems(kind, 4, LENGTH, seed, split))


def test_far_asks_for_keys_of_the_first_quarter():
    for problem in make_problems("far", 4, 2032, seed=0, split="search"):
        positions = pair_positions(problem)
        assert max(positions[key][-1] for key in asked_keys(problem)) < 0.4 * problem.num_prompt_tokens
        assert all(len(places) == 1 for places in positions.values())


def test_overwrite_gives_each_key_one_earlier_other_value():
    for problem in make_problems("overwrite", 4, LENGTH, seed=0, split="search"):
        words = problem.prompt.split(" ")
        pairs = pair_positions(problem)
        for key, (stale, latest) in pairs.items():
            assert words[stale + 1] != words[latest + 1] == problem.following[key]
        assert max(stale for stale, _ in pairs.values()) < min(latest for _, latest in pairs.values())


def test_distract_repeats_asked_keys_without_a_value():
    for problem in make_problems("distract", 2, LENGTH, seed=0, split="search"):
        words = problem.prompt.split(" ")[:-2]
        bare = [a for a, b in pairwise(words) if b == "."]
        assert all(bare.count(key) >= 4 for key in asked_keys(problem))


def test_score_judges_each_hop_by_the_token_before_it():
    problem = Problem("many", "<s> ? s0", 3, RING, num_hops=5)
    assert problem.chain == ["s1", "s2", "s3", "s0", "s1"]
    assert score(problem, problem.chain) == [True] * 4
    assert score(problem, ["s3", "s0", "s1", "s2", "s3"]) == [True] * 4, "the first token is prefill's, not judged"
    assert score(problem, ["s1", "s3", "s0", "s1", "s2"]) == [False, True, True, True], "an error stays one error"
    assert score(problem, ["s1", "s9", "s2", "s3", "s0"]) == [False, False, True, True], "after no key nothing is right"
    assert score(problem, ["s1", ";", "<s>", "", "s3"]) == [False] * 4
    assert score(problem, ["s1", ";", ";", "s2", "s3"]) == [False, False, False, True]


def test_score_counts_missing_hops_as_wrong_and_ignores_surplus():
    problem = Problem("many", "<s> ? s0", 3, RING, num_hops=4)
    assert score(problem, []) == [False, False, False]
    assert score(problem, ["s1", "s2"]) == [True, False, False]
    assert score(problem, ["s1", "s2", "s3", "s0", "s9", "s9"]) == [True, True, True]
    assert len(score(problem, [])) == problem.num_scored


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="unknown kind of chain problem 'mnay'"):
        make_problems("mnay", 1, LENGTH, 0, "search")
    with pytest.raises(ValueError, match="unknown split 'test'"):
        make_problems("many", 1, LENGTH, 0, "test")
    with pytest.raises(ValueError, match="at least 108 tokens"):
        make_problems("far", 1, 64, 0, "search")
    assert make_problems("far", 1, 108, 0, "search")
