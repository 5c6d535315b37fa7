"""Crossover: one program that keeps the summaries of two parents and chooses by both scores."""

from __future__ import annotations

import ast
import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from search.agents.source import Source

SUFFIX = "_b"
SHARED = ("pages",)  # the budget is the first parent's
PLATFORM = ("sink", "window", "page_size", "dense_layers", "share_layers", "refresh_steps")
SELECTIONS = ("topk", "topp", "above")


def cross(first: Source, second: Source, rng: random.Random) -> str | None:
    """Add the second parent's summary and score to the first; say how they are combined.

    None where one of them has helpers or does not end in a choice by score.
    """
    if first.has_helpers or second.has_helpers or "pages" not in first.tunables:
        return None
    other = _renamed(second)
    ours, theirs = _score_of(first), _score_of(other)
    if ours is None or theirs is None:
        return None
    for name, call in other.tunables.items():
        first.declare(name, ast.unparse(call))
    _join_summaries(first, other)
    select, their_select = first.method("select"), other.method("select")
    assert select is not None
    assert their_select is not None
    how, result = _combined(first, ours, theirs, rng)
    select.body = [*select.body[:-1], *their_select.body[:-1], ast.Return(result)]
    return how


def _combined(first: Source, ours: ast.expr, theirs: ast.expr, rng: random.Random) -> tuple[str, ast.expr]:
    """Draw how two scores choose together."""
    a, b = ast.unparse(ours), ast.unparse(theirs)
    way = rng.random()
    if way < 0.4:
        share = rng.uniform(0.2, 1.0)
        first.declare("blend", f"Float({share:.2f}, low=0.0, high=2.0)")
        text = f"topk(({a}).softmax('page') + self.blend * ({b}).softmax('page'), self.pages)"
        how = "shares of the mass by both scores, added"
    elif way < 0.75:
        text, how = f"refine(topk({a}, 4 * self.pages), {b}, self.pages)", "refined by the second score"
    else:
        first.declare("extra", f"Int({rng.choice((1, 2))}, low=1, high=64)")
        text, how = f"union(topk({a}, self.pages), topk({b}, self.extra))", "the best pages of either score"
    return how, ast.parse(text, mode="eval").body


def _score_of(source: Source) -> ast.expr | None:
    select = source.method("select")
    last = select.body[-1] if select else None
    call = last.value if isinstance(last, ast.Return) else None
    by_score = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in SELECTIONS
    return call.args[0] if by_score and isinstance(call, ast.Call) and call.args else None


def _renamed(source: Source) -> Source:
    """Copy a program with its fields, tunables and local names told apart by a suffix; the platform's own go."""
    other = type(source)(copy.deepcopy(source.tree), source.head_dim)
    body = other.program.body
    body[:] = [n for n in body if not (isinstance(n, ast.Assign) and _target(n) in (*PLATFORM, *SHARED))]
    tunables, fields = set(other.tunables), _field_names(other)
    local = {n.id for n in ast.walk(other.program) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    _Rename(local, {"self": tunables, "page": fields}).visit(other.tree)
    if other.fields is not None:
        other.fields.keys = [ast.Constant(f"{ast.literal_eval(key)}{SUFFIX}") for key in other.fields.keys if key]
    return other


def _target(node: ast.Assign) -> str:
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""


def _field_names(source: Source) -> set[str]:
    keys = source.fields.keys if source.fields else []
    return {ast.literal_eval(key) for key in keys if key}


class _Rename(ast.NodeTransformer):
    """Appends the suffix to local names, and to attributes by what they are attributes of."""

    def __init__(self, local: set[str], attributes: dict[str, set[str]]) -> None:
        self._local, self._attributes = local, attributes

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id += SUFFIX if node.id in self._local else ""
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        node.attr += SUFFIX if node.attr in self._attributes.get(owner, ()) else ""
        self.generic_visit(node)
        return node


def _join_summaries(first: Source, other: Source) -> None:
    """Let one summarize return the fields of both."""
    theirs = other.method("summarize")
    if theirs is None:
        return
    ours = first.method("summarize")
    if ours is None:
        body = first.program.body
        place = next(i for i, node in enumerate(body) if isinstance(node, ast.FunctionDef))
        body.insert(place, theirs)
    elif first.fields is not None and other.fields is not None:
        first.fields.keys += other.fields.keys
        first.fields.values += other.fields.values
        ours.body = [*ours.body[:-1], *theirs.body[:-1], ours.body[-1]]
