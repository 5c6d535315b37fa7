"""Hash-consing, the canonical form and the digest."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from vortex_dsl.frontend.load import load_program
from vortex_dsl.frontend.trace import trace
from vortex_dsl.graph.builder import Builder
from vortex_dsl.graph.graph import Graph
from vortex_dsl.graph.interner import Interner
from vortex_dsl.values import Shape, TypeRuleError

SHAPE = Shape(group=4, head_dim=64)
SETTINGS = {"sink": 1, "window": 2, "page_size": 16, "dense_layers": 1, "share_layers": 1, "refresh_steps": 1}

PROGRAM = """from vortex_dsl import *


class P(Program):
    \"\"\"One idea.\"\"\"

    pages = Int(8, 1, 64)

    def summarize(self, k, v):
        return {summary}

    def select(self, q, page):
        {body}
        return {result}
"""


def graph(result: str, summary: str = '{"c": k.mean("token")}', body: str = "a = 1", shape: Shape = SHAPE) -> Graph:
    text = PROGRAM.replace("{summary}", summary).replace("{body}", body).replace("{result}", result)
    return trace(load_program(text), shape)


SCORE = 'dot(q.sum("head"), page.c, "dim")'
BASE = graph(f"topk({SCORE}, self.pages)")

EQUAL = {
    "operands swapped": 'topk(dot(page.c, q.sum("head"), "dim"), self.pages)',
    "doubled": f"topk(2 * {SCORE}, self.pages)",
    "scaled": f"topk({SCORE} * self.scale / 3, self.pages)",
    "softmax": f'topk(({SCORE} * self.scale).softmax("page"), self.pages)',
    "exp": f"topk(exp({SCORE}) + 1, self.pages)",
    "mean subtracted": f'topk({SCORE} - {SCORE}.mean("page"), self.pages)',
    "plus another field's total": f'topk({SCORE} + page.c.sum("page", "dim"), self.pages)',
    "budget written out": f"topk({SCORE}, 8)",
    "budget computed": f"topk({SCORE}, 2 * 4)",
    "times one": f"topk({SCORE} * 1.0, self.pages)",
    "with itself": f"topk(maximum({SCORE}, {SCORE}), self.pages)",
    "union with itself": f"union(topk({SCORE}, 8), topk({SCORE}, 8))",
}


@pytest.mark.parametrize("result", EQUAL.values(), ids=EQUAL)
def test_programs_that_mean_the_same_have_one_digest(result: str) -> None:
    assert graph(result).digest == BASE.digest


def test_a_mean_over_heads_ranks_as_their_sum() -> None:
    mean = graph('topk(dot(q, page.c, "dim").mean("head"), 8)')
    assert mean.digest == graph('topk(dot(q, page.c, "dim").sum("head") * 7, 8)').digest


DIFFERENT = {
    "negative": f"topk(-2 * {SCORE}, self.pages)",
    "reversed": f"topk(1 - {SCORE}, self.pages)",
    "times an unknown": f'topk({SCORE} * q.sum("head", "dim"), self.pages)',
    "squared": f"topk(square({SCORE}), self.pages)",
    "rounded": f"topk(floor({SCORE}), self.pages)",
    "a page-wise term": f"topk({SCORE} + page.index, self.pages)",
    "budget": f"topk({SCORE}, 9)",
    "a threshold sees values": f"above(2 * {SCORE}, 0.5, limit=8)",
    "a mass sees values": f"topp(2 * {SCORE}, 0.5, limit=8)",
}


def test_programs_that_differ_have_different_digests() -> None:
    digests = [graph(result).digest for result in DIFFERENT.values()]
    assert len({BASE.digest, *digests}) == len(DIFFERENT) + 1
    assert graph(f"topp({SCORE}, 0.5, limit=8)").digest != graph(DIFFERENT["a mass sees values"]).digest


def test_names_of_fields_and_made_axes_do_not_matter() -> None:
    def text(field: str, axis: str, other: str) -> str:
        return graph(
            f'topk((q * page.{field}).sum("dim").max("head", "{axis}").min("{other}"), 8)',
            f'{{"{field}": k.split("token", {axis}=4).split("token", {other}=2).max("token")}}',
        ).digest

    assert text("hi", "sub", "part") == text("upper", "part", "sub") == text("x", "aa", "zz")
    assert text("hi", "sub", "part") != BASE.digest


def test_dead_fields_and_operations_are_dropped() -> None:
    dead = graph(
        f"topk({SCORE}, 8)", '{"unused": v.max("token"), "c": k.mean("token")}', 'a = exp(page.unused.sum("dim"))'
    )
    assert dead.digest == BASE.digest
    assert len(dead.fields) == 1


def test_equal_fields_are_one() -> None:
    twice = graph('topk(dot(q.sum("head"), page.d, "dim"), 8)', '{"c": k.mean("token"), "d": k.mean("token")}')
    assert len(twice.fields) == 1
    assert twice.digest == BASE.digest


def test_storage_and_settings_count_and_the_shape_does_not() -> None:
    int8 = graph(f"topk({SCORE}, 8)", '{"c": k.mean("token").to("int8")}')
    said = graph(f"topk({SCORE}, 8)", '{"c": k.mean("token").to("bfloat16")}')
    assert int8.digest != BASE.digest
    assert said.digest == BASE.digest
    assert graph(f"topk({SCORE}, 8)", shape=Shape(1, 128)).digest == BASE.digest
    program = load_program(
        PROGRAM.replace("{summary}", "{}").replace("{body}", "a = 1").replace("{result}", "every_page()")
    )
    digests = {
        trace(program.with_values(**{name: value}), SHAPE).digest for name, value in {**SETTINGS, "pages": 9}.items()
    }
    assert len(digests) == 1
    for name, value in {
        "sink": 0,
        "window": 3,
        "page_size": 32,
        "dense_layers": 0,
        "share_layers": 2,
        "refresh_steps": 2,
    }.items():
        digests.add(trace(program.with_values(**{name: value}), SHAPE).digest)
    assert len(digests) == 7


def test_take_counts_as_written() -> None:
    def taken(indices: str) -> str:
        return graph(
            f'topk(dot(q.take("dim", {indices}).sum("head"), page.c, "dim"), 8)',
            f'{{"c": k.mean("token").take("dim", {indices})}}',
        ).digest

    assert taken("slice(0, 2)") != taken("[0, 1]")


@pytest.mark.parametrize("op", ["maximum", "minimum", "add"])
def test_what_folds_has_the_type_of_what_does_not(op: str) -> None:
    interner = Interner()
    folded = interner.make(op, (interner.number(True), interner.number(False)))
    assert folded.number is not None
    with pytest.raises(TypeRuleError, match="takes booleans"):
        interner.make("invert", (folded,))


def test_a_program_is_recorded_as_written_except_that_equal_operations_are_one() -> None:
    builder = Builder(SHAPE, 16)
    q = builder.input("q")
    assert builder.call("exp", [q]) is builder.call("exp", [builder.input("q")])
    assert builder.call("mul", [q, 0.1]).args != builder.call("mul", [q, 0.2]).args
    zero, negative = builder.call("add", [q, 0.0]), builder.call("add", [q, -0.0])
    assert zero is not negative
    assert builder.call("maximum", [2, 3.5]).number is None
    with pytest.raises(TypeRuleError, match="out of bounds"):
        builder.call("square", [builder.call("mul", [builder.call("maximum", [2, 3.5]), 1e9])])


def test_passes_make_operations_in_one_order_with_numbers_folded() -> None:
    interner = Interner()
    q, one = Builder(SHAPE, 16).input("q"), interner.number(1.0)
    assert interner.make("add", (q, one)) is interner.make("add", (one, q))
    assert interner.make("gt", (q, one)) is interner.make("lt", (one, q))
    assert interner.make("maximum", (interner.number(2), interner.number(3.5))).number == 3.5
    assert interner.make("neg", (interner.make("neg", (q,)),)) is q


def test_types_align_axes_by_name() -> None:
    builder = Builder(SHAPE, 16)
    product = builder.call("mul", [builder.input("page.k"), builder.input("q")])
    assert str(product.type) == "float[page, head=4, token=16, dim=64]"


def test_the_number_of_operations_is_bounded() -> None:
    builder = Builder(SHAPE, 16)
    node: Any = builder.input("q")
    for _ in range(512):
        node = builder.call("exp", [node])
    with pytest.raises(TypeRuleError, match="more than 512 operations"):
        builder.call("exp", [node])


def test_a_deep_graph_is_no_recursion() -> None:
    body = "s = page.index\n        for i in range(100):\n            s = floor(s) + i + 1"
    deep = graph("topk(s, 8)", body=body)
    assert deep.num_operations > 200


def test_select_must_return_a_selection_and_fields_keep_to_one_page() -> None:
    builder = Builder(SHAPE, 16)
    with pytest.raises(TypeRuleError, match="return a selection such as topk"):
        builder.raw({}, builder.input("q"), SETTINGS)
    with pytest.raises(TypeRuleError, match="may not be called 'index'"):
        builder.declare({"index": builder.input("k")})
    with pytest.raises(TypeRuleError, match="only use one page's k and v"):
        builder.declare({"x": builder.input("q")})
    with pytest.raises(TypeRuleError, match=r"did you mean 'page\.index'"):
        builder.input("page.indx")


def test_a_graph_prints_what_it_does() -> None:
    printed = str(BASE)
    assert printed.startswith(f"graph {BASE.digest} (sink=1, window=2")
    assert "field0 = %1 as bfloat16" in printed
    assert "topk" in printed


def test_tracing_needs_no_torch() -> None:
    import subprocess

    code = (
        "import sys; from vortex_dsl.zoo import names, text; from vortex_dsl.frontend.load import load_program; "
        "from vortex_dsl.api import cost; from vortex_dsl.values import Shape; "
        "[cost(load_program(text(n)), Shape(2, 64)) for n in names()]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
