"""Programs of one skeleton differ in names, words and numbers alone."""

import pytest

from search.agents.tuning.skeleton import skeleton_of
from vortex_dsl import load_program, zoo


def test_names_words_and_numbers_are_aside(house):
    one = skeleton_of(house.blend(0.1), ())
    other = skeleton_of(house.blend(0.9, name="Other12").replace("by a blend", "by another"), ())
    assert one.digest == other.digest
    assert dict(one.values)["keys"] == 0.1
    assert dict(other.values)["keys"] == 0.9


def test_values_given_and_values_written_are_the_same(house):
    given = skeleton_of(house.blend(0.1), (("keys", 0.7), ("window", 3)))
    written = skeleton_of(house.blend(0.7, "window = Int(3, 1, 64)\n"), ())
    assert given.digest == written.digest
    assert given.values == written.values


@pytest.mark.parametrize(
    "change",
    [
        ("topk(score.max", "topk(score.min"),
        ('page.key, "dim")', 'page.key.abs(), "dim")'),
        ("Float(0.1, low=0.0", "Float(0.1, low=0.1"),
        ("dense_layers = Int(0", "dense_layers = Int(1"),
    ],
)
def test_anything_else_is_another_skeleton(house, change):
    before = house.blend(0.1)
    assert change[0] in before
    after = before.replace(*change)
    if ".abs" in after:
        after = after.replace("page.key.abs()", "abs(page.key)").replace("import Float", "import abs, Float")
    assert skeleton_of(before, ()).digest != skeleton_of(after, ()).digest


@pytest.mark.parametrize("name", [name for name in zoo.names() if name != "dense"])
def test_the_budget_is_never_searched(name):
    program = load_program(zoo.text(name))
    names = [each for each, _ in skeleton_of(zoo.text(name), ()).tunables]
    assert program.budget not in names
    assert not {"pages", "page_size", "dense_layers"} & set(names)


def test_the_platforms_numbers_are_looked_for_near_the_usual_ones():
    found = dict(skeleton_of(zoo.text("quest"), ()).tunables)
    assert {name: (each.low, each.high) for name, each in found.items()} == {
        "sink": (0, 4), "window": (1, 8), "share_layers": (1, 4), "refresh_steps": (1, 8),
    }  # fmt: skip
    wide = dict(skeleton_of(zoo.text("quest"), (("window", 20),)).tunables)
    assert (wide["window"].low, wide["window"].high) == (1, 20)
