"""Plots: everything within the frame, told by shape as by colour, names where there is room."""

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from search.report.axes import axis, written
from search.report.plot import HEIGHT, MAX_MARKS, SVG_STYLE, WIDTH, Mark, Plot, Series, drawn

SVG = "{http://www.w3.org/2000/svg}"


def tree(*series, **how):
    return ElementTree.fromstring(drawn(Plot("speed", "loss", series, **how), "name", "what it shows"))


def series(*marks, kind="found", **how):
    return Series("these", kind, tuple(marks), **how)


@pytest.mark.parametrize(
    ("values", "is_log", "ticks"),
    [
        ((0.0, 1.0), False, (0.0, 0.25, 0.5, 0.75, 1.0)),
        ((1.1, 1.9), False, (1.2, 1.4, 1.6, 1.8)),
        ((0.01, 1.0), True, (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)),
        ((1e-6, 1.0), True, (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)),
    ],
)
def test_ticks_are_round_and_lie_on_the_axis(values, is_log, ticks):
    found = axis("x", values, is_log=is_log)
    assert found.ticks == pytest.approx(ticks)
    assert all(0 <= found.place(tick) <= 1 for tick in found.ticks)


@pytest.mark.parametrize("values", [(), (3.0,), (0.0,), (2.0, 2.0), (-1.0, 0.0), (math.inf, 1.0), (math.nan, 1.0)])
@pytest.mark.parametrize("is_log", [False, True])
def test_every_axis_has_room_and_a_tick(values, is_log):
    found = axis("x", values, is_log=is_log)
    assert found.low < found.high
    assert 1 <= len(found.ticks) <= 12


def test_equal_factors_are_equally_far_apart_on_a_logarithmic_axis():
    found = axis("x", (1.0, 100.0), is_log=True)
    assert found.place(10) - found.place(1) == pytest.approx(found.place(100) - found.place(10))
    assert found.place(-1.0) == found.place(0.0) == 0.0


def test_ticks_are_written_short():
    assert [written(v) for v in (0.02, 1.0, 0.30000000000000004, 1e-6)] == ["0.02", "1", "0.3", "1e-06"]


def test_everything_lies_within_the_frame():
    marks = [Mark(1 + i / 7, 0.5**i, (0.5, 2.5), (1e-9, 4.0), f"Name{i}") for i in range(30)]
    root = tree(series(*marks), y_log=True)
    places = [float(each.get(name)) for each in root.iter() for name in ("cx", "x1", "x2", "x") if each.get(name)]
    heights = [float(each.get(name)) for each in root.iter() for name in ("cy", "y1", "y2", "y") if each.get(name)]
    assert 0 <= min(places) <= max(places) <= WIDTH
    assert 0 <= min(heights) <= max(heights) <= HEIGHT


def marks(root):
    return [each for each in root.iter() if each.get("class") == "mark"]


def test_kinds_differ_in_shape():
    root = tree(*(series(Mark(1, 1), kind=kind) for kind in ("found", "published", "reference")))
    shapes = {re.sub(r"[^A-Za-z]", "", child.tag.removeprefix(SVG) + child.get("d", "")) for child in marks(root)}
    assert shapes == {"circle", "pathMhvhz", "pathMLLLz"}
    for kind in ("found", "published", "reference"):
        assert f".{kind}" in SVG_STYLE


def test_a_plot_says_what_it_shows_in_words():
    root = tree(series(Mark(1, 1)))
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "name-title name-alt"
    assert root.find(f"{SVG}desc").text == "what it shows"
    assert root.find(f"{SVG}title").text == "loss over speed"


def test_names_never_cover_each_other():
    marks = [Mark(1 + i / 1000, 1 + i / 1000, label=f"ALongName{i}") for i in range(12)]
    root = tree(series(*marks))
    named = [each for each in root.iter(f"{SVG}text") if each.get("class") == "name"]
    heights = sorted(float(each.get("y")) for each in named if each.get("text-anchor") == "start")
    assert 0 < len(named) < 12
    assert all(b - a >= 14 for a, b in itertools.pairwise(heights))


def test_what_is_no_number_is_left_out_and_series_are_bounded():
    assert series(Mark(math.nan, 1), Mark(1, math.inf), Mark(1, 1)).marks == (Mark(1, 1),)
    assert len(series(*(Mark(i, i) for i in range(10_000))).marks) == MAX_MARKS


def test_names_are_text_whatever_they_hold():
    root = tree(series(Mark(1, 1, label="</text><script>&"), is_line=True), series(Mark(2, 2)))
    assert not list(root.iter(f"{SVG}script"))
    assert "</text><script>&" in [each.text for each in root.iter(f"{SVG}text")]


def test_nothing_to_draw_is_an_empty_frame():
    assert len(list(tree().iter(f"{SVG}circle"))) == 0
