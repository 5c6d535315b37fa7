"""How a budget is spread over layers and KV heads; the platform's fit keeps the cost of all layers together."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from search.agents.changing.edits import choice, kind, score_place
from search.agents.changing.sketch import put, sketch

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from search.agents.changing.source import Source
    from search.agents.drawing.draft import Draft


def spread_budget(source: Source, rng: random.Random) -> str | None:
    """Give layers or KV heads different numbers of pages."""
    call = choice(source)
    place = score_place(call)
    if call is None or place is None or len(call.args) <= place + 1 or kind(call) not in ("topk", "refine"):
        return None
    way, words = rng.choice(WAYS)
    draft = sketch(source, rng)
    number = call.args[place + 1]
    put(source, draft, number, f"({ast.unparse(number)}) * {way(draft)}")
    return words


def sloping(draft: Draft) -> str:
    """Fall from the first layer to the last, or rise (PyramidKV, arXiv:2406.02069)."""
    return f"(1.0 + {draft.tune('slope', -0.9, 0.9)} * (1.0 - (2 * layer.index + 1) / layer.count))"


def arched(draft: Draft) -> str:
    """Give layers in the middle more, or fewer."""
    return f"(1.0 + {draft.tune('arch', -0.9, 0.9)} * (1.0 - 3.0 * square(1.0 - (2 * layer.index + 1) / layer.count)))"


def first_layers(draft: Draft) -> str:
    """Give the first layers more, or fewer."""
    return f"where(layer.index < {draft.tune('first', 1, 8)}, {draft.tune('share_of_first', 0.25, 4.0)}, 1.0)"


def one_layer_in(draft: Draft) -> str:
    """Give one layer in a few more, or fewer."""
    return f"where(layer.index % {draft.rng.choice((2, 3, 4))} == 0, {draft.tune('share_of_one', 0.25, 4.0)}, 1.0)"


def by_head(draft: Draft) -> str:
    """Give one KV head in a few fewer pages."""
    return (
        f"where((kv_head.index + layer.index) % {draft.rng.choice((2, 3))} == 0, {draft.tune('less', 0.25, 1.0)}, 1.0)"
    )


WAYS: tuple[tuple[Callable[[Draft], str], str], ...] = (
    (sloping, "a budget that slopes over layers"),
    (arched, "a budget arched over layers"),
    (first_layers, "another budget in the first layers"),
    (one_layer_in, "another budget in one layer of a few"),
    (by_head, "a smaller budget for some heads"),
)
