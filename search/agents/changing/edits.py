"""Finding and changing parts of a program's syntax tree: what the operators of mutation and crossover share."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from search.agents.changing.source import assigned
from vortex_dsl.frontend.source import parsed_expression
from vortex_dsl.ops import OPS, SCORED
from vortex_dsl.ops.op import OpKind, Take

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from search.agents.changing.source import Source

SELECTIONS = frozenset(name for name, op in OPS.items() if op.kind is OpKind.SELECTION)
REDUCTIONS = tuple(name for name, op in OPS.items() if op.params and op.params[-1].take is Take.AXES)


def kind(call: ast.expr) -> str:
    """Give the name of the function that a call calls, nothing for methods."""
    return call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""


def method_name(call: ast.AST) -> str:
    """Give the name of the method that a call calls, nothing for functions."""
    return call.func.attr if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else ""


def calls(function: ast.AST | None) -> list[ast.Call]:
    """Give all calls below a node."""
    return [node for node in ast.walk(function) if isinstance(node, ast.Call)] if function else []


def axes_of(call: ast.Call) -> list[str]:
    """Give the strings among a call's arguments."""
    return [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]


def is_named(node: ast.AST, name: str) -> bool:
    """Whether a node reads this name."""
    return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)


def method(value: ast.expr, name: str, *axes: str, **lengths: int) -> ast.Call:
    """Write a call of a method."""
    keywords = [ast.keyword(key, ast.Constant(length)) for key, length in lengths.items()]
    return ast.Call(ast.Attribute(value, name, ast.Load()), [ast.Constant(axis) for axis in axes], keywords)


def expression(text: str) -> ast.expr:
    """Read an expression."""
    return parsed_expression(text)


def declared(source: Source, rng: random.Random, settings: Mapping[str, tuple[str, Sequence[int]]]) -> str:
    """Declare one of some settings with one of its values, and say so. settings: form and values by name."""
    name = rng.choice(sorted(settings))
    form, options = settings[name]
    value = rng.choice(options)
    source.declare(name, form.format(value))
    return f"{name} = {value}"


def replace(root: ast.AST, wanted: Callable[[ast.AST], bool], change: Callable[[ast.expr], ast.expr]) -> None:
    """Change the wanted nodes below a root, without looking into what was put there."""
    for parent in list(ast.walk(root)):
        for name, value in list(ast.iter_fields(parent)):
            if isinstance(value, ast.expr) and wanted(value):
                setattr(parent, name, change(value))
            elif isinstance(value, list):
                value[:] = [change(v) if isinstance(v, ast.expr) and wanted(v) else v for v in value]


def operands(node: ast.expr) -> list[ast.expr]:
    """Give what an operation is made of: the operands of an operator, a method's value, a function's arguments."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.Call):
        return [node.func.value] if isinstance(node.func, ast.Attribute) else list(node.args)
    return []


def returned(source: Source) -> ast.Return | None:
    """Give the last statement of select, if it returns."""
    select = source.method("select")
    last = select.body[-1] if select else None
    return last if isinstance(last, ast.Return) else None


def unremembered(selection: ast.expr | None) -> ast.expr | None:
    """Give a selection without what it remembers."""
    if isinstance(selection, ast.Call) and method_name(selection) == "remember":
        assert isinstance(selection.func, ast.Attribute)
        return selection.func.value
    return selection


def choice(source: Source) -> ast.Call | None:
    """Give the call that chooses pages: what select returns, or the value of the name that it returns."""
    last = returned(source)
    value = unremembered(last.value) if last else None
    select = source.method("select")
    if isinstance(value, ast.Name) and select is not None:
        values = [n.value for n in select.body if isinstance(n, ast.Assign) and assigned(n) == value.id]
        value = unremembered(values[-1]) if values else None
    return value if isinstance(value, ast.Call) and kind(value) in SELECTIONS else None


def score_place(call: ast.Call | None) -> int | None:
    """Say which positional argument of a selection is its score; None where there is none."""
    place = SCORED.get(kind(call)) if call is not None else None
    return place if place is not None and call is not None and len(call.args) > place else None


def scored(source: Source) -> ast.expr | None:
    """Give the score by which a program chooses in the end, None if it has none."""
    call = choice(source)
    if call is not None and kind(call) == "union":
        call = next((arg for arg in call.args if isinstance(arg, ast.Call) and score_place(arg) is not None), None)
    place = score_place(call)
    return call.args[place] if call is not None and place is not None else None
