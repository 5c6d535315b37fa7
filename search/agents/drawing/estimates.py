"""Estimates of what a page holds for a query: a summary and a score over it with the axes page and head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.agents.drawing.draft import COARSE, EDGES, NUMBERS, PAGE_SIZE, SIGNS, VECTORS, Draft

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CONSTANT_WIDTH = 128  # iterations of one loop in a program
RANK = 8


def estimate(draft: Draft, name: str) -> str:
    """Draw an estimate, kept under a name."""
    rng = draft.rng
    make, words, _ = rng.choices(ESTIMATES, [weight for *_, weight in ESTIMATES])[0]
    draft.kinds.append(make.__name__.title().replace("_", ""))
    draft.ideas.append(words)
    return draft.let(name, make(draft))


def center(draft: Draft) -> str:
    """Score by the mean key."""
    mean = draft.store("center", f'{draft.keys}.mean("token")')
    return _paged(draft, f'dot(query, {mean}, "dim")')


def envelope(draft: Draft) -> str:
    """Bound by the per-channel largest and smallest key (Quest, arXiv:2406.10774)."""
    hi = draft.store("hi", f'{draft.keys}.max("token")')
    lo = draft.store("lo", f'{draft.keys}.min("token")')
    return _paged(draft, f'maximum(query * {hi}, query * {lo}).sum("dim")')


def softened(draft: Draft) -> str:
    """Add to the middle of the envelope a share of its half width, instead of all of it."""
    keys = draft.keys
    middle = draft.store("middle", f'(0.5 * ({keys}.max("token") + {keys}.min("token")))')
    half = draft.store("half", f'(0.5 * ({keys}.max("token") - {keys}.min("token")))', EDGES)
    slack = draft.tune("slack", 0.1, 1.0)
    return _paged(draft, f'dot(query, {middle}, "dim") + {slack} * dot(abs(query), {half}, "dim")')


def deviation(draft: Draft) -> str:
    """Add to the mean key some standard deviations in the query's direction."""
    keys = draft.keys
    mean = draft.store("center", f'{keys}.mean("token")')
    spread = draft.store("spread", f'sqrt({keys}.var("token"))')
    slack = draft.tune("slack", 0.1, 2.0)
    return _paged(draft, f'dot(query, {mean}, "dim") + {slack} * dot(abs(query), {spread}, "dim")')


def gaussian(draft: Draft) -> str:
    """Estimate the attention mass to second order from mean and variance."""
    mean = draft.store("center", f'{draft.keys}.mean("token")')
    variance = draft.store("variance", f'{draft.keys}.var("token")')
    slack = draft.tune("order", 0.1, 1.5)
    return _paged(draft, f'dot(query, {mean}, "dim") + {slack} * dot(square(query), {variance}, "dim")')


def ball(draft: Draft) -> str:
    """Bound by a ball around the keys, softened."""
    keys = draft.keys
    mean = draft.store("center", f'{keys}.mean("token")')
    far = f'({keys} - {keys}.mean("token")).norm("dim").max("token")'
    radius = draft.store("radius", far, NUMBERS, (draft.num_parts, 1))
    slack = draft.tune("slack", 0.1, 1.0)
    return _paged(draft, f'dot(query, {mean}, "dim") + {slack} * query.norm("dim") * {radius}')


def every_token(draft: Draft) -> str:
    """Keep every key, coarsely: four bits a channel."""
    kept = draft.store("tokens", draft.tokens, COARSE, (PAGE_SIZE, draft.width))
    return _inner(draft, f'dot(query, {kept}, "dim")', "token")


def busy_channels(draft: Draft) -> str:
    """Compare every key in the channels where the query is largest (SparQ, arXiv:2312.04985)."""
    kept = draft.store("tokens", draft.tokens, COARSE, (PAGE_SIZE, draft.width))
    number = max(1, draft.width // draft.rng.choice((2, 4, 8)))
    busy = draft.let("busy", f'abs(query).sum("head").top("dim", {number})')
    return _inner(draft, f'dot(where({busy}, query, 0.0), {kept}, "dim")', "token")


def signs(draft: Draft) -> str:
    """Keep the signs of every key, and how large it is on average."""
    kept = draft.store("signs", draft.tokens, SIGNS, (PAGE_SIZE, draft.width))
    size = draft.store("size", f'abs({draft.tokens}).mean("dim")', NUMBERS, (PAGE_SIZE, 1))
    return _inner(draft, f'(dot(query, {kept}, "dim") * {size})', "token")


def signed_residual(draft: Draft) -> str:
    """Keep the mean key, and of every token the signs of what is left and its mean size."""
    tokens = draft.tokens
    mean = draft.store("center", f'{tokens}.mean("token")', VECTORS, (1, draft.width))
    rest = f'{tokens} - {tokens}.mean("token")'
    kept = draft.store("residual", f"({rest})", SIGNS, (PAGE_SIZE, draft.width))
    size = draft.store("size", f'abs({rest}).mean("dim")', NUMBERS, (PAGE_SIZE, 1))
    residual = f'(dot(query, {mean}, "dim") + dot(query, {kept}, "dim") * {size})'
    return _inner(draft, residual, "token")


def salient(draft: Draft) -> str:
    """Keep the few keys farthest from the mean beside it."""
    tokens = draft.tokens
    far = f'({tokens} - {tokens}.mean("token")).norm("dim").top("token", {draft.rng.choice((1, 2, 4))})'
    kept = draft.store("salient", f'where({far}, {tokens}, 0.0).sum("token")', VECTORS, (1, draft.width))
    mean = draft.store("center", f'{tokens}.mean("token")', VECTORS, (1, draft.width))
    return f'maximum(dot(query, {kept}, "dim"), dot(query, {mean}, "dim"))'


def representatives(draft: Draft) -> str:
    """Keep a few vectors of a page beside each other: its mean key, and the keys farthest from and nearest to it."""
    tokens, few = draft.tokens, draft.rng.choice((1, 2, 4))
    mean, apart = f'{tokens}.mean("token")', f'({tokens} - {tokens}.mean("token")).norm("dim")'
    far, near = (
        f'where({way}.top("token", {few}), {tokens}, 0.0).sum("token") / {few}' for way in (apart, f"(0 - {apart})")
    )
    kept = draft.store("points", f'stack({mean}, {far}, {near}, "point")', VECTORS, (3, draft.width))
    return _inner(draft, f'dot(query, {kept}, "dim")', "point")


def typical(draft: Draft) -> str:
    """Score by the mean of the keys that agree most with the others (InfLLM, arXiv:2402.04617)."""
    tokens, number = draft.tokens, draft.rng.choice((2, 4, 8))
    near = f'dot({tokens}, {tokens}.mean("token"), "dim").top("token", {number})'
    kept = draft.store("typical", f'(where({near}, {tokens}, 0.0).sum("token") / {number})', VECTORS, (1, draft.width))
    return f'dot(query, {kept}, "dim")'


def weighted(draft: Draft) -> str:
    """Score by a mean in which large keys count more."""
    share = draft.rng.choice(('softmax("token")', 'normalize("token")'))
    kept = draft.store("heavy", f'({draft.keys} * {draft.keys}.norm("dim").{share}).sum("token")')
    return _paged(draft, f'dot(query, {kept}, "dim")')


def outlying(draft: Draft) -> str:
    """Score by the mean key, and more where a key points elsewhere (ShadowKV)."""
    tokens = draft.tokens
    mean = draft.store("center", f'{tokens}.mean("token")', VECTORS, (1, draft.width))
    apart = f'({tokens} / ({tokens}.norm("dim") + 0.001))'
    alike = f'dot({apart}, {apart}.mean("token"), "dim").min("token")'
    least = draft.store("least", alike, NUMBERS, (1, 1))
    return f'dot(query, {mean}, "dim") - {draft.tune("apart", 0.1, 2.0)} * query.norm("dim") * {least}'


def varied(draft: Draft) -> str:
    """Score by the mean key, and more where the keys of a page disagree with each other."""
    tokens = draft.tokens
    mean = draft.store("center", f'{tokens}.mean("token")', VECTORS, (1, draft.width))
    pairs = f'dot({tokens}, {tokens}.rename(token="other"), "dim").min("token", "other")'
    least = draft.store("least", pairs, NUMBERS, (1, 1))
    return f'dot(query, {mean}, "dim") - {draft.tune("apart", 0.01, 0.5)} * {least}'


def with_values(draft: Draft) -> str:
    """Let the mean value count beside the mean key."""
    mean = draft.store("center", f'{draft.tokens}.mean("token")', VECTORS, (1, draft.width))
    value = draft.store("value", 'v.mean("token")', VECTORS, (1, draft.head_dim))
    share = draft.tune("value_share", 0.1, 0.5)
    return f'dot(query, {mean}, "dim") + {share} * dot(q * self.scale, {value}, "dim")'


def low_rank(draft: Draft) -> str:
    """Compare every key in a few random directions."""
    if draft.width > MAX_CONSTANT_WIDTH:
        return every_token(draft)
    rows = f"[1 - 2 * ((i * 37 + 11) * (j * 53 + 7) // 16 % 2) for j in range({draft.width})]"
    directions = f'matrix([{rows} for i in range({RANK})], "rank", "dim")'
    low = f'dot({draft.tokens}, {directions}, "dim").rename(rank="dim")'
    kept = draft.store("low", low, VECTORS, (PAGE_SIZE, RANK))
    seen = draft.let("seen", f'dot(query, {directions}, "dim").rename(rank="dim")')
    return _inner(draft, f'dot({seen}, {kept}, "dim")', "token")


def slow_channels(draft: Draft) -> str:
    """Weigh the mean key's channels: those that rotate slowly with position more than the fast ones."""
    if draft.width > MAX_CONSTANT_WIDTH:
        return center(draft)
    half, least = max(1, draft.head_dim // 2), draft.rng.choice((0.25, 0.5))
    ramp = f'vector([{least} + {1 - least} * (j % {half} + 1) / {half} for j in range({draft.width})], "dim")'
    mean = draft.store("center", f'{draft.keys}.mean("token")')
    return _paged(draft, f'dot(query * {ramp}, {mean}, "dim")')


ESTIMATES: tuple[tuple[Callable[[Draft], str], str, float], ...] = (
    (center, "mean key", 3),
    (envelope, "envelope bound", 3),
    (softened, "softened envelope", 4),
    (deviation, "mean key plus deviations", 3),
    (gaussian, "second-order mass", 2),
    (ball, "softened ball bound", 1),
    (every_token, "every key in four bits", 1.5),
    (busy_channels, "every key where the query is large", 1),
    (signs, "signs of every key", 2.5),
    (signed_residual, "mean key and signs of the rest", 3),
    (salient, "mean key and outlying keys", 1),
    (representatives, "mean, outlying and central keys", 1),
    (typical, "typical keys", 1),
    (weighted, "mean of large keys", 0.8),
    (outlying, "mean key and how far keys point apart", 0.8),
    (varied, "mean key and how much keys disagree", 0.5),
    (with_values, "mean key and mean value", 0.6),
    (low_rank, "every key in a few directions", 0.8),
    (slow_channels, "mean key in slow channels", 0.6),
)


def _inner(draft: Draft, score: str, axis: str) -> str:
    """Reduce a score over the sub-pages or tokens of a page: the best one, or the mass of all."""
    what = "sub-page" if axis == "sub" else axis
    if draft.rng.random() < 0.65:
        draft.details.append(f"best {what}")
        return f'{score}.max("{axis}")'
    draft.details.append(f"mass over {what}s")
    return f'{score}.logsumexp("{axis}")'


def _paged(draft: Draft, score: str) -> str:
    """Reduce a score over sub-pages if there are any."""
    return _inner(draft, f"({score})", "sub") if draft.sub else score
