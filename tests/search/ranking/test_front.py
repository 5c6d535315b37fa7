"""Who stands on the front, who is folded, and who can never win."""

from dataclasses import replace

import pytest

from search.ranking.front import beats, is_faster, sections
from search.ranking.standing import Standing

NOTHING = dict.fromkeys(
    (
        *("accuracy", "accuracy_low", "accuracy_high", "recall", "speedup", "speedup_low", "speedup_high"),
        *("pages_attended", "bytes_per_page"),
    )
)


def row(number, **figures):
    usual = {"name": f"P{number}", "digest": f"p{number}", "origin": "grammar/mutate", "parents": ()}
    place = {"device": "Xeon", "model": "m", "ratio": 16.0, "environment": "e", "model_digest": "m"}
    return Standing(id=number, **{**usual, **NOTHING, **place, **figures})


def ids(rows):
    return [each.id for each in rows]


def test_front_is_what_nothing_beats_in_all_three():
    rows = [
        row(1, kl=0.1, retrieval_loss=0.2, speedup=1.5, speedup_low=1.4),
        row(2, kl=0.2, retrieval_loss=0.1, speedup=1.5, speedup_low=1.4),
        row(3, kl=0.3, retrieval_loss=0.3, speedup=2.5, speedup_low=2.0),
        row(4, kl=0.2, retrieval_loss=0.2, speedup=1.5, speedup_low=1.4),
        row(5, kl=0.1, retrieval_loss=0.2, speedup=9.0, speedup_low=1.3),
    ]
    (section,) = sections(rows)
    assert (ids(section.front), ids(section.folded)) == ([1, 2, 3], [4, 5])


def test_speed_is_the_lower_bound_and_modelled_only_where_not_both_were_served():
    slow, fast = row(1, kl=0.1, speedup=3.0, speedup_low=0.9), row(2, kl=0.1, speedup=1.2, speedup_low=1.1)
    assert beats(fast, slow)
    unserved = row(3, kl=0.1, modelled_speedup=4.0, target="H200")
    modelled = replace(fast, modelled_speedup=3.0, target="H200")
    assert beats(unserved, modelled)
    assert beats(fast, unserved), "what nobody modelled of both is not held against what was served"
    assert not beats(replace(unserved, target="H100"), modelled)


def test_a_figure_that_is_missing_beats_nobody():
    assert not beats(row(1, kl=0.1), row(2, kl=0.2, retrieval_loss=0.5))
    assert beats(row(2, kl=0.1, retrieval_loss=0.5), row(1, kl=0.1))


def test_equals_stand_beside_each_other():
    (section,) = sections([row(1, kl=0.1), row(2, kl=0.1)])
    assert ids(section.front) == [1, 2]


def test_accuracy_counts_where_there_is_no_loss():
    (section,) = sections([row(1, accuracy=0.9), row(2, accuracy=0.8), row(3, accuracy=0.7, speedup=2.0)])
    assert (ids(section.front), ids(section.folded)) == ([1, 3], [2])


def test_references_never_win_and_what_stopped_is_not_ranked():
    rows = [row(1, kl=0.0, reference=True), row(2, kl=0.1), row(3, kl=0.01, status="crashed"), row(4, reason="why")]
    (section,) = sections(rows)
    assert (ids(section.front), ids(section.references), ids(section.unranked)) == ([2], [1], [3, 4])


@pytest.mark.parametrize(
    "other",
    [
        {"ratio": 8.0},
        {"environment": "another machine"},
        {"model_digest": "another model"},
        {"evaluator_version": "2"},
        {"lengths": (1000,)},
        {"workload": "other texts"},
    ],
)
def test_nobody_beats_a_row_of_another_circumstance(other):
    found = sections([row(1, kl=0.1), row(2, kl=0.2, **other)])
    assert [ids(each.front) for each in found] == [[1], [2]]


def test_nobody_is_faster_whose_interval_holds_one():
    assert is_faster(row(1, speedup=1.75, speedup_low=1.01, speedup_high=3.31))
    assert not is_faster(row(1, speedup=1.75, speedup_low=0.93, speedup_high=3.31))
    assert not is_faster(row(1, speedup=1.75)), "one pair has no interval"


def test_circles_of_missing_figures_leave_somebody():
    rows = [
        row(1, kl=0.1, speedup=2.0, modelled_speedup=1.0, target="H200"),
        row(2, kl=0.1, modelled_speedup=1.5, target="H200"),
        row(3, kl=0.1, speedup=3.0),
    ]
    (section,) = sections(rows)
    assert section.front
