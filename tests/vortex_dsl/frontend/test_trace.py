"""Tracing: known numbers are folded here, all else becomes operations of one graph."""

import time

import pytest

from vortex_dsl import ProgramError, Shape, load_program, trace

SHAPE = Shape(group=4, head_dim=64)


def program_text(score: str, body: str = "", top: str = "", fields: str = '{"c": k.mean("token")}') -> str:
    """Give a program that ranks pages by `score`, after the lines of `body`."""
    lines = "".join(f"        {line}\n" for line in body.split("\n") if line)
    return (
        f"from vortex_dsl import *\n{top}\n\nclass Traced(Program):\n"
        '    """Traced."""\n    n = Int(8, 1, 64)\n    mode = Choice("a", ("a", "b"))\n\n'
        f"    def summarize(self, k, v):\n        return {fields}\n\n"
        "    def twice(self, x):\n        return x * 2\n\n"
        "    def blend(self, a, b):\n        return a * 0.25 + b * 0.75\n\n"
        f"    def select(self, q, page):\n{lines}        return topk({score}, self.n)\n"
    )


def traced(*args, shape=SHAPE, **kwargs):
    return trace(load_program(program_text(*args, **kwargs)), shape)


BASE = 'dot(q.mean("head"), page.c, "dim")'
SAME = {
    "names": ("s", "qm = q.mean('head')\ns = dot(qm, page.c, 'dim')"),
    "helper method": (f"self.twice({BASE}) / 2 + 0 * 3", ""),
    "literal loop": (f"{BASE} + x", "x = 0\nfor w in [0.0, 0.0]:\n    x = w"),
    "tuple": ("s", f"s, t = {BASE}, page.index"),
    "if": ("s", f"if self.mode == 'a':\n    s = {BASE}\nelse:\n    s = page.index"),
    "choice": (f"{BASE} if self.n > 3 and not self.n == 9 else page.index", ""),
    "index": ("parts[-1]", f"parts = [page.index, {BASE}]"),
    "commuted": ('dot(page.c, q.mean("head"), "dim")', ""),
}


@pytest.mark.parametrize("name", SAME)
def test_other_ways_to_say_it_give_the_same_digest(name):
    score, body = SAME[name]
    assert traced(score, body).digest == traced(BASE).digest


DIFFERENT = {
    "another tunable": f"{BASE} * page.index",
    "another branch": f"{BASE} if self.mode == 'b' else page.index * 1.0",
    "no field": "page.index",
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_has_another_digest(name):
    assert traced(DIFFERENT[name]).digest != traced(BASE).digest


KNOWN = {
    "7 // 2": 3, "-7 % 4": 1, "7 / 2": 3.5, "2 ** 10": 1024,
    "-(3 - 5)": 2, "True + 1": 2, "(1 < 2) * 3": 3,
    "0 if 1 > 2 else 5": 5, "[1, 2, 4][1:][-1]": 4, "(1, 2)[0]": 1,
    "[a * b for a in range(3) for b in (1, 2) if a == b][1]": 4,
    "range(2, 9, 3)[1]": 5, "1 and 3": 3, "0 or 7": 7,
    "(not 0) * 6": 6,
    "(True & (not False)) * 2": 2, "(~True) + 9": 9,
    "1 < 2 < 3": 1, "(3 != 3) + 4": 4, "WEIGHTS[2]": 9, "half(10)": 5.0, "self.page_size": 16,
    "self.sink + self.window": 3,
    "{'a': 3}['a']": 3, "half(x=12)": 6.0, "2 ** -1": 0.5, "SUM": 6, "-2147483648": -(2**31),
}  # fmt: skip


@pytest.mark.parametrize("expression", KNOWN)
def test_known_numbers_are_folded_as_python_folds_them(expression):
    top = "WEIGHTS = [1, 4, 9]\nA, B = 2, 4\nSUM = A + B\ndef half(x):\n    return x / 2\n"
    folded = traced(f"{BASE} + page.index * ({expression})", top=top)
    assert folded.digest == traced(f"{BASE} + page.index * ({KNOWN[expression]!r})").digest
    assert folded.digest != traced(f"{BASE} + page.index * 77").digest


def test_a_loop_unrolls():
    looped = traced("s", f"s = {BASE}\nfor i in range(3):\n    s += page.index * i")
    assert looped.digest == traced(f"(({BASE} + page.index * 0) + page.index * 1) + page.index * 2").digest


def test_values_of_tunables_enter_the_graph():
    program = load_program(program_text(BASE))
    digests = {
        trace(program.with_values(**values), SHAPE).digest for values in ({}, {"n": 9}, {"sink": 4}, {"mode": "b"})
    }
    assert len(digests) == 3
    assert trace(program.with_values(page_size=64, window=7), SHAPE).settings == (
        ("sink", 1), ("window", 7), ("page_size", 64), ("dense_layers", 1), ("share_layers", 1), ("refresh_steps", 1),
    )  # fmt: skip


def test_inputs_of_layers_heads_and_scale_are_values():
    graph = traced(f"{BASE} * self.scale + layer.index / layer.count + kv_head.index + page.reserved")
    assert {"scale", "layer.index", "layer.count", "kv_head.index", "page.reserved"} <= graph.inputs


def test_axes_are_split_renamed_and_taken():
    fields = '{"hi": k.split("token", sub=4).max("token").take("dim", slice(0, None, 2)).rename(dim="half")}'
    half = 'q.take("dim", [2 * i for i in range(32)]).rename(dim="half")'
    score = f'maximum({half} * page.hi, 0).sum("half").max("sub", "head")'
    graph = traced(score, fields=fields)
    assert sorted(axis.length for axis in graph.fields[0].type.axes) == [4, 32]


def test_constants_of_the_module_may_be_values():
    graph = traced("page.c.rename(dim='rank').sum('rank') + W", top='W = vector([i for i in range(9)], "x").sum("x")')
    assert graph.digest


def test_storage_may_be_a_choice():
    text = program_text(BASE, fields='{"c": k.mean("token").to(self.kind)}')
    text = text.replace("    mode", '    kind = Choice("int8", ("int8", "int4"))\n    mode')
    program = load_program(text)
    assert trace(program, SHAPE).fields[0].storage == "int8"
    assert trace(program.with_values(kind="int4"), SHAPE).fields[0].storage == "int4"


REFUSED = {
    "floor division of a value": (
        "page.index // 2",
        "'//' of a value that is not known while tracing; write floor(a / b)",
    ),
    "chain of values": ("(0 < page.index < 3) * 1.0", "write (a < b) & (b < c)"),
    "not of a value": ("(not page.index) * 1.0", "write ~x"),
    "list as operand": ("page.index + [1]", "a list of 1 is no operand"),
    "page as operand": ("page + 1", "'page' is no operand"),
    "self as argument": ("maximum(self, 1)", "'maximum' of 'self'"),
    "index out of a list": ("page.index + [1, 2][2]", "a list of 2 has no element 2"),
    "index by a fraction": ("page.index + [1, 2][0.5]", "indexed by 0.5"),
    "range of a value": ("page.index + range(page.count)[0]", "'range' of a value with axes []"),
    "range by 0": ("page.index + range(1, 2, 0)[0]", "'range' with step 0"),
    "and of a number": ("page.index + (3 & 1)", "'and' of a number; it takes booleans"),
    "comparison of kinds": ("page.index + (self.mode == 1)", "is no operand"),
    "condition on a string": ("page.index if self.mode else 1", "is no condition"),
    "loop over a number": ("page.index + [i for i in 3][0]", "3 is not a list"),
    "keyword twice": ("page.index.shift('page', n=1, n=2)", "given twice"),
    "no call": ("self.twice", "can only be called; write self.twice(...)"),
    "read before assignment": ("later + page.index", "the name 'later' is not known here"),
    "called number": ("self.n(3)", "'self' has no function 'n'"),
    "called result": ("self.twice(2)(3)", "only operations and functions can be called"),
    "called parameter": ("q(3)", "'q' is a variable, not a function"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_on_values_are_refused_with_a_remedy(name):
    score, expected = REFUSED[name]
    with pytest.raises(ProgramError) as caught:
        traced(score)
    assert expected in caught.value.message


def test_unpacking_needs_as_many_elements_as_names():
    with pytest.raises(ProgramError, match="2 names for a list of 3"):
        traced("a", "a, b = [1, 2, 3]")


def test_a_bound_of_operations_counts_equal_ones_once():
    assert traced("s", f"s = {BASE}\nfor i in range(128):\n    t = s + page.index").digest == traced(BASE).digest
    assert traced(
        "s", "s = page.index\nfor i in range(100):\n    for j in range(5):\n        s = s + q.sum('head', 'dim')"
    )
    with pytest.raises(ProgramError, match="more than 512 operations"):
        traced(
            "s", "s = page.index\nfor i in range(104):\n    for j in range(5):\n        s = s + q.sum('head', 'dim')"
        )


def test_equal_programs_share_one_graph():
    text = program_text(BASE)
    assert trace(load_program(text), SHAPE) is trace(load_program(text), Shape(4, 64))
    assert trace(load_program(text), SHAPE) is not trace(load_program(text), Shape(4, 96))


def test_the_digest_does_not_depend_on_the_shape():
    assert traced(BASE, shape=Shape(1, 32)).digest == traced(BASE).digest


def test_loading_and_tracing_take_a_few_milliseconds():
    """The median of 20, each of another text, so that no cache answers."""
    spent = []
    for i in range(20):
        started = time.perf_counter()
        traced(f"{BASE} * {i + 1.5}")
        spent.append(time.perf_counter() - started)
    assert sorted(spent)[10] < 0.05
