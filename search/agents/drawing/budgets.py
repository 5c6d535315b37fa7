"""How many pages are chosen, and by which selection: text over a score called by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from search.agents.drawing.shaping import Tune

FIXED = "self.pages"
ENTROPY = '({s}.softmax("page") * log({s}.softmax("page") + 0.000001))'


def growing(tune: Tune, _s: str) -> str:
    """Grow with length."""
    return f"maximum(self.pages, {tune('share', 0.01, 0.06)} * page.count)"


def rooted(tune: Tune, _s: str) -> str:
    """Grow with the root of the length."""
    return f"self.pages + {tune('growth', 0.05, 0.5)} * sqrt(page.count)"


def capped(tune: Tune, _s: str) -> str:
    """Take less of short sequences."""
    return f"minimum(self.pages, {tune('most', 0.05, 0.5)} * page.count + 1.0)"


def falling(tune: Tune, _s: str) -> str:
    """Fall from layer to layer (PyramidKV, arXiv:2406.02069)."""
    return f"self.pages * ({tune('start', 1.25, 2.0)} - layer.index / layer.count)"


def early(tune: Tune, _s: str) -> str:
    """Give the first layers twice as many."""
    return f"where(layer.index < {tune('early', 1, 4)}, 2 * self.pages, self.pages)"


def uneven(tune: Tune, _s: str) -> str:
    """Give every other head more, by turns of the layers."""
    return f"where((kv_head.index + layer.index) % 2 != 0, self.pages + {tune('extra', 1, 4)}, self.pages)"


BUDGETS: tuple[tuple[Callable[[Tune, str], str], str, float], ...] = (
    (growing, "budget grows with length", 4),
    (rooted, "budget grows with the root of the length", 1),
    (capped, "less of short sequences", 1),
    (falling, "budget falls from layer to layer", 2),
    (early, "more in early layers", 1),
    (uneven, "more in every other head", 1),
)


def budget(rng: random.Random, tune: Tune, s: str) -> tuple[str, str]:
    """Draw a number of pages that is an expression; give it and what it says."""
    make, words, _ = rng.choices(BUDGETS, [weight for *_, weight in BUDGETS])[0]
    return make(tune, s), words


def nucleus(_rng: random.Random, tune: Tune, s: str) -> str:
    """Take pages until their mass is reached (Twilight, arXiv:2502.02770)."""
    return f"topp({s}, {tune('mass', 0.5, 0.99)}, limit=2 * self.pages)"


def near_best(_rng: random.Random, tune: Tune, s: str) -> str:
    """Take pages that come near the best one."""
    return f'above({s}, {s}.max("page") - {tune("margin", 0.5, 6.0)}, limit=2 * self.pages)'


def perplexed(_rng: random.Random, _tune: Tune, s: str) -> str:
    """Take as many pages as share the mass, by its entropy."""
    return f'refine(topk({s}, 2 * self.pages), {s}, exp(-{ENTROPY.format(s=s)}.sum("page")))'


def outstanding(_rng: random.Random, tune: Tune, s: str) -> str:
    """Take pages some deviations above the mean."""
    return (
        f'above({s}, {s}.mean("page") + {tune("deviations", 0.5, 3.0)} * sqrt({s}.var("page")), limit=2 * self.pages)'
    )


def with_strides(_rng: random.Random, tune: Tune, s: str) -> str:
    """Take every n-th page beside the best."""
    regular = f"where(page.index % {tune('stride', 8, 64)} == 0, 1.0, 0.0)"
    return f"union(topk({s}, self.pages), above({regular}, 0.5, limit=self.pages))"


def with_newest(_rng: random.Random, tune: Tune, s: str) -> str:
    """Take some of the newest pages beside the best."""
    return f"union(topk({s}, self.pages), topk(page.index, {tune('newest', 1, 4)}))"


SELECTIONS: tuple[tuple[Callable[[random.Random, Tune, str], str], str, float], ...] = (
    (nucleus, "until the mass is reached", 5),
    (near_best, "pages near the best", 2.5),
    (perplexed, "as many as share the mass", 1.5),
    (outstanding, "pages above the mean", 1.5),
    (with_strides, "and every n-th page", 2),
    (with_newest, "and the newest pages", 1.5),
)


def selection(rng: random.Random, tune: Tune, s: str) -> tuple[str, str]:
    """Draw a selection other than topk by the score called `s`; give it and what it says."""
    make, words, _ = rng.choices(SELECTIONS, [weight for *_, weight in SELECTIONS])[0]
    return make(rng, tune, s), words
