"""What `--where` and `--sort` say of a standing's fields: read, checked, and never executed.

`kl < .1 and (speedup_low > 1 or not confirmed)`: fields of `search.ranking.standing.Standing`, numbers, "text", the six
comparisons (chained too), and, or, not, parentheses. A field without a figure fulfils no comparison, as in SQL.
"""

from __future__ import annotations

import ast
from dataclasses import fields
from typing import TYPE_CHECKING, Literal

from search.ranking.standing import Standing
from vortex_dsl.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["number", "text", "flag"]

MAX_CHARACTERS = 1000
EXAMPLE = "write for example 'kl < .1'"
OF_TYPE: dict[str, Kind] = {"int": "number", "float": "number", "float | None": "number", "str": "text", "bool": "flag"}
KINDS = {each.name: OF_TYPE[str(each.type)] for each in fields(Standing) if str(each.type) in OF_TYPE}
NOWHERE = {"\0", *map(chr, range(0xD800, 0xE000))}  # characters that no database keeps, so that no row has them
COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
# Of these more is better; of all other figures less is, and text stands in the alphabet's order.
MORE_IS_BETTER = ("accuracy", "recall", "agreement", "retrieval", "speedup", "modelled_speedup", "confirmed")


class ConditionError(ValueError):
    """What was asked cannot be asked. The message says what, where and what can be."""


def parse(text: str) -> ast.expr:
    """Read a condition. Gives a checked tree of comparisons, fields and constants alone. Raises ConditionError."""
    if len(text) > MAX_CHARACTERS:
        raise ConditionError(f"--where has {len(text):,} characters, but at most {MAX_CHARACTERS:,} are read")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        told = error.msg if isinstance(error, SyntaxError) else str(error) or "too deep"
        raise ConditionError(f"--where {text!r} is no condition ({told}); {EXAMPLE}") from error
    _check_condition(tree, text)
    return tree


def field_of(name: str, asked: str) -> Kind:
    """Give the kind of a field that `asked` (an option) names. Raises ConditionError where there is none."""
    if name not in KINDS:
        near = did_you_mean(name, KINDS) or f"; there are {', '.join(sorted(KINDS))}"
        raise ConditionError(f"{asked}: a row of the leaderboard has no {name!r}{near}")
    return KINDS[name]


def order_of(sort: str) -> tuple[str, bool]:
    """Give the field to sort by and whether downwards: best first, with a minus worst first. Raises ConditionError."""
    name = sort.removeprefix("-")
    field_of(name, "--sort")
    stem = name.removeprefix("confirmed_").removesuffix("_low").removesuffix("_high")
    return name, (stem in MORE_IS_BETTER) != sort.startswith("-")


def _check_condition(node: ast.expr, text: str) -> None:
    if isinstance(node, ast.BoolOp):
        for each in node.values:
            _check_condition(each, text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check_condition(node.operand, text)
    elif isinstance(node, ast.Compare):
        _check_comparison([node.left, *node.comparators], node.ops, text)
    elif not (isinstance(node, ast.Name) and field_of(node.id, "--where") == "flag"):
        raise ConditionError(
            f"--where: {_part(node, text)} neither compares anything nor can be true or false; {EXAMPLE}"
        )


def _check_comparison(sides: Sequence[ast.expr], signs: Sequence[ast.cmpop], text: str) -> None:
    if not all(isinstance(sign, COMPARISONS) for sign in signs):
        raise ConditionError(f"--where: only <, <=, >, >=, == and != compare; {EXAMPLE}")
    kinds = [_kind(side, text) for side in sides]
    if len(set(kinds)) > 1:
        told = ", ".join(f"{_part(side, text)} is a {kind}" for side, kind in zip(sides, kinds, strict=True))
        raise ConditionError(f"--where compares different things: {told}")


def _kind(node: ast.expr, text: str) -> Kind:
    if isinstance(node, ast.Name):
        return field_of(node.id, "--where")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.UnaryOp):
        if isinstance(node.operand, ast.Constant) and _kind(node.operand, text) == "number":
            return "number"
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            return "flag"
        if isinstance(node.value, (int, float)) and abs(node.value) < 1e300:
            return "number"
        if isinstance(node.value, str):
            if set(node.value) & NOWHERE:
                raise ConditionError(f"--where: {_part(node, text)} has a character that no row can have")
            return "text"
    raise ConditionError(f"--where: {_part(node, text)} is neither a field, a number nor a text in quotes")


def _part(node: ast.expr, text: str) -> str:
    return repr(ast.get_source_segment(text.strip(), node) or text)
