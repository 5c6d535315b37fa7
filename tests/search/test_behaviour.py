"""Signatures estimate how much of what two rules attend to is the same, alike on every machine."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.behaviour import NUM_BINS, SIZE, Behaviours, likeness, nearest_earlier, same_behaviour, sketch
from search.records import Candidate, Evaluation, EvaluationKey, Proposal, Record, Stage, Status

PAIRS = st.sets(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=200)
KNOWN = {(0, 0), (1, 5), (2**32 - 1, 7)}


def signature(pairs):
    rows, units = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    return sketch(rows, units)


def overlapping(num, share, seed):
    """Draw two sets of so many pairs in all, of which a share is in both."""
    drawn = [divmod(int(x), 256) for x in np.random.default_rng(seed).choice(2**20, num, replace=False)]
    both = round(share * num)
    half = (num - both) // 2
    return drawn[: both + half], drawn[:both] + drawn[both + half :]


@settings(deadline=None)
@given(PAIRS, st.randoms())
def test_equal_sets_have_equal_signatures_in_any_order_and_however_often_a_pair_is_named(pairs, rng):
    order = [*pairs, *pairs]
    rng.shuffle(order)
    rows, units = np.array(order, dtype=np.int64).reshape(-1, 2).T
    assert sketch(rows, units) == signature(pairs)
    assert len(signature(pairs)) == 2 * SIZE
    assert likeness(signature(pairs), signature(pairs)) == 1


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_likeness_is_a_share_and_the_same_from_both_sides(one, other):
    a, b = signature(one), signature(other)
    assert 0 <= likeness(a, b) == likeness(b, a) <= 1


@pytest.mark.parametrize("num", [60, 400, 3000])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_likeness_estimates_the_overlap(num, share):
    """Within four standard errors, and without bias over many sets."""
    found = [likeness(*map(signature, overlapping(num, share, seed))) for seed in range(40)]
    allowed = 4 * (0.04 if num < NUM_BINS else 0.03)
    assert max(abs(each - share) for each in found) < allowed
    assert np.mean(found) == pytest.approx(share, abs=allowed / np.sqrt(40) + 0.014 * (share == 0))  # cut at 0


def test_a_single_page_more_or_less_is_seen_in_small_sets():
    one = {(row, 3 * row) for row in range(50)}
    assert signature(one) != signature(one - {(4, 12)})
    assert likeness(signature(one), signature(one - {(4, 12)})) > 0.9


def test_nothing_is_like_nothing_only():
    assert likeness(signature(set()), signature(set())) == 1
    assert likeness(signature(set()), signature(KNOWN)) < 0.15


def test_the_signature_is_the_same_in_every_process():
    """It stands in ledgers, so it must not move: not with Python's hash seed, nor with a later version of ours."""
    script = (
        "import numpy as np; from search.behaviour import sketch;"
        f"print(sketch(*np.array({sorted(KNOWN)}, dtype=np.int64).T), end='')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == signature(KNOWN)
    assert told.stdout.startswith("eeebeaeeaaaabeabbabaaaab")


def test_the_nearest_is_the_most_alike_and_the_first_of_equals():
    behaviours, base = Behaviours(), overlapping(800, 1.0, 0)[0]
    assert behaviours.nearest(signature(base)) is None
    for i in range(200):
        behaviours.add(i, signature(overlapping(800, 0.0, 100 + i)[0]))
    near = signature(base[:700])
    behaviours.add(200, near)
    behaviours.add(201, near)
    place, found = behaviours.nearest(signature(base))
    assert (place, len(behaviours)) == (200, 202)
    assert found == pytest.approx(700 / 800, abs=0.08)
    behaviours.add(202, signature(base))
    assert behaviours.nearest(signature(base)) == (202, 1.0)


@pytest.mark.parametrize("text", ["", "xyz", "00" * (SIZE - 1), "0" * (2 * SIZE + 1), "a" * 16])
def test_what_is_no_signature_is_refused(text):
    for use in (lambda: likeness(text, signature(KNOWN)), lambda: Behaviours().add(1, text),
                lambda: Behaviours().nearest(text)):  # fmt: skip
        with pytest.raises(ValueError, match=r"a signature of behaviour is 256 hex digits, but this is"):
            use()


def record(step, *screens):
    """Give a candidate with signatures by ratio, under a workload for each."""
    evaluations = tuple(
        Evaluation(
            EvaluationKey(f"p{step}", Stage.SCREEN, f"w{ratio}", model, "e", "1", 0),
            Status.OK,
            answers=answers,
            ratio=ratio,
        )
        for ratio, answers, model in screens
    )
    candidate = Candidate(1, step, Proposal("", "grammar", "mutate"), Status.OK, "", f"p{step}", f"Rule{step}", step)
    return Record(candidate, evaluations)


BASE = overlapping(800, 1.0, 0)[0]
SAME, NEAR, FAR = signature(BASE), signature(BASE[:700]), signature(overlapping(800, 1.0, 1)[0])


def test_the_nearest_is_sought_among_earlier_candidates_on_the_same_queries():
    mine = record(5, (8.0, SAME, "m"), (16.0, SAME, "m"))
    others = [
        record(0, (8.0, FAR, "m"), (16.0, FAR, "m")),
        record(1, (8.0, NEAR, "m")),
        record(2, (8.0, SAME, "another model"), (32.0, SAME, "m")),
        record(3),
        mine,
        record(6, (8.0, SAME, "m")),
    ]
    found = nearest_earlier(mine, others)
    assert [(each.record.candidate.step, each.ratio) for each in found] == [(1, 8.0), (0, 16.0)]
    assert found[0].likeness == pytest.approx(700 / 800, abs=0.08)
    assert found[1].likeness < 0.15
    assert nearest_earlier(record(5), others) == nearest_earlier(others[0], others) == []


def test_the_same_behaviour_is_one_signature_at_one_ratio():
    seeds = [record(0, (8.0, FAR, "m")), record(1, (8.0, SAME, "m"), (16.0, NEAR, "m")), record(2, (8.0, SAME, "m"))]
    assert same_behaviour(record(9, (8.0, SAME, "m")), seeds, 8.0) is seeds[1]
    assert same_behaviour(record(9, (8.0, SAME, "m"), (16.0, SAME, "m")), seeds, 16.0) is None
    assert same_behaviour(record(9, (8.0, NEAR, "m")), seeds, 8.0) is None
    assert same_behaviour(record(9, (8.0, SAME, "another model")), seeds, 8.0) is None
    assert same_behaviour(record(9), seeds, 8.0) is None
    assert same_behaviour(record(9, (8.0, "", "m")), [record(0, (8.0, "", "m"))], 8.0) is None
