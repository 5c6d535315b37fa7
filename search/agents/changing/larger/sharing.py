"""A choice of pages that layers or steps share, and what is bought for what that saves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.agents.changing.edits import choice, declared
from search.agents.changing.larger.channels import rotate
from search.agents.changing.larger.points import every_key, represent, subdivide
from search.agents.changing.larger.stages import look_closer
from search.agents.changing.larger.terms import spread

if TYPE_CHECKING:
    import random

    from search.agents.changing.source import Source

SHARED = {"share_layers": ("Int({}, 1, 8)", (2, 3, 4)), "refresh_steps": ("Int({}, 1, 16)", (2, 3, 4, 8))}
RICHER = (represent, represent, look_closer, look_closer, spread, subdivide, every_key, rotate)


def share_and_spend(source: Source, rng: random.Random) -> str | None:
    """Choose once for a few layers or steps (IndexCache, arXiv:2603.12201; LServe, arXiv:2502.14866), by more bytes."""
    if choice(source) is None or "pages" not in source.tunables:
        return None
    spent = rng.choice(RICHER)(source, rng)
    if spent is None:
        return None
    return f"{declared(source, rng, SHARED)}, and {spent}"
