"""From one vector of a page to a few beside each other, the page counting by the best of them or by their mass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.agents.changing.products import products
from search.agents.changing.sketch import put, sketch
from search.agents.drawing.draft import COARSE, NUMBERS, PAGE_SIZE, SIGNS, VECTORS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from search.agents.changing.source import Source

COMPACT = {**VECTORS, "int4": 12}


def represent(source: Source, rng: random.Random) -> str | None:
    """Keep a few representatives of a page in place of its mean key."""
    found = [product for product in products(source) if product.averaged]
    if not found:
        return None
    product, (way, words, _) = rng.choice(found), rng.choices(POINTS, [weight for *_, weight in POINTS])[0]
    points = way(product.averaged, rng)
    draft = sketch(source, rng)
    shape = (len(points) * draft.num_parts, draft.width)
    kept = draft.store("points", f'stack({", ".join(points)}, "point")', COMPACT, shape)
    together = rng.choice(("max", "max", "logsumexp"))
    put(source, draft, product.node, f'dot({product.query}, {kept}, "dim").{together}("point")')
    return words if together == "max" else f"{words}, their mass"


def subdivide(source: Source, rng: random.Random) -> str | None:
    """Keep a mean key of each sub-page in place of one (LServe, arXiv:2502.14866), the page counting by the best."""
    found = [product for product in products(source) if product.averaged]
    if not found:
        return None
    product, number, draft = rng.choice(found), rng.choice((2, 2, 4)), sketch(source, rng)
    value = f'{product.averaged}.split("token", part={number}).mean("token")'
    kept = draft.store("parts", value, COMPACT, (number, draft.width))
    together = rng.choice(("max", "logsumexp"))
    put(source, draft, product.node, f'dot({product.query}, {kept}, "dim").{together}("part")')
    return f"a mean key of each of {number} parts of a page"


def every_key(source: Source, rng: random.Random) -> str | None:
    """Keep every key in four bits, or its signs and their mean size, in place of their mean."""
    found = [product for product in products(source) if product.averaged]
    if not found:
        return None
    product, draft = rng.choice(found), sketch(source, rng)
    kept = draft.store("tokens", product.averaged, {**COARSE, **SIGNS}, (PAGE_SIZE, draft.width))
    text = f'dot({product.query}, {kept}, "dim")'
    if draft.fields[kept.removeprefix("page.")].endswith('"sign")'):
        size = draft.store("size", f'abs({product.averaged}).mean("dim")', NUMBERS, (PAGE_SIZE, 1))
        text += f" * {size}"
    put(source, draft, product.node, f'({text}).{rng.choice(("max", "logsumexp"))}("token")')
    return "every key, coarsely, in place of their mean"


def apart(keys: str, number: int) -> str:
    """Tell the keys farthest from their mean: bool [token]."""
    return f'({keys} - {keys}.mean("token")).norm("dim").top("token", {number})'


def rest_and_far(keys: str, rng: random.Random) -> list[str]:
    """Take the mean of the keys farthest from the mean, and the mean of the others."""
    return _sides(keys, apart(keys, rng.choice((1, 1, 2, 4))))


def rest_and_large(keys: str, rng: random.Random) -> list[str]:
    """Take the mean of the keys of largest norm, and the mean of the others."""
    return _sides(keys, f'{keys}.norm("dim").top("token", {rng.choice((1, 2, 4))})')


def two_clusters(keys: str, _rng: random.Random) -> list[str]:
    """Cut keys by the plane between their mean and the farthest of them (a step of 2-means)."""
    mean = f'{keys}.mean("token")'
    farthest = f'({keys} * {apart(keys, 1)}).sum("token")'
    return _sides(keys, f'(dot({keys} - {mean}, {farthest} - {mean}, "dim") > 0.0)')


def rest_and_two(keys: str, _rng: random.Random) -> list[str]:
    """Take the two keys farthest from the mean one by one, and the mean of all."""
    first, both = apart(keys, 1), apart(keys, 2)
    return [
        f'{keys}.mean("token")',
        f'({keys} * {first}).sum("token")',
        f'({keys} * ({both} & ~{first})).sum("token")',
    ]


POINTS: tuple[tuple[Callable[[str, random.Random], list[str]], str, float], ...] = (
    (rest_and_far, "the keys farthest from the mean beside the others", 4),
    (rest_and_large, "the largest keys beside the others", 1),
    (two_clusters, "two clusters of keys", 3),
    (rest_and_two, "the mean and the two farthest keys", 1),
)


def _sides(keys: str, chosen: str) -> list[str]:
    """Give the means of the keys that are chosen, and of those that are not. chosen: text of a bool [token]."""
    return [
        f'(({keys} * {side}).sum("token") / maximum({side}.sum("token"), 1.0))' for side in (chosen, f"(~{chosen})")
    ]
