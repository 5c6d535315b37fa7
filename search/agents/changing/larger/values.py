"""Scores that know what pages would add to the output: their values beside their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.agents.changing.sketch import rescore, takes_fields
from search.agents.drawing.draft import NUMBERS

if TYPE_CHECKING:
    import random

    from search.agents.changing.source import Source
    from search.agents.drawing.draft import Draft

# What a page's values weigh: text, and what it says.
WEIGHTS = (
    ('v.norm("dim").mean("token")', "the mean norm of values"),
    ('v.mean("token").norm("dim")', "the norm of the mean value"),
    ('v.norm("dim").max("token")', "the largest norm of values"),
    ('sqrt(v.var("token").sum("dim"))', "how far values spread"),
    ('(v.norm("dim") * k.norm("dim")).mean("token")', "the norms of values and keys"),
)


def weigh_values(source: Source, rng: random.Random) -> str | None:
    """Weigh a page by what its values could add to the output: the error of leaving it out grows with both."""
    if not takes_fields(source):
        return None
    weight, words = rng.choice(WEIGHTS)
    multiplied = rng.random() < 0.5

    def weighed(_rng: random.Random, draft: Draft, name: str) -> tuple[str, str]:
        kept = draft.store("worth", weight, NUMBERS, (1, 1))
        power = draft.tune("worth", 0.1, 1.0)
        if multiplied:
            return f"{name} * exp({power} * log({kept} + 0.001))", f"times a power of {words}"
        return f"{name} + {power} * log({kept} + 0.001)", f"plus the log of {words}"

    return rescore(source, rng, weighed)
