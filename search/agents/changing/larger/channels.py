"""Which channels a product looks at, in which basis, and in how many levels they are kept."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from search.agents.changing.edits import calls, is_named, method_name
from search.agents.changing.products import products
from search.agents.changing.sketch import noted, put, sketch
from search.agents.drawing.draft import NUMBERS, SIGNS
from vortex_dsl.frontend.source import parsed_expression

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from search.agents.changing.products import Product
    from search.agents.changing.source import Source
    from search.agents.drawing.draft import Draft

TURNED = {"int4": 6, "sign": 4, "int8": 1}  # what bears coarse rounding better once channels are mixed
REST = {"int4": 2, "sign": 5}
MAX_TURNED = 64  # channels that are mixed: a constant has 8,192 elements at most


def rotate(source: Source, rng: random.Random) -> str | None:
    """Mix channels by a Hadamard matrix, so that none stands out when they are rounded (QuaRot, arXiv:2404.00456)."""
    width = min(MAX_TURNED, source.head_dim & -source.head_dim)
    found = [product for product in products(source) if _is_whole(product)]
    if not found or width < 2:
        return None
    product, draft = rng.choice(found), sketch(source, rng)
    name, blocks = hadamard(source, width), source.head_dim // width
    stored, query = (_turned(text, name, width, blocks) for text in (product.stored, product.query))
    text = _kept(draft, "turned", query, noted(source, "turned", stored), TURNED)
    put(source, draft, product.node, f'({text}).sum("block")' if blocks > 1 else f"({text})")
    return "channels mixed by a Hadamard matrix"


def hadamard(source: Source, width: int) -> str:
    """Write the constants that make up a Hadamard matrix, as far as they are missing; give the name of the largest."""
    name = f"TURN_{width}"
    if width == 2:
        source.define(name, "[[1, 1], [1, -1]]")
        return name
    half = 1 << (width.bit_length() - 1) // 2
    first, second = hadamard(source, width // half), hadamard(source, half)
    source.define(name, f"[[a * b for a in p for b in r] for p in {first} for r in {second}]")
    return name


def _turned(text: str, name: str, width: int, blocks: int) -> str:
    parts = f'({text}).split("dim", block={blocks})' if blocks > 1 else f"({text})"
    return f'({width**-0.5:.6g} * dot({parts}, matrix({name}, "turn", "dim"), "dim")).rename(turn="dim")'


def pick_channels(source: Source, rng: random.Random) -> str | None:
    """Look in one product at slow or fast rotary channels only, or at every other one.

    Channel i turns with channel i + head_dim / 2, the slower the larger i is (RoFormer, arXiv:2104.09864, as Llama
    lays it out).
    """
    found = [product for product in products(source) if _is_whole(product)]
    half = source.head_dim // 2
    if not found or half < 4:
        return None
    product, (words, start, stop, step) = rng.choice(found), rng.choice(_bands(half))
    channels = f"[i + {half} * j for j in range(2) for i in range({start}, {stop}, {step})]"
    draft = sketch(source, rng)
    value = f'({product.stored}).take("dim", {channels})'
    kept = draft.store("some", value, shape=(draft.num_parts, len(range(start, stop, step)) * 2))
    put(source, draft, product.node, f'dot(({product.query}).take("dim", {channels}), {kept}, "dim")')
    return words


def _bands(half: int) -> tuple[tuple[str, int, int, int], ...]:
    """Give ranges of half of the channels, the others lying as far behind."""
    return (
        ("the slower half of the channels", half // 2, half, 1),
        ("the slower three quarters of the channels", half // 4, half, 1),
        ("the slowest quarter of the channels", 3 * half // 4, half, 1),
        ("all but the slowest quarter of the channels", 0, 3 * half // 4, 1),
        ("every other channel", 0, half, 2),
        ("every other of the slower channels", half // 2, half, 2),
    )


def two_levels(source: Source, rng: random.Random) -> str | None:
    """Keep a field as the signs of its channels and their mean size, and what that leaves in another coarse level."""
    found = products(source)
    if not found:
        return None
    product, draft = rng.choice(found), sketch(source, rng)
    whole = noted(source, "whole", product.stored)
    text = _kept(draft, "coarse", product.query, whole, SIGNS)
    rest = noted(source, "rest", f'{whole} - where({whole} < 0.0, -1.0, 1.0) * abs({whole}).mean("dim")')
    text += f" + {_kept(draft, 'rest', product.query, rest, REST)}"
    put(source, draft, product.node, f"({text})")
    return f"{product.field} in two levels"


def _kept(draft: Draft, name: str, query: str, value: str, kinds: Mapping[str, float]) -> str:
    """Store a value in one of some kinds, signs with their mean size; give its product with the query."""
    kept = draft.store(name, value, kinds)
    text = f'dot({query}, {kept}, "dim")'
    if not draft.fields[kept.removeprefix("page.")].endswith('"sign")'):
        return text
    size = draft.store(f"{name}_size", f'abs({value}).mean("dim")', NUMBERS, (draft.num_parts, 1))
    return f"{text} * {size}"


def _is_whole(product: Product) -> bool:
    """Whether a product takes all channels as they come, as far as its text tells."""
    calls_there = [*calls(product.value), *calls(parsed_expression(product.query))]
    own = any(is_named(call.func.value, "self") for call in calls_there if isinstance(call.func, ast.Attribute))
    names = {method_name(call) for call in calls_there}
    return not own and not names & {"take", "rename"} and "split('dim'" not in product.stored
