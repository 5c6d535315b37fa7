"""Changes of how keys, queries and heads are reduced: other reductions, sub-pages, channels, shares of heads."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from search.agents.changing.edits import REDUCTIONS, axes_of, calls, expression, is_named, method, method_name, replace
from vortex_dsl.frontend.source import parsed_expression

if TYPE_CHECKING:
    import random

    from search.agents.changing.source import Source

USUAL, COMMON = ("max", "mean", "sum", "logsumexp"), 4  # drawn so many times as often as the others of the table


def reduce_otherwise(source: Source, rng: random.Random) -> str | None:
    """Reduce tokens, heads or sub-pages by another operation, in the score or in a field."""
    found = [call for name in ("summarize", "select") for call in _reductions(source.method(name))]
    if not found:
        return None
    call = rng.choice(found)
    assert isinstance(call.func, ast.Attribute)
    old, others = call.func.attr, [name for name in REDUCTIONS if name != call.func.attr]
    call.func.attr = rng.choices(others, [COMMON if name in USUAL else 1 for name in others])[0]
    return f"{call.func.attr} in place of {old} over {' and '.join(axes_of(call))}"


def _reductions(function: ast.FunctionDef | None) -> list[ast.Call]:
    """Give the reductions that are neither over pages nor over channels."""
    found = [call for call in calls(function) if method_name(call) in REDUCTIONS and axes_of(call)]
    return [call for call in found if not {"page", "dim"} & set(axes_of(call))]


def share_heads(source: Source, rng: random.Random) -> str | None:
    """Compare pages by the share each head gives them, or take that comparison away."""
    select = source.method("select")
    shares = [call for call in calls(select) if method_name(call) == "softmax"]
    if select is not None and shares:
        replace(select, lambda node: node is shares[0], lambda _: shares[0].func.value)  # type: ignore[attr-defined]
        return "heads without softmax over pages"
    found = [call for call in calls(select) if method_name(call) in ("max", "sum") and axes_of(call) == ["head"]]
    if not found:
        return None
    call = rng.choice(found)
    assert isinstance(call.func, ast.Attribute)
    call.func.value = method(ast.BinOp(call.func.value, ast.Mult(), expression("self.scale")), "softmax", "page")
    return "softmax over pages in each head"


def resplit(source: Source, rng: random.Random) -> str | None:
    """Summarise other sub-pages: change their number, or begin to split."""
    summarize, select = source.method("summarize"), source.method("select")
    if summarize is None or select is None:
        return None
    splits = [call for call in calls(summarize) if method_name(call) == "split"]
    number = rng.choice((2, 4, 8))
    for call in splits:
        call.keywords[0].value = ast.Constant(number)
    if not splits:
        replace(summarize, lambda n: is_named(n, "k"), lambda n: method(n, "split", "token", sub=number))
        heads = [c for c in calls(select) if method_name(c) in REDUCTIONS and axes_of(c) == ["head"]]
        for call in heads:
            assert isinstance(call.func, ast.Attribute)
            call.func.value = method(call.func.value, "max", "sub")
        if not heads:
            return None
    return f"{number} sub-pages"


def narrow(source: Source, rng: random.Random) -> str | None:
    """Look at some of the channels only."""
    summarize, select = source.method("summarize"), source.method("select")
    if summarize is None or select is None or any(method_name(call) == "take" for call in calls(summarize)):
        return None
    quarter, all_of_them = source.head_dim // 4, source.head_dim
    half = 2 * quarter
    ranges = (
        (0, half, 1),
        (half, all_of_them, 1),
        (0, all_of_them, 2),
        (0, half + quarter, 1),
        (quarter, all_of_them, 1),
    )
    start, stop, step = rng.choice(ranges)
    channels = parsed_expression(f"slice({start}, {stop}, {step})")

    def taken(node: ast.expr) -> ast.expr:
        return ast.Call(ast.Attribute(node, "take", ast.Load()), [ast.Constant("dim"), channels], [])

    replace(summarize, lambda n: is_named(n, "k"), taken)
    replace(select, lambda n: is_named(n, "q"), taken)
    return f"channels {start} to {stop} in steps of {step}"
