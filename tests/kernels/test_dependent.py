"""Launches that may begin before the one before them has ended: each of their kernels waits, before all else."""

import ast
from pathlib import Path

import pytest
import torch

from kernels import dependent
from vortex_dsl import Shape, load_program, trace, zoo
from vortex_dsl.codegen.emit import emit_stage
from vortex_dsl.codegen.plan import make_plan

KERNELS = Path(__file__).parents[2] / "kernels"
CARD, ASKED = torch.device("cuda", 0), {"launch_pdl": True}


def launched(tree):
    """Give the names of the kernels that a file launches with these options."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript)]
    unpacked = {
        ast.unparse(call.func.value): [ast.unparse(x.value) for x in call.keywords if not x.arg] for call in calls
    }
    return {name for name, given in unpacked.items() if any(each.startswith("dependent(") for each in given)}


def test_every_kernel_of_a_step_is_launched_so_and_begins_by_waiting():
    found = {}
    for path in sorted(KERNELS.glob("*.py")):
        tree = ast.parse(path.read_text())
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for name in launched(tree):
            body = functions[name].body
            first = body[1] if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else body[0]
            found[name] = ast.unparse(first)
    assert set(found.values()) == {"begin()"}
    assert set(found) == {
        *("_write", "_select", "_list_pages", "_list_chosen", "_nucleus", "_attend", "_attend_latents", "_merge"),
        *("_recall", "_keep", "_settle"),
    }


@pytest.mark.parametrize("name", zoo.names())
def test_every_emitted_stage_begins_by_waiting(name):
    plan = make_plan(trace(load_program(zoo.text(name)), Shape(group=2, head_dim=64)))
    for stage in plan.stages:
        assert emit_stage(plan, stage).text.splitlines()[2].strip() == "begin()"


@pytest.mark.parametrize(("capability", "options"), [((8, 9), {}), ((9, 0), ASKED), ((12, 0), ASKED)])
def test_only_cards_that_know_of_it_are_asked(monkeypatch, capability, options):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    dependent.capability.cache_clear()
    with dependent.asked():
        assert dependent.dependent(CARD) == options
        assert dependent.dependent(torch.device("cpu")) == {}
    dependent.capability.cache_clear()


def test_what_serves_does_not_ask(monkeypatch):
    monkeypatch.setattr(dependent, "capability", lambda _: dependent.HOPPER)
    assert dependent.dependent(CARD) == {}
    with pytest.raises(KeyError), dependent.asked():
        raise KeyError
    assert dependent.dependent(CARD) == {}
