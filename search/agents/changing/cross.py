"""Crossover: one program that keeps the summaries of two parents and chooses by both."""

from __future__ import annotations

import ast
import copy
from typing import TYPE_CHECKING

from search.agents.changing.edits import choice, expression, method, method_name, scored, unremembered
from search.agents.changing.source import assigned
from vortex_dsl.tunables import PLATFORM_TUNABLES

if TYPE_CHECKING:
    import random

    from search.agents.changing.source import Source

SUFFIX = "_b"
SHARED = ("pages",)  # the budget is the first parent's


def cross(first: Source, second: Source, rng: random.Random) -> str | None:
    """Add the second parent's summary and score to the first; say how they are combined, None where `obstacle` does."""
    if obstacle(first, second):
        return None
    other = _renamed(first, second)
    ours, theirs = scored(first), scored(other)
    assert ours is not None
    assert theirs is not None
    first_choice = _returned(first)
    remembered = [*_remembered(first), *_remembered(other)]
    for name, call in {**other.tunables, **other.states}.items():
        first.declare(name, ast.unparse(call))
    first.tree.body[1:1] = other.constants
    _join_summaries(first, other)
    how, text = _combined(first, (ours, theirs), (first_choice, _returned(other)), rng)
    select, their_select = first.method("select"), other.method("select")
    assert select is not None
    assert their_select is not None
    result = expression(text)
    if remembered:
        result = method(result, "remember")
        result.keywords = remembered
    select.body = [*select.body[:-1], *their_select.body[:-1], ast.Return(result)]
    return how


def obstacle(first: Source, second: Source) -> str:
    """Say why two programs cannot be crossed, nothing if they can."""
    for source in (first, second):
        name = source.program.name
        if source.has_helpers:
            return f"{name} has helper functions"
        if scored(source) is None:
            return f"{name} does not end in a choice by score"
        if source.method("summarize") is not None and source.fields is None:
            return f"{name} does not return its fields as one literal"
    return "" if "pages" in first.tunables else f"{first.program.name} has no budget called pages"


def _combined(
    first: Source, scores: tuple[ast.expr, ast.expr], choices: tuple[str, str], rng: random.Random
) -> tuple[str, str]:
    """Draw how two scores, or two selections, choose together."""
    a, b = map(ast.unparse, scores)
    way = rng.random()
    if way < 0.35:
        first.declare("blend", f"Float({rng.uniform(0.2, 1.0):.2f}, low=0.0, high=2.0)")
        text = f"topk(({a}).softmax('page') + self.blend * ({b}).softmax('page'), self.pages)"
        return "shares of the mass by both scores, added", text
    if way < 0.65:
        return "refined by the second score", f"refine(topk({a}, 4 * self.pages), {b}, self.pages)"
    if way < 0.75:
        return "of the second's choice the best by the first score", f"refine({choices[1]}, {a}, self.pages)"
    if way < 0.9:
        first.declare("extra", f"Int({rng.choice((1, 2))}, low=1, high=64)")
        return "the best pages of either score", f"union(topk({a}, self.pages), topk({b}, self.extra))"
    return "the choices of both", f"union({choices[0]}, {choices[1]})"


def _returned(source: Source) -> str:
    """Give the selection that select returns, without what it remembers."""
    select = source.method("select")
    assert select is not None
    last = select.body[-1]
    assert isinstance(last, ast.Return)
    selection = unremembered(last.value)
    if isinstance(selection, ast.Name):
        selection = choice(source) or selection
    assert selection is not None
    return ast.unparse(selection)


def _remembered(source: Source) -> list[ast.keyword]:
    """Give what a program writes to its states."""
    select = source.method("select")
    nodes = ast.walk(select) if select else ()
    return [key for node in nodes if method_name(node) == "remember" for key in node.keywords]  # type: ignore[attr-defined]


def _renamed(first: Source, source: Source) -> Source:
    """Copy a program with its names told apart from the first's by a suffix; what is the platform's goes."""
    other = type(source)(copy.deepcopy(source.tree), source.head_dim)
    body = other.program.body
    platform = (*PLATFORM_TUNABLES, *SHARED)
    body[:] = [n for n in body if assigned(n) not in platform]
    suffix = _suffix(first)
    tunables, fields, states = set(other.tunables), set(other.field_names), set(other.states)
    local = {n.id for n in ast.walk(other.tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    _Rename(local, {"self": tunables, "page": fields | states}, suffix).visit(other.tree)
    if other.fields is not None:
        other.fields.keys = [ast.Constant(f"{name}{suffix}") for name in source.field_names]
    return other


def _suffix(first: Source) -> str:
    """Give a suffix that ends no name of the first parent, itself perhaps crossed before."""
    names = [*first.tunables, *first.states, *first.field_names, *first.local_names]
    suffix = SUFFIX
    while any(name.endswith(suffix) for name in names):
        suffix += SUFFIX[-1]
    return suffix


class _Rename(ast.NodeTransformer):
    """Appends the suffix to local names, to attributes by what they are attributes of, and to what is remembered."""

    def __init__(self, local: set[str], attributes: dict[str, set[str]], suffix: str) -> None:
        self._local, self._attributes, self._suffix = local, attributes, suffix

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id += self._suffix if node.id in self._local else ""
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        node.attr += self._suffix if node.attr in self._attributes.get(owner, ()) else ""
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if method_name(node) == "remember":
            for keyword in node.keywords:
                keyword.arg = f"{keyword.arg}{self._suffix}"
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
