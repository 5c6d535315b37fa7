"""Emitted Triton as it is, for reading: some programs of the zoo whole, and every operation's example by family.

`python tests/vortex_dsl/codegen/test_golden.py` accepts what is emitted now; read the difference before committing it.
"""

import importlib.util
import re
from pathlib import Path

import pytest

from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.backends.compiled import Compiled
from vortex_dsl.codegen.emit import emit_stage, emit_summarize
from vortex_dsl.codegen.emitted import check_emitted
from vortex_dsl.codegen.plan import make_plan
from vortex_dsl.frontend.trace import traced
from vortex_dsl.ops import assembling, elementwise, hashing, rearranging, reductions, selection
from vortex_dsl.passes.pipeline import CANONICAL, steps

TESTS = Path(__file__).resolve().parents[2]
GOLDEN = TESTS / "golden"
ACCEPT = "python tests/vortex_dsl/codegen/test_golden.py"
ZOO = {
    "quest": (Shape(8, 128), {}),
    "centroid_gqa": (Shape(4, 128), {}),
    "sparq": (Shape(5, 80), {}),
    "two_stage": (Shape(2, 128), {}),
    "quest_int4": (Shape(4, 64), {"page_size": 32}),
    "ema": (Shape(1, 64), {}),
    "oracle_mass": (Shape(128, 576), {"page_size": 128}),
}
FAMILIES = {
    each.__name__.split(".")[-1]: each
    for each in (assembling, elementwise, hashing, rearranging, reductions, selection)
}


def around(op):
    """Give the text of a program around an operation's example."""
    spec = importlib.util.spec_from_file_location("docs_generate", TESTS.parent / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    return generate.around(op)


def zoo_source(name):
    shape, values = ZOO[name]
    return Compiled(trace(load_program(zoo.text(name)).with_values(**values), shape)).text


def family_source(name):
    return "\n".join(f"# {op.name}\n{operation_source(op)}" for op in FAMILIES[name].ENTRIES)


def operation_source(op):
    """Give the kernel that an operation's example is in, before passes move it; of a selection, the plan."""
    made = dict(steps(traced(load_program(around(op)), Shape(2, 16))))
    plan = make_plan(made[CANONICAL[-1]])
    if re.search(r"(?<![.\w])[kv]\b", op.example):
        return emit_summarize(plan).text
    if op.kind == "selection":
        return "\n".join(f"# {line.strip()}" for line in str(plan).splitlines()[1:]) + "\n"
    return "\n".join(emit_stage(plan, stage).text for stage in plan.stages)


SOURCES = dict.fromkeys(ZOO, zoo_source) | dict.fromkeys(FAMILIES, family_source)


@pytest.mark.parametrize("name", SOURCES)
def test_emitted_source_is_what_was_accepted(name):
    text, path = SOURCES[name](name), GOLDEN / f"{name}.py"
    check_emitted(text)
    accepted = path.read_text() if path.exists() else ""
    assert text == accepted, f"{path.name} differs; if it should, run `{ACCEPT}` and read the difference"


def test_nothing_else_lies_there():
    assert {path.stem for path in GOLDEN.glob("*")} == set(SOURCES)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each, source in SOURCES.items():
        (GOLDEN / f"{each}.py").write_text(source(each))
