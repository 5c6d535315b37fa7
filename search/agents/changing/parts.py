"""The parts of select and their axes, so that a change keeps to what fits. Read off the operation table."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.changing.edits import SELECTIONS, kind, method_name
from search.agents.changing.source import assigned
from vortex_dsl.ops import OPS
from vortex_dsl.ops.op import OpKind, Take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.agents.changing.source import Source

    Axes = frozenset[str]
    Scope = dict[str, frozenset[str] | None]

_NONE: frozenset[str] = frozenset()
_PAGE = {"k": ("page", "token", "dim"), "v": ("page", "token", "dim"), "index": ("page",), "reserved": ("page",)}


@dataclass(frozen=True)
class Part:
    """An expression of a method, the axes of its value, and the number of the statement that it stands in."""

    node: ast.expr
    axes: frozenset[str]
    line: int


def parts_of(source: Source) -> list[Part]:
    """Give the operations of select whose axes can be told and are not none, in the order in which they stand."""
    return [part for part in expressions_of(source, "select") if part.axes and _is_operation(part.node)]


def expressions_of(source: Source, method: str) -> list[Part]:
    """Give the expressions of select or summarize whose axes can be told, in the order in which they stand."""
    function = source.method(method)
    scope: Scope = {"q": frozenset(("head", "dim"))}
    reader = _Reader(_page_values(source) if method == "select" else {})
    if method == "summarize":
        scope = dict.fromkeys("kv", frozenset(("token", "dim")))
    found = []
    for line, statement in enumerate(function.body if function else ()):
        value = getattr(statement, "value", None)
        if not isinstance(statement, (ast.Assign, ast.Return)) or not isinstance(value, ast.expr):
            continue
        nodes = [node for node in ast.walk(value) if isinstance(node, ast.expr)]
        known = {id(node): reader.axes(node, scope) for node in nodes}
        found += [Part(node, axes, line) for node in nodes if (axes := known[id(node)]) is not None]
        if assigned(statement):
            scope[assigned(statement)] = known[id(value)]
    return found


def _is_operation(node: ast.expr) -> bool:
    """Whether a node computes something from other values: no selection, name or number."""
    if isinstance(node, ast.BinOp):
        return True
    return isinstance(node, ast.Call) and kind(node) not in SELECTIONS and method_name(node) != "remember"


def _page_values(source: Source) -> Scope:
    """Give the axes of what can be read as page.<name>."""
    values: Scope = {"count": _NONE}
    values |= {name: frozenset(axes) for name, axes in _PAGE.items()}
    for name, call in source.states.items():
        given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "axes")]
        axes = given[0] if given else ast.Tuple([ast.Constant("page")], ast.Load())
        values[name] = _strings(list(ast.walk(axes)))
    fields = _field_axes(source)
    return values | {name: axes | {"page"} if axes is not None else None for name, axes in fields.items()}


def _field_axes(source: Source) -> Scope:
    summarize, fields = source.method("summarize"), source.fields
    if summarize is None or fields is None:
        return {}
    scope: Scope = dict.fromkeys("kv", frozenset(("token", "dim")))
    reader = _Reader({})
    for statement in summarize.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            scope[statement.targets[0].id] = reader.axes(statement.value, scope)
    values = [reader.axes(value, scope) for value in fields.values]
    return dict(zip(source.field_names, values, strict=False))


@dataclass(frozen=True)
class _Reader:
    """Tells the axes of expressions; None where it cannot."""

    page: Scope

    def axes(self, node: ast.expr, scope: Scope) -> Axes | None:
        if isinstance(node, ast.Constant):
            return _NONE
        if isinstance(node, ast.Name):
            return scope.get(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return self.page.get(node.attr) if node.value.id == "page" else _NONE
        if isinstance(node, ast.UnaryOp):
            return self.axes(node.operand, scope)
        if isinstance(node, ast.BinOp):
            return self._union([node.left, node.right], scope)
        if isinstance(node, ast.Compare):
            return self._union([node.left, *node.comparators], scope)
        return self._call(node, scope) if isinstance(node, ast.Call) else None

    def _union(self, nodes: list[ast.expr], scope: Scope) -> Axes | None:
        found = [self.axes(node, scope) for node in nodes]
        return _NONE.union(*(axes for axes in found if axes is not None)) if None not in found else None

    def _call(self, node: ast.Call, scope: Scope) -> Axes | None:
        """Give the axes of a call by the parameters that the operation's entry declares."""
        name = kind(node) or method_name(node)
        op = OPS.get(name)
        if op is None or name in SELECTIONS or name == "remember":
            return None
        given = [node.func.value, *node.args] if isinstance(node.func, ast.Attribute) else node.args
        values = [value for value, param in zip(given, op.params, strict=False) if param.take is Take.VALUE]
        axes, named = self._union(list(values), scope), _strings(given)
        if axes is None:
            return None
        if op.params[-1].take is Take.NAMES:
            renamed = {str(key.arg): ast.literal_eval(key.value) for key in node.keywords}
            return frozenset(renamed.get(axis, axis) for axis in axes)
        if op.params[-1].take is Take.LENGTHS:
            return axes | {str(key.arg) for key in node.keywords}
        if not values:
            return named
        removes = op.params[-1].take is Take.AXES or (op.kind is OpKind.FUNCTION and len(values) > 1)
        return axes - named if removes else axes


def _strings(nodes: Sequence[ast.AST]) -> Axes:
    return frozenset(n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
