"""Programs and tunables as values."""

import pickle

import pytest

from vortex_dsl import Choice, Float, Int, ProgramError, load_program
from vortex_dsl.tunables import PLATFORM_TUNABLES

TEXT = '''from vortex_dsl import *
LOW = 4
class Best(Program):
    """The best by centroid."""
    pages = Int(LOW * 4, low=LOW, high=1024, log=True)
    blend = Float(0.5, 0, 1)
    kind = Choice("int8", ("int8", "int4"))
    window = Int(4, 2, 8)
    def summarize(self, k, v):
        return {"c": k.mean("token").to(self.kind)}
    def select(self, q, page):
        return topk(dot(q.mean("head"), page.c, "dim") * self.blend, self.pages)
'''


@pytest.fixture
def program():
    return load_program(TEXT)


def test_tunables_are_the_programs_own_and_the_platforms(program):
    assert program.tunables["pages"] == Int(16, 4, 1024, log=True)
    assert program.tunables["blend"] == Float(0.5, 0.0, 1.0)
    assert program.tunables["kind"] == Choice("int8", ("int8", "int4"))
    assert program.tunables["window"] == Int(4, 2, 8)
    assert set(PLATFORM_TUNABLES) < set(program.tunables)


def test_values_begin_with_the_texts_defaults(program):
    assert program.overrides == ()
    assert dict(program.values) == {
        "sink": 1, "window": 4, "page_size": 16, "dense_layers": 1, "share_layers": 1, "refresh_steps": 1,
        "pages": 16, "blend": 0.5, "kind": "int8",
    }  # fmt: skip


def test_with_values_gives_another_program_and_keeps_what_differs_sorted(program):
    other = program.with_values(window=8, blend=1, kind="int4")
    assert other.overrides == (("blend", 1.0), ("kind", "int4"), ("window", 8))
    assert other.values["blend"] == 1.0
    assert other != program
    assert program.overrides == ()
    assert other.with_values(blend=0.5, kind="int8", window=4) == program
    assert hash(other.with_values(blend=0.5, kind="int8", window=4)) == hash(program)


@pytest.mark.parametrize(
    ("declared", "budget"),
    [
        ("pages = Int(16, 4, 1024)", "pages"),
        ("pages = Float(0.5, 0, 1)", "pages"),
        ("pages = Choice(16, (16, 32))", None),
        ("few = Int(16, 4, 1024)", None),
        ("pages = Int(16, 4, 1024)\n    share = Float(0.5, 0, 1, budget=True)", "share"),
        ("window = Int(2, 1, 64, budget=True)", "window"),
        ("pages = Int(16, 4, 1024, False, True)", "pages"),
    ],
)
def test_the_budget_is_what_is_declared_so_or_called_pages(declared, budget):
    text = f'from vortex_dsl import *\nclass P(Program):\n    """A rule."""\n    {declared}\n'
    assert load_program(text + "    def select(self, q, page):\n        return every_page()\n").budget == budget


REFUSED = [
    ({"page": 3}, "3:1: Best has no tunable 'page'; did you mean 'pages'?"),
    ({"xyz": 3}, "3:1: Best has no tunable 'xyz'; it has blend, dense_layers, kind"),
    ({"pages": 3}, "5:5: tunable 'pages': 3 is out of range; give a whole number from 4 to 1024"),
    ({"pages": 8.0}, "'8.0' is not a whole number"),
    ({"pages": True}, "'True' is not a whole number"),
    ({"blend": float("nan")}, "nan is out of range"),
    ({"blend": "x"}, "'x' is not a number"),
    ({"kind": "int2"}, "7:5: tunable 'kind': 'int2' is not an option; give one of 'int8', 'int4'"),
    ({"window": 16}, "8:5: tunable 'window': 16 is out of range"),
    ({"page_size": 48}, "'48' is not an option; give one of 16, 32, 64, 128"),
    ({"page_size": "16"}, "'16' is not an option"),
]


@pytest.mark.parametrize(("values", "expected"), REFUSED)
def test_unknown_names_and_values_out_of_range_are_refused(program, values, expected):
    with pytest.raises(ProgramError) as caught:
        program.with_values(**values)
    assert expected in str(caught.value)


def test_a_program_travels_between_processes(program):
    other = program.with_values(pages=32)
    again = pickle.loads(pickle.dumps(other))
    assert again == other
    assert dict(again.values) == dict(other.values)


def test_an_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(ProgramError("no; yes", "a.py", 3, 4)))
    assert (str(error), error.file, error.line, error.column, error.message) == (
        "a.py:3:4: no; yes", "a.py", 3, 4, "no; yes",
    )  # fmt: skip


def test_values_and_tunables_cannot_be_changed(program):
    with pytest.raises(TypeError):
        program.values["pages"] = 3
    with pytest.raises(TypeError):
        program.tunables["pages"] = Int(1, 0, 2)
    with pytest.raises(AttributeError):
        program.text = ""


@pytest.mark.parametrize("make", [
    lambda: Int(1, 2, 3), lambda: Int(True, 0, 1), lambda: Int(2**32, 0, 2**33), lambda: Float(float("nan"), 0, 1),
    lambda: Float(1, 0, float("inf")), lambda: Float(0.5, 0, 1, log=True),
    lambda: Choice(1, (1, 1)), lambda: Choice(1, ()),
    lambda: Choice(None, (None,)), lambda: Int(1, 0, 2, log=3),
])  # fmt: skip
def test_a_tunable_that_makes_no_sense_is_refused(make):
    with pytest.raises(ValueError, match=";"):
        make()
