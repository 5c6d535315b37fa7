"""Chain problems: what they hold, how they are split, how answers are scored."""

from collections import Counter
from itertools import pairwise

import pytest

from search.evaluator.probe.chains import (
    KINDS,
    Problem,
    formats_of,
    make_problems,
    min_tokens,
    score,
)
from search.evaluator.probe.records import WIDTHS
from search.evaluator.probe.vocabulary import (
    ALIASES,
    ASK,
    END_FILLER,
    FORMATS,
    HELD_OUT_FORMAT,
    NAMES,
    START,
    VOCABULARY,
    token_ids,
)
from search.workloads import SPLITS, split_by_hash

LENGTH = 512
RING = {"s0": "s1", "s1": "s2", "s2": "s3", "s3": "s0"}


def records_in(problem: Problem) -> list[tuple[int, list[str]]]:
    """Read the records off the prompt by their format: the position of each and its names."""
    form, words = FORMATS[problem.form], problem.prompt.split(" ")[1:-2]
    found: list[tuple[int, list[str]]] = []
    at = 0
    while at < len(words):
        end = next(i for i in range(at + 1, len(words) + 1) if words[i - 1] == END_FILLER or (words[i - 1] == form.end
                   and (i - 1 > at or form.start != form.end)))  # fmt: skip
        run = words[at:end]
        if run[-1] == form.end:
            assert run[: bool(form.start)] == [form.start][: bool(form.start)]
            inside = run[bool(form.start) : -1]
            assert all(join == form.join for join in (inside[1::2] if form.join else []))
            found.append((at + 1, inside[::2] if form.join else inside))
        at = end
    return found


def latest_links(problem: Problem) -> dict[str, str]:
    return {name: after for _, record in records_in(problem) for name, after in pairwise(record)}


def looked_up(problem: Problem) -> list[str]:
    """Give the names that are looked up for the answer, aliases included."""
    links, asked = latest_links(problem), [problem.prompt.split(" ")[-1]]
    while asked[-1] != problem.chain[-1]:
        asked.append(links[asked[-1]])
    return asked[:-1]


@pytest.mark.parametrize("kind", KINDS)
def test_prompt_and_answer_fill_the_length_exactly(kind):
    for num_tokens in (LENGTH, LENGTH + 1, 2032):
        for problem in make_problems(kind, 4, num_tokens, seed=3, split="held_out"):
            words = problem.prompt.split(" ")
            assert problem.num_prompt_tokens == len(words) == len(token_ids(problem.prompt))
            assert len(words) + problem.num_hops == num_tokens
            assert (words[0], words[-2]) == (START, ASK)
            assert set(words) <= set(VOCABULARY)


@pytest.mark.parametrize("kind", KINDS)
def test_following_is_what_the_prompt_says_last(kind):
    for problem in make_problems(kind, 8, LENGTH, seed=1, split="held_out"):
        links = latest_links(problem)
        said = {name: links.get(after, after) if after in ALIASES else after for name, after in links.items()}
        assert {name: after for name, after in said.items() if name not in ALIASES} == problem.following
        asked = [problem.prompt.split(" ")[-1], *problem.chain[:-1]]
        assert len(set(asked)) == problem.num_hops, "a chain repeats no key"


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
            assert all(split_by_hash(p.prompt) == split for p in make_problems(kind, 4, LENGTH, seed, split))


def test_one_format_is_met_in_the_held_out_split_only():
    forms = {split: {p.form for p in make_problems("many", 40, 256, 0, split)} for split in SPLITS}
    assert forms["held_out"] == set(FORMATS) == set(formats_of("held_out"))
    assert forms["search"] == set(FORMATS) - {HELD_OUT_FORMAT}
    mark = FORMATS[HELD_OUT_FORMAT].join
    assert not any(mark in p.prompt.split(" ") for p in make_problems("many", 40, 256, 0, "search"))


def test_no_count_of_keys_fits_all_pages():
    """A rule that keeps so many keys of a page must not be exact by accident."""
    in_page: Counter[int] = Counter()
    num_keys = set()
    for problem in make_problems("many", 12, 2032, seed=0, split="search"):
        records = records_in(problem)
        positions = [at for at, record in records for _ in record[1:]]
        in_page.update(Counter(at // 16 for at in positions).values())
        num_keys.add(len(problem.following))
        assert {len(record) for _, record in records} == set(WIDTHS)
    assert len(num_keys) >= 10, "the number of keys is drawn"
    share_above = {n: sum(v for k, v in in_page.items() if k > n) / in_page.total() for n in (3, 5, 8)}
    assert share_above[3] > 0.5
    assert share_above[5] > 0.2
    assert share_above[8] > 0.02


def test_fillers_come_in_runs_of_varying_length_without_neighbouring_names():
    for kind in ("many", "distract"):
        for problem in make_problems(kind, 4, 2032, seed=0, split="search"):
            words, form = problem.prompt.split(" ")[1:-2], FORMATS[problem.form]
            ends = [i for i, word in enumerate(words) if word in {END_FILLER, form.end}]
            runs = [words[a + 1 : b + 1] for a, b in pairwise([-1, *ends])]
            runs = [run[:-1] for run in runs if run[-1] == END_FILLER]
            assert len({len(run) for run in runs}) >= 12
            assert not any(a in NAMES and b in NAMES for run in runs for a, b in pairwise(run))


def test_far_asks_for_records_of_the_first_part():
    for problem in make_problems("far", 4, 2032, seed=0, split="search"):
        asked = set(looked_up(problem))
        latest = max(at for at, record in records_in(problem) if asked & set(record[:-1]))
        assert latest < 0.4 * problem.num_prompt_tokens


def test_overwrite_gives_each_name_one_earlier_other_successor():
    for problem in make_problems("overwrite", 8, LENGTH, seed=0, split="held_out"):
        said: dict[str, list[tuple[int, str]]] = {}
        for at, record in records_in(problem):
            for name, after in pairwise(record):
                said.setdefault(name, []).append((at, after))
        assert all(len(both) == 2 and both[0][1] != both[1][1] for both in said.values())
        assert max(both[0][0] for both in said.values()) < min(both[1][0] for both in said.values())


def test_distract_repeats_looked_up_names_without_a_successor():
    for problem in make_problems("distract", 2, 1024, seed=0, split="search"):
        words = problem.prompt.split(" ")[:-2]
        starts = Counter(
            word for before, word in pairwise(words) if before in {START, END_FILLER, FORMATS[problem.form].end}
        )
        assert all(starts[name] >= 4 for name in looked_up(problem))


def test_indirect_leads_through_aliases_of_other_records():
    shares = []
    for problem in make_problems("indirect", 4, 2032, seed=0, split="search"):
        asked = looked_up(problem)
        shares.append(sum(name in ALIASES for name in asked) / problem.num_hops)
        assert set(problem.chain).isdisjoint(ALIASES), "an alias is never an answer"
        assert all(name not in ALIASES for _, record in records_in(problem) for name in record[1:-1])
    assert 0.5 < sum(shares) / len(shares) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_shortest_length_holds_every_problem(kind):
    least = min_tokens(kind)
    for problem in make_problems(kind, 60, least, seed=0, split="held_out"):
        assert len(problem.prompt.split(" ")) + problem.num_hops == least
        assert len(problem.following) > problem.num_hops
    with pytest.raises(ValueError, match=f"ask for at least {least} tokens"):
        make_problems(kind, 1, least - 1, 0, "search")


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


def test_unknown_names_are_told():
    with pytest.raises(ValueError, match="unknown kind of chain problem 'mnay'"):
        make_problems("mnay", 1, LENGTH, 0, "search")
    with pytest.raises(ValueError, match="unknown split 'test'"):
        make_problems("many", 1, LENGTH, 0, "test")
