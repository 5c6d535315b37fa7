"""Every example of docs/language.md runs: one for each operation of the table, and the whole programs."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest
import torch

from search.agents.shown import language
from vortex_dsl import Shape, attend, load_program, trace
from vortex_dsl.frontend.syntax import OPERATORS
from vortex_dsl.ops import OPS
from vortex_dsl.ops.op import OpKind

DOCS = Path(__file__).resolve().parents[3] / "docs"
_spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)

CANONICAL = {"gt": "lt", "ge": "le", "maximum": "relu", "remember": "state"}  # written another way in the graph
PROGRAMS = re.findall(r"^```python\n(.*?)^```", (DOCS / "language.md").read_text(), re.MULTILINE | re.DOTALL)


def run(text):
    """Attend with a program: two sequences, one of them with a partial page."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 16, generator=generator)
    k, v = torch.randn(2, 2, 2, 205, 16, generator=generator)
    return attend(load_program(text), q, k, v, torch.tensor([205, 160]))


def operations_of(example):
    """Give the names in the table of what an expression does."""
    nodes = list(ast.walk(ast.parse(example)))
    signs = [OPERATORS[type(node)] for node in nodes if type(node) in OPERATORS]
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    return {*signs, *(func.attr if isinstance(func, ast.Attribute) else func.id for func in called)}


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_an_operations_example_runs_and_uses_it(op):
    assert op.name in operations_of(op.example)
    out, attended = run(generate.around(op))
    assert out.isfinite().all()
    assert (attended.sum(-1) >= 3).all()


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_what_an_example_shows_is_left_in_the_canonical_graph(op):
    """An example that could be left out, such as an increasing map of the whole score, would show nothing."""
    graph = trace(load_program(generate.around(op)), Shape(group=2, head_dim=16))
    stored = [field.leaf.args[0] for field in graph.fields]
    done = {node.op for node in (*graph.summary_nodes, *stored, *graph.select_nodes, graph.selection)}
    assert {op.name, CANONICAL.get(op.name, op.name)} & done


@pytest.mark.parametrize("text", PROGRAMS, ids=lambda text: re.search(r"class (\w+)", text)[1])
def test_whole_programs_of_the_page_run(text):
    out, attended = run(text)
    assert out.isfinite().all()
    assert attended.any()


def test_agents_are_told_the_same_rules():
    rules = language().split("## Operations")[0]
    assert len(rules) > 1000
    assert rules in (DOCS / "language.md").read_text()


def test_the_page_has_an_example_of_everything():
    page = (DOCS / "language.md").read_text()
    assert len(PROGRAMS) == 3
    assert [op.name for op in OPS.values() if op.example.replace("|", "\\|") not in page] == []
    assert {op.kind for op in OPS.values()} == set(OpKind)
