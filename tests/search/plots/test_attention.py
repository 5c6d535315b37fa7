"""The picture of attention: pixels are pages, and figures are those of the picture."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from search.evaluator.recall.picture import Drawn, Picture, Share
from search.plots import attention
from search.plots.attention import BOTH, ONE, OTHER

SHARES = (Share(0, (1.0, 1.0), (1.0, 1.0), (1.0, 1.0)), Share(1, (0.5, 0.7), (0.8, 0.8), (0.2, 0.4)))
ATTENDED = (((1, 0, 1), (1, 0, 1)), ((0, 1, 1), (1, 1, 0)))
ORACLE = (((1, 1, 0), (1, 0, 1)), ((0, 1, 1), (0, 1, 1)))
TOGETHER = (((1, 0, 0), (1, 0, 1)), ((0, 1, 1), (0, 1, 0)))


def picture(pages_per_cell=1, drawn=Drawn(1, ATTENDED, ORACLE, TOGETHER)):  # noqa: B008
    return Picture("Quest", "ab" * 8, "prose 3", (41, 42), 16, 3, pages_per_cell, 2.0, 2, 2, (0, 1), SHARES, (drawn,))


def pixels(axes):
    """Give [row, column] of colours, None where nothing is drawn."""
    found = np.asarray(axes.images[0].get_array())
    return [[tuple(cell[:3]) if cell[3] else None for cell in row] for row in found]


def test_pages_of_the_rule_stand_beside_those_of_the_oracle_by_step_and_head():
    _, rule, oracle = attention(picture()).axes
    both, one, other = map(to_rgb, (BOTH, ONE, OTHER))
    assert pixels(rule) == [[both, None, one], [both, None, both], [None, both, both], [one, both, None]]
    assert pixels(oracle) == [[both, other, None], [both, None, both], [None, both, both], [None, both, other]]
    assert [label.get_text() for label in rule.get_yticklabels()] == ["head 0", "head 1"]
    assert rule.get_title("left") == "layer 1: the rule keeps 0.600"
    assert oracle.get_title("left") == "layer 1: as many best pages keep 0.800"


def test_shares_are_drawn_by_layer_as_means_and_by_head_as_points():
    figure = attention(picture())
    means = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines if line.get_label()[0] != "_"}
    assert {label: pytest.approx(y) for label, y in means.items()} == {
        "as many best pages (oracle)": [1.0, 0.8],
        "the rule": [1.0, 0.6],
        "as many pages by lot": [1.0, 0.3],
    }
    points = [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_label()[0] == "_"]
    assert [[0, 1.0], [0, 1.0], [1, 0.5], [1, 0.7]] in points
    assert figure.get_suptitle() == "Quest keeps 0.800 of attention; the best pages 0.900, by lot 0.650"
    assert "2.0 of 3 pages of 16 tokens" in figure.get_supxlabel()
    assert '40 tokens of "prose 3"' in figure.get_supxlabel()


def test_a_pixel_of_several_pages_is_as_strong_as_many_are_attended_to():
    counted = Drawn(1, (((4, 2, 0),) * 2,) * 2, (((4, 4, 1),) * 2,) * 2, (((4, 1, 0),) * 2,) * 2)
    figure = attention(picture(4, counted))
    strength = np.asarray(figure.axes[1].images[0].get_array())[0]
    assert strength[:, 3].tolist() == [1.0, 0.5, 0.0]
    assert strength[1, :3].tolist() == pytest.approx(((np.array(to_rgb(BOTH)) + to_rgb(ONE)) / 2).tolist())
    assert "a pixel is 4 pages" in figure.get_supxlabel()
