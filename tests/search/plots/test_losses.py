"""Fronts and curves: every number where it belongs, and nothing of what may not be compared."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from search.plots import PlotError, curve, encoded, front
from search.ranking.standing import Standing

NOTHING = dict.fromkeys(
    (
        *("accuracy", "accuracy_low", "accuracy_high", "recall", "speedup", "speedup_low", "speedup_high"),
        *("pages_attended", "bytes_per_page"),
    )
)


def row(number, kl, origin="grammar/mutate", **figures):
    place = {"device": "Xeon", "model": "m", "ratio": 8.0, "environment": "e", "model_digest": "m", "lengths": (100,)}
    usual = {"name": f"P{number}", "digest": f"p{number}", "origin": origin, "parents": (), "target": "H200"}
    bounds = {"kl_low": kl * 0.8, "kl_high": kl * 1.5}
    return Standing(id=number, **{**usual, **NOTHING, **place, "kl": kl, **bounds, **figures})


def drawn(axes):
    """Give what marks say, by their name in the legend."""
    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    return {label: sorted(map(tuple, line.get_xydata().tolist())) for label, line in lines.items()}


def texts(figure):
    root = ElementTree.fromstring(encoded(figure, "svg"))
    return [each.text for each in root.iter("{http://www.w3.org/2000/svg}text") if each.text]


ROWS = [
    row(1, 0.1, modelled_speedup=2.0),
    row(2, 0.2, "zoo/seed", modelled_speedup=3.0),
    row(3, 0.4, modelled_speedup=1.0),
    row(4, 0.001, reference=True, modelled_speedup=1.0),
    row(5, 0.1, modelled_speedup=9.0, status="crashed"),
]


def test_a_front_has_each_rule_at_its_figures_with_its_interval():
    (axes,) = front(ROWS, 8.0).axes
    assert drawn(axes) == {"found": [(2.0, 0.1)], "found, behind": [(1.0, 0.4)], "published": [(3.0, 0.2)]}
    ends = sorted(segment.tolist() for each in axes.collections for segment in each.get_segments())
    assert ends == [
        [[1.0, pytest.approx(0.32)], [1.0, pytest.approx(0.6)]],
        [[2.0, pytest.approx(0.08)], [2.0, pytest.approx(0.15)]],
        [[3.0, pytest.approx(0.16)], [3.0, pytest.approx(0.3)]],
    ]
    assert {note.get_text() for note in axes.texts} == {"P1", "P2"}, "names of the front alone"


def test_what_is_modelled_for_another_device_is_no_figure_of_the_same_axis():
    (axes,) = front([*ROWS, row(6, 0.05, modelled_speedup=5.0, target="B200")], 8.0).axes
    assert axes.get_xlabel() == "modelled speed-up on H200"
    assert (5.0, 0.05) not in [at for marks in drawn(axes).values() for at in marks]
    assert any("1 of 4 have no modelled speed-up on H200" in each for each in texts(axes.figure))


def test_measured_speeds_stand_beside_modelled_ones_and_who_has_none_is_counted():
    served = [replace(r, speedup=1.5, speedup_low=1.4, speedup_high=1.7) for r in ROWS[:2]]
    measured, modelled = front([*served, *ROWS[2:]], 8.0).axes
    assert drawn(measured) == {"found": [(1.5, 0.1)], "published, behind": [(1.5, 0.2)]}
    assert sum(map(len, drawn(modelled).values())) == 3
    assert any("1 of 3 have no measured speed-up" in text for text in texts(front([*served, *ROWS[2:]], 8.0)))


def test_without_any_speed_bytes_of_a_page_are_drawn():
    (axes,) = front([row(1, 0.1, bytes_per_page=64.0, target="")], 8.0).axes
    assert axes.get_xlabel() == "bytes of a page's summary"
    assert drawn(axes) == {"found": [(64.0, 0.1)]}


@pytest.mark.parametrize("draw", [lambda rows: front(rows, 8.0), curve])
def test_rows_of_another_circumstance_are_counted_and_not_drawn(draw):
    others = [replace(r, environment="elsewhere", kl=9.0) for r in ROWS[:1]]
    figure = draw([*others, *ROWS])
    assert all(y < 9.0 for axes in figure.axes for points in drawn(axes).values() for _, y in points)
    assert any("1 rows of other circumstances are not drawn" in text for text in texts(figure))


@pytest.mark.parametrize("draw", [lambda rows: front(rows, 4.0), curve])
def test_where_no_loss_is_known_a_sentence_says_so(draw):
    with pytest.raises(PlotError, match=r"no rule has a finite loss .*: let the campaign go on"):
        draw([row(4, 0.1, ratio=4.0, reference=True), row(1, 0.1, ratio=0.0)])


def test_a_curve_joins_the_best_of_each_kind_and_draws_oracles_over_their_pages():
    oracles = [
        row(7, 0.0, ratio=0.0, reference=True, name="Dense", pages_attended=100.0),
        row(8, 0.01, ratio=0.0, reference=True, name="Oracle", pages_attended=25.0),
    ]
    figure = curve([*ROWS, row(1, 0.03, ratio=4.0), row(3, 0.02, ratio=4.0), *oracles])
    (axes,) = figure.axes
    found = drawn(axes)
    assert found.pop("Oracle (its choosing not paid for)") == [(4.0, 0.01)]
    assert found == {"best found": [(4.0, 0.02), (8.0, 0.1)], "best published": [(8.0, 0.2)]}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["4", "8"]


@pytest.mark.filterwarnings("error")
def test_names_of_others_are_text_whatever_is_in_them():
    hostile = ["<script>alert(1)</script>", "$\\frac{1}{", "\u202eevil\x1b[2J", "_hidden", "x" * 10_000]
    others = {"model": "m\x1b[2J", "device": "d\x00\ufffe模型", "target": "t\x07"}
    rows = [row(i, 0.1 / (i + 1), modelled_speedup=9.0 - i, name=name, **others) for i, name in enumerate(hostile)]
    svg = encoded(front(rows, 8.0), "svg").decode()
    assert not re.search(r"<script|\u202e|\x1b|x{100}", svg)
    shown = texts(front(rows, 8.0))
    assert {"<script>alert(1)</script>", "$\\frac{1}{", "_hidden"} <= set(shown)
