"""In two stages: a cheap score proposes pages, and a finer one chooses among them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from search.agents.changing.edits import choice, kind, score_place
from search.agents.changing.sketch import kept, put, sketch, takes_fields
from search.agents.drawing.draft import COARSE, NUMBERS, PAGE_SIZE, SIGNS

if TYPE_CHECKING:
    import random

    from search.agents.changing.source import Source
    from search.agents.drawing.draft import Draft


def look_closer(source: Source, rng: random.Random) -> str | None:
    """Let the score propose a tunable number of times as many pages, and every key of them decide.

    The keys are read themselves, or kept in few bits (HISA, arXiv:2603.28458).
    """
    call = choice(source)
    place = score_place(call)
    if call is None or place is None or kind(call) != "topk" or len(call.args) < 2 or not takes_fields(source):
        return None
    draft = sketch(source, rng)
    score, number = kept(draft, call.args[place], "score"), ast.unparse(call.args[1])
    every_key, words = rng.choice(((_raw, "the keys themselves"), (_coarse, "every key in four bits"),
                                   (_signs, "the signs of every key")))  # fmt: skip
    product = every_key(draft)
    way = rng.choice(('.max("token", "head")', '.logsumexp("token", "head")', '.logsumexp("token").sum("head")'))
    finer = draft.let("finer", f"({product}){way}")
    if rng.random() < 0.3:
        finer = f"{finer} + {draft.tune('first_score', 0.0, 1.0)} * {score}"
    wider = draft.tune("wider", 1.2, 6.0)
    put(source, draft, call, f"refine(topk({score}, {wider} * ({number})), {finer}, {number})")
    return f"then refined by {words}"


def _raw(_draft: Draft) -> str:
    return 'dot(q * self.scale, page.k, "dim")'


def _coarse(draft: Draft) -> str:
    tokens = draft.store("tokens", "k", COARSE, (PAGE_SIZE, draft.width))
    return f'dot(q * self.scale, {tokens}, "dim")'


def _signs(draft: Draft) -> str:
    """Compare the signs of what keys are beside their mean."""
    center = draft.store("center", 'k.mean("token")', COARSE)
    signs = draft.store("signs", '(k - k.mean("token"))', SIGNS, (PAGE_SIZE, draft.width))
    size = draft.store("size", 'abs(k - k.mean("token")).mean("dim")', NUMBERS, (PAGE_SIZE, 1))
    return f'(dot(q, {center}, "dim") + dot(q, {signs}, "dim") * {size}) * self.scale'


def widen(source: Source, rng: random.Random) -> str | None:
    """Let the first of two stages propose more or fewer pages, by a tunable factor."""
    call = choice(source)
    first = call.args[0] if call is not None and kind(call) == "refine" and len(call.args) > 2 else None
    if call is None or not isinstance(first, ast.Call) or kind(first) != "topk" or len(first.args) < 2:
        return None
    draft = sketch(source, rng)
    score, number = ast.unparse(first.args[0]), ast.unparse(call.args[2])
    put(source, draft, first, f"topk({score}, {draft.tune('wider', 1.2, 6.0)} * ({number}))")
    return "another number of pages for the second stage"
