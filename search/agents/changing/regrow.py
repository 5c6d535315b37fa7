"""Changes that draw from the grammar again: another budget, another way over heads or pages, memory, an estimate."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from search.agents.changing.edits import (
    REDUCTIONS,
    axes_of,
    calls,
    choice,
    expression,
    kind,
    method_name,
    replace,
    score_place,
)
from search.agents.changing.parts import parts_of
from search.agents.changing.sketch import kept, put, rescore, sketch, takes_fields
from search.agents.drawing.budgets import FIXED
from search.agents.drawing.budgets import budget as drawn_budget
from search.agents.drawing.budgets import selection as drawn_selection
from search.agents.drawing.draft import NUMBERS, Draft
from search.agents.drawing.estimates import estimate
from search.agents.drawing.shaping import along_pages as drawn_along_pages
from search.agents.drawing.shaping import over_heads as drawn_over_heads
from search.agents.drawing.states import remembering

if TYPE_CHECKING:
    import random

    from search.agents.changing.source import Source


def budget(source: Source, rng: random.Random) -> str | None:
    """Choose by another rule: a fixed number of pages, an expression, or another selection."""
    call = choice(source)
    place = score_place(call)
    if call is None or place is None or kind(call) == "refine" or "pages" not in source.tunables:
        return None
    draft = sketch(source, rng)
    score = kept(draft, call.args[place], "score")
    chance = rng.random()
    if chance < 0.3:
        result, words = f"topk({score}, {FIXED})", "a fixed budget"
    elif chance < 0.65:
        number, words = drawn_budget(rng, draft.tune, score)
        result = f"topk({score}, {number})"
    else:
        result, words = drawn_selection(rng, draft.tune, score)
    put(source, draft, call, result)
    return words


def along_pages(source: Source, rng: random.Random) -> str | None:
    """Let neighbours, age or chance count."""
    return rescore(source, rng, lambda rng, draft, name: drawn_along_pages(rng, draft.tune, name))


def refine(source: Source, rng: random.Random) -> str | None:
    """Choose four times as many, and of them by another score."""
    call = choice(source)
    place = score_place(call)
    if call is None or place is None or kind(call) != "topk" or "pages" not in source.tunables:
        return None
    if not takes_fields(source):
        return None
    draft = sketch(source, rng)
    finer, _ = drawn_over_heads(rng, _estimated(draft))
    coarse = f"topk({ast.unparse(call.args[place])}, 4 * {FIXED})"
    put(source, draft, call, f"refine({coarse}, {finer}, {FIXED})")
    return f"then refined by {draft.ideas[-1]}"


def remember(source: Source, rng: random.Random) -> str | None:
    """Let the score remember what it was."""
    if source.states:
        return None
    return rescore(source, rng, lambda _rng, draft, name: (remembering(draft, name), draft.details[-1]))


def gate(source: Source, rng: random.Random) -> str | None:
    """Let the norms of the values count."""
    if source.fields is None or "gate" in source.field_names:
        return None
    way = rng.choice(("mean", "max"))

    def gated(_rng: random.Random, draft: Draft, name: str) -> tuple[str, str]:
        weight = draft.store("gate", f'v.norm("dim").{way}("token")', NUMBERS, (1, 1))
        return (
            f"{name} + {draft.tune('gate', 0.1, 1.0)} * log({weight} + 0.001)",
            f"plus the log of the {way} value norm",
        )

    return rescore(source, rng, gated)


def over_heads(source: Source, rng: random.Random) -> str | None:
    """Let the heads of a group agree in another way."""
    select = source.method("select")
    found = [c for c in calls(select) if method_name(c) in REDUCTIONS and axes_of(c) == ["head"]]
    if select is None or not found:
        return None
    call = rng.choice(found)
    assert isinstance(call.func, ast.Attribute)
    inner = ast.unparse(call.func.value)
    way, words = drawn_over_heads(rng, inner if inner.isidentifier() else f"({inner})")
    replace(select, lambda node: node is call, lambda _: expression(way))
    return words


def regrow(source: Source, rng: random.Random) -> str | None:
    """Put a new estimate in place of a part of the score, or add it."""
    parts = [part for part in parts_of(source) if part.axes == {"page", "head"}]
    if not parts or not takes_fields(source):
        return None
    part = rng.choice(parts)
    draft = sketch(source, rng)
    name = _estimated(draft)
    old = ast.unparse(part.node)
    new = rng.choice((name, name, f"maximum({old}, {name})", f"({old}) + {draft.tune('mix', 0.1, 1.0)} * {name}"))
    put(source, draft, part.node, new)
    return f"{draft.ideas[-1]} in {old}"


def _estimated(draft: Draft) -> str:
    """Draw an estimate whose query has a name of its own; give its name."""
    draft.channels = None
    first = len(draft.select)
    query = draft.let("asked", "q * self.scale")
    name = estimate(draft, "estimate")
    draft.select[first:] = [re.sub(r"\bquery\b", query, line) for line in draft.select[first:]]
    return name
