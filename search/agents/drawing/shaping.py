"""From a score with the axes page and head to one with the axis page: over heads, then along pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    Tune = Callable[[str, float, float], str]

# How the query heads of a group agree on one score: text with {x}, what it says, how likely.
OVER_HEADS: tuple[tuple[str, str, float], ...] = (
    ('{x}.max("head")', "best head", 8),
    ('{x}.logsumexp("head")', "mass over heads", 6),
    ('{x}.mean("head")', "mean over heads", 6),
    ('{x}.softmax("page").max("head")', "largest share of a head", 4),
    ('{x}.softmax("page").sum("head")', "shares of all heads", 3),
    ('{x}.min("head")', "consensus of heads", 0.7),
    ('where({x}.top("head", 2), {x}, 0.0).sum("head")', "two best heads", 0.7),
    ('({x}.mean("head") + sqrt({x}.var("head")))', "mean over heads plus their deviation", 0.6),
    ('relu({x}).norm("head")', "norm over heads", 0.6),
    ('(relu({x}) + 0.001).normalize("page").max("head")', "largest linear share of a head", 0.6),
    ('sigmoid({x}).mean("head")', "heads that say yes", 0.6),
    ('silu({x}).sum("head")', "gated sum of heads", 0.4),
    ('(sign({x}) * sqrt(abs({x}))).mean("head")', "roots over heads", 0.4),
    ('square(relu({x})).sum("head")', "squares of heads", 0.4),
)


def over_heads(rng: random.Random, name: str) -> tuple[str, str]:
    """Draw a reduction over the query heads of the value called `name`; give it and what it says."""
    way, words, _ = rng.choices(OVER_HEADS, [weight for *_, weight in OVER_HEADS])[0]
    return way.format(x=name), words


def smoothed(rng: random.Random, _tune: Tune, s: str) -> str:
    """Let neighbours count."""
    side = rng.choice((0.125, 0.25, 0.5))
    weights = rng.choice(([side, 1.0, side], [side, 1.0, 0.0], [side / 2, side, 1.0, side, side / 2]))
    return f'{s}.smooth("page", {weights})'


def recent(_rng: random.Random, tune: Tune, s: str) -> str:
    """Let recent pages count more, in step with their age."""
    return f"{s} + {tune('recency', 0.0, 0.5)} * page.index / page.count"


def fading(_rng: random.Random, tune: Tune, s: str) -> str:
    """Let the newest pages count much more."""
    return f"{s} + {tune('recency', 0.0, 0.5)} * exp((page.index - page.count) / {tune('horizon', 4, 32)})"


def aging(_rng: random.Random, tune: Tune, s: str) -> str:
    """Let pages count less by a power of their age."""
    return f"{s} + {tune('recency', 0.0, 1.0)} * (page.count - page.index) ** -0.5"


def following(rng: random.Random, tune: Tune, s: str) -> str:
    """Let a page count that follows, or comes before, a good one."""
    return f'maximum({s}, {tune("follow", 0.5, 1.0)} * {s}.shift("page", {rng.choice((-1, 1, 1))}))'


def novel(_rng: random.Random, tune: Tune, s: str) -> str:
    """Take off a share of what the pages before scored on average."""
    return f'{s} - {tune("novelty", 0.05, 0.5)} * {s}.cumsum("page") / (page.index + 1.0)'


def standard(_rng: random.Random, tune: Tune, s: str) -> str:
    """Measure in standard deviations, and prefer recent pages a little."""
    deviations = f'({s} - {s}.mean("page")) / sqrt({s}.var("page") + 0.0001)'
    return f"{deviations} + {tune('recency', 0.0, 1.0)} * tanh(page.index / page.count)"


def strided(rng: random.Random, tune: Tune, s: str) -> str:
    """Prefer every n-th page, by turns of the layers."""
    turn = rng.choice(("page.index", "(page.index + layer.index)", "(page.index + kv_head.index)"))
    regular = f"{turn} % {tune('stride', 4, 16)} == 0"
    return f'where({regular}, {s} + {tune("bonus", 0.05, 0.5)} * abs({s}).max("page"), {s})'


def jittered(rng: random.Random, tune: Tune, s: str) -> str:
    """Add a little chance, another in every layer."""
    place = rng.choice(("page.index", "page.index + 4096 * layer.index"))
    return f'{s} + {tune("jitter", 0.01, 0.3)} * abs({s}).mean("page") * hash({place}, {rng.randint(1, 99)})'


def faded_middle(rng: random.Random, tune: Tune, s: str) -> str:
    """Let candidates in the middle, or in the older half, count less."""
    middle = rng.choice(
        (
            "(page.index >= 0.25 * page.count) & (page.index < 0.75 * page.count)",
            "(page.index <= 0.5 * page.count) & ~page.reserved",
            "~((page.index > 0.5 * page.count) | page.reserved)",
        )
    )
    return f'where({middle}, {s} - {tune("fade", 0.05, 0.5)} * abs({s}).mean("page"), {s})'


def floored(_rng: random.Random, tune: Tune, s: str) -> str:
    """Call pages far below the best one equal, so that the oldest of them come first."""
    return f'clip({s} - {s}.max("page"), -{tune("depth", 1.0, 8.0)}, 0.0)'


def stepped(_rng: random.Random, tune: Tune, s: str) -> str:
    """Count in steps, so that the oldest of equal pages come first."""
    return f"floor({s} / {tune('step', 0.05, 0.5)})"


ALONG_PAGES: tuple[tuple[Callable[[random.Random, Tune, str], str], str, float], ...] = (
    (smoothed, "smoothed along pages", 5),
    (recent, "recent pages first", 4),
    (fading, "newest pages first", 2),
    (aging, "pages fade with age", 1),
    (following, "pages beside good ones", 2),
    (novel, "less than the average before", 1),
    (standard, "in standard deviations", 1),
    (strided, "every n-th page preferred", 1.5),
    (jittered, "with some chance", 1),
    (faded_middle, "the middle counts less", 1.5),
    (floored, "far pages are equal", 0.7),
    (stepped, "in steps", 0.5),
)


def along_pages(rng: random.Random, tune: Tune, name: str) -> tuple[str, str]:
    """Draw a change of the score called `name` along pages; give it and what it says."""
    change, words, _ = rng.choices(ALONG_PAGES, [weight for *_, weight in ALONG_PAGES])[0]
    return change(rng, tune, name), words
