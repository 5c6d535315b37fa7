"""Changes of single expressions of select that keep their axes."""

from __future__ import annotations

import ast
import copy
from typing import TYPE_CHECKING

from search.agents.changing.edits import expression, operands, replace
from search.agents.changing.parts import parts_of
from vortex_dsl.ops import OPS
from vortex_dsl.ops.op import OpKind, Take

if TYPE_CHECKING:
    import random

    from search.agents.changing.parts import Part
    from search.agents.changing.source import Source
    from vortex_dsl.ops.op import Op

_TAKEN = (Take.VALUE, Take.INTEGER)
ELEMENTWISE = tuple(
    op for op in OPS.values() if op.kind is OpKind.FUNCTION and op.params and all(p.take in _TAKEN for p in op.params)
)
# Functions that are only given what they are defined for.
_GUARDED = {"sqrt": "sqrt(abs({x}))", "log": "log(abs({x}) + 0.001)", "exp": "exp(minimum({x}, 16.0))"}
_NUMBERS = (0.0, 0.25, 0.5, 1.0, 2.0)
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult)
_LONGEST = 300  # characters of an expression that may be put elsewhere


def swap(source: Source, rng: random.Random) -> str | None:
    """Put one part of the score where another with the same axes is."""
    parts = parts_of(source)
    pairs = [(old, new) for old in parts for new in parts if _may_replace(old, new)]
    if not pairs:
        return None
    old, new = rng.choice(pairs)
    return _put(source, old, copy.deepcopy(new.node))


def _may_replace(old: Part, new: Part) -> bool:
    same = ast.dump(old.node) == ast.dump(new.node)
    return not same and old.axes == new.axes and new.line <= old.line and len(ast.unparse(new.node)) < _LONGEST


def apply(source: Source, rng: random.Random) -> str | None:
    """Apply an elementwise operation of the table to a part of the score."""
    parts = parts_of(source)
    if not parts:
        return None
    part = rng.choice(parts)
    op = rng.choice(ELEMENTWISE)
    others = [p for p in parts if p.axes <= part.axes and p.line <= part.line and p is not part]
    return _put(source, part, expression(_applied(op, ast.unparse(part.node), others, rng)))


def _applied(op: Op, x: str, others: list[Part], rng: random.Random) -> str:
    """Write a call of an elementwise operation on x, other operands being other parts or numbers."""
    if op.name in _GUARDED:
        return _GUARDED[op.name].format(x=x)
    arguments = []
    for i, param in enumerate(op.params):
        if param.name == "condition":
            arguments.append(f"{x} {rng.choice(('>', '<', '>=', '<='))} {_operand(others, rng)}")
        elif param.take is Take.INTEGER:
            arguments.append(str(rng.randint(1, 99)))
        else:
            arguments.append(x if i <= 1 and x not in arguments else _operand(others, rng))
    return f"{op.name}({', '.join(arguments)})"


def _operand(others: list[Part], rng: random.Random) -> str:
    short = [text for part in others if len(text := ast.unparse(part.node)) < _LONGEST]
    return rng.choice(short) if short and rng.random() < 0.5 else str(rng.choice(_NUMBERS))


def operate(source: Source, rng: random.Random) -> str | None:
    """Join two parts by another arithmetic operation, or take the larger or the smaller."""
    found = [p for p in parts_of(source) if isinstance(p.node, ast.BinOp) and isinstance(p.node.op, _ARITHMETIC)]
    if not found:
        return None
    part = rng.choice(found)
    assert isinstance(part.node, ast.BinOp)
    left, right = ast.unparse(part.node.left), ast.unparse(part.node.right)
    ways = [f"({left}) {sign} ({right})" for sign in "+-*"] + [
        f"{name}({left}, {right})" for name in ("maximum", "minimum")
    ]
    new = [way for way in map(expression, ways) if ast.dump(way) != ast.dump(part.node)]
    return _put(source, part, rng.choice(new))


def prune(source: Source, rng: random.Random) -> str | None:
    """Put an operand in place of an operation that has the same axes."""
    parts = parts_of(source)
    axes = {id(part.node): part.axes for part in parts}
    found = [(part, node) for part in parts for node in operands(part.node) if axes.get(id(node)) == part.axes]
    if not found:
        return None
    part, node = rng.choice(found)
    return _put(source, part, copy.deepcopy(node))


def perturb(source: Source, rng: random.Random) -> str | None:
    """Change a fraction that is written in select."""
    select = source.method("select")
    nodes = ast.walk(select) if select else ()
    found = [n for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, float) and n.value != 0]
    if not found:
        return None
    node = rng.choice(found)
    assert isinstance(node.value, float)
    old, node.value = node.value, round(node.value * rng.choice((0.5, 0.75, 1.5, 2.0)), 4)
    return f"{node.value} in place of {old}"


def _put(source: Source, old: Part, new: ast.expr) -> str:
    """Replace a part and say so."""
    select = source.method("select")
    assert select is not None
    before, after = ast.unparse(old.node), ast.unparse(new)
    replace(select, lambda node: node is old.node, lambda _: new)
    return f"{after} in place of {before}"
