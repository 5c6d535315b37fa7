"""Programs of one skeleton differ in names, words, numbers and kinds of fields alone."""

import pytest

from search.agents.changing.source import Source
from search.agents.tuning.skeleton import KINDS, rewrite, skeleton_of
from search.fit import traced
from vortex_dsl import Shape, load_program, zoo
from vortex_dsl.tunables import Int


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
    assert {name: (each.low, each.high) for name, each in found.items() if isinstance(each, Int)} == {
        "sink": (0, 4), "window": (1, 8), "share_layers": (1, 4), "refresh_steps": (1, 8),
    }  # fmt: skip
    wide = dict(skeleton_of(zoo.text("quest"), (("window", 20),)).tunables)
    assert (wide["window"].low, wide["window"].high) == (1, 20)


def test_how_fields_are_stored_is_aside(house):
    one, other = house.blend(), house.blend().replace('v.mean("token").to("int4")', 'v.mean("token")')
    assert one != other
    assert skeleton_of(one, ()).digest == skeleton_of(other, ()).digest
    assert dict(skeleton_of(one, ()).values)["value stored in"] == "int4"
    assert dict(skeleton_of(other, ()).values)["value stored in"] == "bfloat16"
    assert dict(skeleton_of(other, ()).tunables)["key stored in"].options == KINDS


def test_a_kind_that_no_other_field_is_tried_in_is_kept_among_the_options(house):
    text = house.blend().replace('k.mean("token").to("int4")', 'k.mean("token").to("float32")')
    assert dict(skeleton_of(text, ()).tunables)["key stored in"].options == (*KINDS, "float32")


def test_what_is_tuned_is_rewritten(house):
    source = Source.parse(house.blend(), head_dim=64)
    rewrite(source, {"keys": 0.7, "sink": 3, "value stored in": "sign"})
    values = dict(skeleton_of(source.text(), ()).values)
    assert (values["keys"], values["sink"], values["value stored in"], values["key stored in"]) == (
        0.7, 3, "sign", "int4",
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in zoo.names() if name != "dense"])
def test_every_published_rule_can_be_stored_as_it_is(name):
    """What its skeleton says of its fields is what they are."""
    text = zoo.text(name)
    source = Source.parse(text, head_dim=64)
    rewrite(source, {name: value for name, value in skeleton_of(text, ()).values if name.endswith("stored in")})
    before, after = (traced(each, (), Shape(2, 64))[1] for each in (text, source.text()))
    assert before.digest == after.digest
