"""Who stands on the front, who is folded, and who can never win."""

import math
import random
from dataclasses import replace

import pytest

from search.ranking.front import Front, beats, front_of, has_figure, is_faster, sections
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


def fronts_of(rows, *, published=False):
    """Give in words of Python what a ledger tells of these rows without reading all of them."""
    return [_front(section, published) for section in sections(rows)]


def _front(section, published):
    behind = [each for each in section.folded if each.origin.startswith("zoo/") or each.confirmed]
    asked = [each.dollars for each in section.rows if each.dollars is not None]
    return Front(
        section.rows[0],
        section.front,
        tuple(behind) if published else (),
        tuple(filter(has_figure, section.references)),
        num_beaten=len(section.folded),
        num_unranked=len(section.unranked),
        num_asked=len(asked),
        dollars=math.fsum(asked),
    )


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


def drawn_rows(number):
    """Draw rows of which most lack some figure, and some are equal."""
    draw = random.Random(number)
    names = ("kl", "retrieval_loss", "speedup", "speedup_low", "modelled_speedup", "accuracy")
    return [
        row(i, target=draw.choice("ab"), **{name: draw.choice((None, 0.5, draw.random())) for name in names})
        for i in range(number)
    ]


@pytest.mark.parametrize("number", [1, 30, 300])
def test_the_front_is_whom_nobody_of_those_that_are_left_beats(number):
    rows, left = drawn_rows(number), []
    for each in rows:
        if not any(beats(other, each) for other in left):
            left = [other for other in left if not beats(each, other)] + [each]
    assert front_of(rows) == [each for each in rows if not any(beats(other, each) for other in left)]


def test_a_front_that_is_cut_counts_the_others_as_beaten():
    (front,) = fronts_of([row(1, kl=0.1), row(2, kl=0.1), row(3, kl=0.1), row(4, kl=0.2)])
    assert front.cut(None) == front
    assert (ids(front.cut(2).members), front.cut(2).num_beaten) == ([1, 2], 2)
