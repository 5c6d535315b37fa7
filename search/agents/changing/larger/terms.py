"""From a summary to a better estimate of it: terms for how far keys spread, tighter envelopes, other centres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.agents.changing.products import envelopes, products
from search.agents.changing.sketch import put, sketch
from search.agents.drawing.draft import NUMBERS, VECTORS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from search.agents.changing.source import Source
    from search.agents.drawing.draft import Draft

SPREADS = {**VECTORS, "int4": 12}  # how wide keys spread bears coarse rounding well


def spread(source: Source, rng: random.Random) -> str | None:
    """Add to the product with a mean key how far keys spread around it in the query's direction."""
    found = [product for product in products(source) if product.averaged]
    if not found:
        return None
    product, (way, words, _) = rng.choice(found), rng.choices(SPREAD_WAYS, [weight for *_, weight in SPREAD_WAYS])[0]
    draft = sketch(source, rng)
    put(source, draft, product.node, f"({product.text} + {way(draft, product.query, product.averaged)})")
    return f"plus {words}"


def half_width(draft: Draft, query: str, keys: str) -> str:
    """Reach out to a share of the envelope's half width (between a mean and Quest, arXiv:2406.10774)."""
    half = draft.store("half", f'(0.5 * ({keys}.max("token") - {keys}.min("token")))', SPREADS)
    return f'{draft.tune("slack", 0.1, 0.9)} * dot(abs({query}), {half}, "dim")'


def deviation(draft: Draft, query: str, keys: str) -> str:
    """Reach out by deviations of each channel."""
    deviations = draft.store("deviation", f'sqrt({keys}.var("token"))', SPREADS)
    return f'{draft.tune("slack", 0.1, 2.0)} * dot(abs({query}), {deviations}, "dim")'


def standard(draft: Draft, query: str, keys: str) -> str:
    """Reach out by deviations of the product itself, were channels independent."""
    variance = draft.store("variance", f'{keys}.var("token")', SPREADS)
    return f'{draft.tune("slack", 0.2, 3.0)} * sqrt(dot(square({query}), {variance}, "dim"))'


def gaussian(draft: Draft, query: str, keys: str) -> str:
    """Add what the mass of Gaussian keys exceeds that of their mean by."""
    variance = draft.store("variance", f'{keys}.var("token")', SPREADS)
    return f'{draft.tune("order", 0.02, 1.0)} * dot(square({query}), {variance}, "dim")'


def radius(draft: Draft, query: str, keys: str) -> str:
    """Reach out to a share of the ball around the mean (ArkVale, NeurIPS 2024)."""
    far = draft.store("radius", f'({keys} - {keys}.mean("token")).norm("dim").max("token")', NUMBERS)
    return f'{draft.tune("slack", 0.05, 0.9)} * {query}.norm("dim") * {far}'


SPREAD_WAYS: tuple[tuple[Callable[[Draft, str, str], str], str, float], ...] = (
    (half_width, "a share of the half width", 4),
    (deviation, "deviations of the channels", 2),
    (standard, "deviations of the product", 3),
    (gaussian, "the mass of Gaussian keys", 1),
    (radius, "a share of the radius", 1),
)


def tighten(source: Source, rng: random.Random) -> str | None:
    """Reach from the middle of an envelope only a share of the way to its bound."""
    found = envelopes(source)
    if not found:
        return None
    envelope = rng.choice(found)
    draft, keys = sketch(source, rng), envelope.keys
    middle = rng.choice((f'(0.5 * ({keys}.max("token") + {keys}.min("token")))', f'{keys}.mean("token")'))
    kept = draft.store("middle", middle)
    far = half_width(draft, envelope.query, keys)
    put(source, draft, envelope.node, f'(dot({envelope.query}, {kept}, "dim") + {far})')
    return "a share of the envelope's half width around its middle"


def recenter(source: Source, rng: random.Random) -> str | None:
    """Take another centre of the keys than their mean."""
    found = [product for product in products(source) if product.averaged]
    if not found:
        return None
    product, (value, words) = rng.choice(found), rng.choice(CENTRES)
    draft = sketch(source, rng)
    kept = draft.store("middle", value.format(x=product.averaged))
    put(source, draft, product.node, f'dot({product.query}, {kept}, "dim")')
    return f"{words} in place of the mean"


CENTRES = (
    ('(0.5 * ({x}.max("token") + {x}.min("token")))', "the middle of the envelope"),
    ('({x}.mean("token") + 0.25 * ({x}.max("token") + {x}.min("token") - 2 * {x}.mean("token")))', "between middle"),
    (
        '({x} * (1.0 - ({x} - {x}.mean("token")).norm("dim").top("token", 2))).sum("token")',
        "the mean without the two farthest keys",
    ),
    ('({x} * {x}.norm("dim").normalize("token")).sum("token")', "the mean weighted by norm"),
)
