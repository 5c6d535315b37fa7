"""What select makes of the query and a field over the channels, and what that field is a summary of."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.changing.edits import axes_of, calls, kind, method, method_name

if TYPE_CHECKING:
    from search.agents.changing.source import Source

UNSAID = "bfloat16"  # the kind of a field that says none
_LONGEST = 400  # characters of a summary that may be written once more


@dataclass(frozen=True)
class Product:
    """`dot(query, page.<field>, "dim")` in select. `value`: what summarize stores, its local names written out."""

    node: ast.Call
    query: str
    field: str
    value: ast.expr

    @property
    def text(self) -> str:
        """Give the product as it is written."""
        return ast.unparse(self.node)

    @property
    def stored(self) -> str:
        """Give the stored value as it is written."""
        return ast.unparse(self.value)

    @property
    def averaged(self) -> str:
        """Give the keys of which the field is the mean over tokens; nothing where it is another summary."""
        return _reduced(self.value, "mean")


@dataclass(frozen=True)
class Envelope:
    """`maximum(query * page.<high>, query * page.<low>).sum("dim")` in select, of the largest and smallest `keys`."""

    node: ast.Call
    query: str
    keys: str


def products(source: Source) -> list[Product]:
    """Give the products of select with fields whose summary can be written out."""
    found = []
    for call in calls(source.method("select")):
        if kind(call) != "dot" or axes_of(call) != ["dim"] or len(call.args) < 2:
            continue
        for query, other in (call.args[:2], call.args[1::-1]):
            value = summary(source, _field(other))
            if value is not None and not _field(query):
                found.append(Product(call, ast.unparse(query), _field(other), value))
                break
    return found


def envelopes(source: Source) -> list[Envelope]:
    """Give Quest's bounds in select (arXiv:2406.10774)."""
    found = []
    for call in calls(source.method("select")):
        inner = call.func.value if isinstance(call.func, ast.Attribute) else None
        if method_name(call) == "sum" and axes_of(call) == ["dim"] and kind(inner) == "maximum":  # type: ignore[arg-type]
            assert isinstance(inner, ast.Call)
            sides = [_side(source, each) for each in inner.args]
            if len(sides) == 2 and all(sides):
                (query, high, _), (other, _, low) = sides  # type: ignore[misc]
                if query == other and high and high == low:
                    found.append(Envelope(call, query, high))
    return found


def summary(source: Source, field: str) -> ast.expr | None:
    """Give what is stored in a field, before it is rounded, with the local names of summarize written out.

    None where that cannot be told, or is too long.
    """
    if field not in source.field_names or source.fields is None:
        return None
    value = bare(source.fields.values[source.field_names.index(field)])
    written = _WrittenOut(_locals(source)).visit(copy.deepcopy(value))
    return written if len(ast.unparse(written)) <= _LONGEST else None


def bare(value: ast.expr) -> ast.expr:
    """Give a field's value without how it is stored."""
    if isinstance(value, ast.Call) and method_name(value) == "to":
        assert isinstance(value.func, ast.Attribute)
        return value.func.value
    return value


def kinds(source: Source) -> dict[str, str]:
    """Give in what kind each field is stored, as far as summarize writes fields as one literal and kinds as words."""
    values = source.fields.values if source.fields else []
    found = ((name, _kind(value)) for name, value in zip(source.field_names, values, strict=False))
    return {name: storage for name, storage in found if storage}


def store(source: Source, field: str, storage: str) -> None:
    """Store a field, which summarize writes in its one literal, in another kind."""
    assert source.fields is not None, "summarize must return one literal"
    i = source.field_names.index(field)
    source.fields.values[i] = method(bare(source.fields.values[i]), "to", storage)


def _kind(value: ast.expr) -> str:
    """Give the kind that a field's value names, the language's own where it names none; nothing for an expression."""
    if bare(value) is value:
        return UNSAID
    assert isinstance(value, ast.Call), "only a call of .to is not bare"
    return next(iter(axes_of(value)), "")


def _side(source: Source, node: ast.expr) -> tuple[str, str, str] | None:
    """Read `query * page.<field>`: the query, and the keys that the field is the largest, or the smallest, of."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return None
    for query, other in ((node.left, node.right), (node.right, node.left)):
        value = summary(source, _field(other))
        if value is not None:
            return ast.unparse(query), _reduced(value, "max"), _reduced(value, "min")
    return None


def _field(node: ast.expr) -> str:
    is_page = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "page"
    return node.attr if is_page else ""  # type: ignore[attr-defined]


def _reduced(value: ast.expr, name: str) -> str:
    if isinstance(value, ast.Call) and method_name(value) == name and axes_of(value) == ["token"]:
        assert isinstance(value.func, ast.Attribute)
        return ast.unparse(value.func.value)
    return ""


def _locals(source: Source) -> dict[str, ast.expr]:
    """Give the names that summarize assigns once, outside loops."""
    summarize = source.method("summarize")
    if summarize is None:
        return {}
    stored = [n.id for n in ast.walk(summarize) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    found: dict[str, ast.expr] = {}
    for statement in summarize.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if stored.count(name) == 1:
                found[name] = _WrittenOut(found).visit(copy.deepcopy(statement.value))
    return found


class _WrittenOut(ast.NodeTransformer):
    """Puts values in place of names."""

    def __init__(self, values: dict[str, ast.expr]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self._values.get(node.id)
        return copy.deepcopy(value) if value is not None else node
