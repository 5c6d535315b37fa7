"""Emitted source: what it may contain, what it never contains, and that plans say every byte beforehand."""

import ast
import re
from math import prod

import pytest

from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.backends.compiled import Compiled
from vortex_dsl.codegen.emit import emit_stage, emit_summarize
from vortex_dsl.codegen.emitted import EmissionError, check_emitted
from vortex_dsl.codegen.plan import make_plan
from vortex_dsl.codegen.tiles import TILE_ELEMENTS
from vortex_dsl.ops.expression import walk

SHAPE = Shape(group=4, head_dim=128)


def plan_of(name, shape=SHAPE):
    return make_plan(trace(load_program(zoo.text(name)), shape))


def source_of(plan):
    kernels = [emit_summarize(plan)] if plan.layout.fields else []
    return "\n".join(kernel.text for kernel in [*kernels, *(emit_stage(plan, stage) for stage in plan.stages)])


@pytest.mark.parametrize("name", zoo.names())
def test_every_program_of_the_zoo_passes_the_allow_list(name):
    text = source_of(plan_of(name))
    check_emitted(text)
    assert text.isascii()


def idle(function):
    """Give the names that are assigned and that nothing reads but their own assignments; those of the head aside."""
    assignments = [node for node in ast.walk(function) if isinstance(node, ast.Assign)]
    within = {each: node.targets[0].id for node in assignments for each in ast.walk(node.value)}
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    read = {node.id for node in names if within.get(node) != node.id}
    return {name for name in set(within.values()) - read if not name.endswith("_0")}


@pytest.mark.parametrize("name", zoo.names())
def test_nothing_is_computed_for_nothing(name):
    """Where much is cut, a value is needed in several walks, and what it was made of in the first alone."""
    for text in (source_of(plan_of(name)), source_of(plan_of(name, Shape(128, 576)))):
        assert [idle(function) for function in ast.parse(text).body] == [set()] * len(ast.parse(text).body)


def test_what_is_computed_for_nothing_is_seen():
    text = "def map_0(x_1):\n    for y_2 in range(0, 4):\n        z_3 = x_1 + y_2\n        w_4 = w_4 + 1\n    f(z_3)"
    assert idle(ast.parse(text).body[0]) == {"w_4"}


def test_names_are_words_with_a_number():
    tree = ast.parse(source_of(plan_of("quest_sub")))
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    named = stored | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    assert named
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*_[0-9]+", name) for name in named)


HOSTILE = '''
from vortex_dsl import *

class Zebra(Program):
    """__import__("os").system("false") # giraffe"""
    okapi = Int(3, 1, 9)
    eval_1 = State(axes=("page",))
    def summarize(self, k, v):
        channels = v.rename(dim="triton").max("token").sum("triton")
        return {"tl": k.split("token", lion=4).max("lion"), "import_1": channels}
    def select(self, q, page):
        bound = page.tl.mean("token").sum("dim") * matrix([[1, 2]], "exec_1", "open_2").sum("exec_1", "open_2")
        return topk(bound * page.import_1 + page.eval_1, self.okapi).remember(eval_1=bound.smooth("page", [1, 2, 1]))
'''


def test_nothing_of_the_text_is_copied():
    plan = make_plan(trace(load_program(HOSTILE), SHAPE))
    emitted = Compiled(plan.graph).text
    check_emitted(emitted)
    words = set(re.findall("[a-z]+", emitted.lower()))
    for word in (
        "zebra",
        "giraffe",
        "system",
        "okapi",
        "lion",
        "channels",
        "bound",
        "import",
        "eval",
        "exec",
        "open",
        "os",
    ):
        assert word not in words


def test_kernels_do_not_depend_on_names_in_the_text():
    text = zoo.text("quest_sub")
    renamed = text.replace("sub", "part").replace("bound", "limit").replace("QuestSub", "Other")
    plans = [make_plan(trace(load_program(each), SHAPE)) for each in (text, renamed)]
    assert source_of(plans[0]) == source_of(plans[1])


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "x_1 = open_1.__class__",
        "x_1 = __import__('os')",
        "x_1 = tl.inline_asm_elementwise(1)",
        "x_1 = eval(1)",
        "x_1 = 'text'",
        "x_1 = [y_1 for y_1 in range(3)]",
        "x_1 = lambda: 1",
        "while x_1: x_1 = 2",
        "tl = 3",
        "larger = 3",
        "foo = 3",
        "return 3",
        "x_1 = tl.load(x_1, cache_modifier=3)",
        "tl.load = 3",
        "x_1 = 3  # Giraffe",
        "for x_1 in range(3):\n        x_1 = 1\n    else:\n        x_1 = 2",
    ],
)
def test_the_allow_list_refuses(line):
    check_emitted("@triton.jit\ndef map_0(x_1):\n    x_1 = tl.arange(0, 4)\n")
    with pytest.raises(EmissionError, match="no kernel needs"):
        check_emitted(f"@triton.jit\ndef map_0(x_1):\n    {line}\n")


@pytest.mark.parametrize(
    "text",
    [
        "x_1 = 3",
        "def map_0(x_1):\n    x_1 = 2",
        "@triton.jit\n@triton.jit\ndef map_0(x_1):\n    x_1 = 2",
        "@triton.jit\ndef map(x_1):\n    x_1 = 2",
        "@triton.jit\ndef map_0(x_1=eval_1()):\n    x_1 = 2",
        "@triton.jit\ndef map_0(x_1: eval_1):\n    x_1 = 2",
        "@triton.jit\ndef map_0(*x_1):\n    x_1 = 2",
    ],
)
def test_the_allow_list_refuses_other_functions(text):
    with pytest.raises(EmissionError):
        check_emitted(text)


def test_stages_are_cut_where_pages_are_mixed():
    plan = plan_of("centroid_gqa")
    assert [stage.kind for stage in plan.stages] == ["map", "row", "map"]
    assert [buffer.lengths for buffer in plan.buffers] == [(4,), (4,), (4,), ()]
    assert [stage.kind for stage in plan_of("quest").stages] == ["map"]
    assert plan_of("dense").stages == ()


def test_bytes_and_grids_are_known_before_a_launch():
    plan = plan_of("centroid_gqa")
    rows, pages = 6, 1000
    assert plan.num_bytes(rows, pages) == 4 * (rows * pages * 4 + rows * 4 + rows * 4 + rows * pages)
    assert plan.stages[0].grid(rows, pages) == (rows * -(-pages // plan.stages[0].block_pages),)
    assert plan.stages[1].grid(rows, pages) == (rows,)
    assert str(plan).startswith(f"plan {plan.graph.digest}: 256 bytes per page")


def test_a_refinement_has_programs_for_its_own_pages_alone():
    """Four times the budget of 64 pages, in whole sixteens, and never more than there are."""
    coarse, fine = plan_of("two_stage").stages
    assert (coarse.room(2048), fine.room(2048), fine.room(100)) == (2048, 256, 100)
    assert fine.grid(6, 2048) == (6 * 256 // fine.block_pages,)
    assert fine.grid(6, 100) == (6 * 100 // fine.block_pages,)


@pytest.mark.parametrize(
    ("among", "room"),
    [
        ("every_page()", 2000),  # no bound
        ("topk(coarse, page.count / 10)", 2000),  # one that depends on the length
        ("topp(coarse, 0.5, limit=20)", 32),
        ("union(topk(coarse, 10), topk(-coarse, 10.5))", 32),
        ("reserved_only()", 16),
    ],
)
def test_the_room_of_a_refinement_is_a_bound_at_any_length(among, room):
    text = zoo.text("two_stage").replace("topk(coarse, self.wider * self.pages)", among)
    text = text.replace("import Int, Program", "import Int, Program, every_page, reserved_only, topp, union")
    plan = make_plan(trace(load_program(text), Shape(2, 64)))
    assert {stage.room(2000) for stage in plan.stages if stage.among} == {room}


@pytest.mark.parametrize("name", zoo.names())
@pytest.mark.parametrize("shape", [Shape(1, 64), Shape(8, 128), Shape(16, 256), Shape(7, 80), Shape(128, 576)])
def test_tiles_are_bounded(name, shape):
    for stage in plan_of(name, shape).stages:
        for expr in walk([output.value for output in stage.outputs]):
            assert prod(stage.tiles.shape(expr.loops)) <= TILE_ELEMENTS
        assert stage.block_pages & (stage.block_pages - 1) == 0
