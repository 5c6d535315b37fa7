"""Random programs from a typed grammar: summaries of a page, scores over them, and selections. Pure text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from search.agents.source import imports

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

STORAGE = ("", "", "", "int8", "int8", "int4", "int4", "int4", "fp8_e4m3")
PAGES = (2, 3, 4, 4, 4, 4, 6, 8)
SUB_PAGES = (0, 0, 2, 4, 4, 8)
PAGE_SIZE = 16  # of the engine that hosts the programs; another one costs a fresh engine


@dataclass
class Draft:
    """A program on its way: what has been drawn so far. `sub` is the number of sub-pages, 0 for whole pages."""

    rng: random.Random
    head_dim: int
    sub: int = 0
    channels: tuple[int, int] | None = None
    fields: dict[str, str] = field(default_factory=dict)
    tunables: dict[str, str] = field(default_factory=dict)
    select: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    ideas: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    @property
    def keys(self) -> str:
        """The keys that a summary is made of: [token, dim], with sub-pages [sub, token, dim]."""
        return "parts" if self.sub else self.tokens

    @property
    def tokens(self) -> str:
        """The keys without sub-pages: [token, dim]."""
        return "keys" if self.channels else "k"

    def store(self, name: str, value: str, storage: Sequence[str] = STORAGE) -> str:
        """Add a field of a name not used yet, stored in a kind drawn from `storage`; give how select reads it."""
        while name in self.fields:
            name = f"{name}_b"
        kind = self.rng.choice(storage)
        self.fields[name] = value + (f'.to("{kind}")' if kind else "")
        if kind:
            self.details.append(f"{name} in {kind}")
        return f"page.{name}"

    def tune(self, name: str, low: float, high: float) -> str:
        """Add a tunable of a name not used yet with a random default; give how the program reads it."""
        while name in self.tunables:
            name = f"{name}_b"
        self.tunables[name] = f"Float({self.rng.uniform(low, high):.2f}, low={low}, high={high})"
        return f"self.{name}"

    def inner(self, score: str, axis: str) -> str:
        """Reduce a score over the sub-pages or tokens of a page: the best one, or the mass of all."""
        what = "sub-page" if axis == "sub" else axis
        if self.rng.random() < 0.65:
            self.details.append(f"best {what}")
            return f'{score}.max("{axis}")'
        self.details.append(f"mass over {what}s")
        return f'{score}.logsumexp("{axis}")'

    def paged(self, score: str) -> str:
        """Reduce a score over sub-pages if there are any."""
        return self.inner(f"({score})", "sub") if self.sub else score


def center(draft: Draft) -> str:
    """Score by the mean key."""
    mean = draft.store("center", f'{draft.keys}.mean("token")')
    return draft.paged(f'dot(query, {mean}, "dim")')


def envelope(draft: Draft) -> str:
    """Bound by the per-channel largest and smallest key (Quest)."""
    hi = draft.store("hi", f'{draft.keys}.max("token")')
    lo = draft.store("lo", f'{draft.keys}.min("token")')
    return draft.paged(f'maximum(query * {hi}, query * {lo}).sum("dim")')


def softened(draft: Draft) -> str:
    """Add to the middle of the envelope a share of its half width, instead of all of it."""
    keys = draft.keys
    middle = draft.store("middle", f'(0.5 * ({keys}.max("token") + {keys}.min("token")))')
    half = draft.store("half", f'(0.5 * ({keys}.max("token") - {keys}.min("token")))', (*STORAGE, "int4", "int4"))
    slack = draft.tune("slack", 0.1, 1.0)
    return draft.paged(f'dot(query, {middle}, "dim") + {slack} * dot(abs(query), {half}, "dim")')


def deviation(draft: Draft) -> str:
    """Add to the mean key some standard deviations in the query's direction."""
    keys = draft.keys
    mean = draft.store("center", f'{keys}.mean("token")')
    spread = draft.store("spread", f'sqrt({keys}.var("token"))')
    slack = draft.tune("slack", 0.1, 2.0)
    return draft.paged(f'dot(query, {mean}, "dim") + {slack} * dot(abs(query), {spread}, "dim")')


def gaussian(draft: Draft) -> str:
    """Estimate the attention mass to second order from mean and variance."""
    mean = draft.store("center", f'{draft.keys}.mean("token")')
    variance = draft.store("variance", f'{draft.keys}.var("token")')
    slack = draft.tune("order", 0.1, 1.5)
    return draft.paged(f'dot(query, {mean}, "dim") + {slack} * dot(square(query), {variance}, "dim")')


def ball(draft: Draft) -> str:
    """Bound by a ball around the keys, softened."""
    keys = draft.keys
    mean = draft.store("center", f'{keys}.mean("token")')
    radius = draft.store("radius", f'({keys} - {keys}.mean("token")).norm("dim").max("token")', ("",))
    slack = draft.tune("slack", 0.1, 1.0)
    return draft.paged(f'dot(query, {mean}, "dim") + {slack} * query.norm("dim") * {radius}')


def every_token(draft: Draft) -> str:
    """Keep every key, coarsely: four bits a channel."""
    kept = draft.store("tokens", draft.tokens, ("int4",))
    return draft.inner(f'dot(query, {kept}, "dim")', "token")


def signs(draft: Draft) -> str:
    """Keep the signs of every key, and how large it is on average."""
    kept = draft.store("signs", draft.tokens, ("sign",))
    size = draft.store("size", f'abs({draft.tokens}).mean("dim")', ("",))
    return draft.inner(f'(dot(query, {kept}, "dim") * {size})', "token")


def signed_residual(draft: Draft) -> str:
    """Keep the mean key, and of every token the signs of what is left and its mean size."""
    tokens = draft.tokens
    mean = draft.store("center", f'{tokens}.mean("token")')
    rest = f'{tokens} - {tokens}.mean("token")'
    kept = draft.store("residual", f"({rest})", ("sign",))
    size = draft.store("size", f'abs({rest}).mean("dim")', ("",))
    residual = f'(dot(query, {mean}, "dim") + dot(query, {kept}, "dim") * {size})'
    return draft.inner(residual, "token")


def salient(draft: Draft) -> str:
    """Keep the few keys of largest norm beside the mean."""
    tokens = draft.tokens
    number = draft.rng.choice((1, 2, 4))
    far = f'({tokens} - {tokens}.mean("token")).norm("dim").top("token", {number})'
    kept = draft.store("salient", f'where({far}, {tokens}, 0.0).sum("token")')
    mean = draft.store("center", f'{tokens}.mean("token")')
    return f'maximum(dot(query, {kept}, "dim"), dot(query, {mean}, "dim"))'


SCORES: tuple[tuple[Callable[[Draft], str], str, int], ...] = (
    (center, "mean key", 3),
    (envelope, "envelope bound", 3),
    (softened, "softened envelope", 4),
    (deviation, "mean key plus deviations", 3),
    (gaussian, "second-order mass", 2),
    (ball, "softened ball bound", 1),
    (every_token, "every key in four bits", 2),
    (signs, "signs of every key", 3),
    (signed_residual, "mean key and signs of the rest", 3),
    (salient, "mean key and outlying keys", 1),
)


def generate(rng: random.Random, head_dim: int, name_suffix: int) -> str:
    """Draw a program's text. Nearly every draw loads, and traces at any group size with this `head_dim`."""
    draft = Draft(rng, head_dim)
    if rng.random() < 0.2:
        draft.channels = rng.choice(((0, head_dim // 2), (head_dim // 2, head_dim)))
        draft.details.append("half of the channels")
    draft.tunables["pages"] = f"Int({rng.choice(PAGES)}, low=1, high=1024, log=True)"
    draft.tunables["dense_layers"] = "Int(0, 0, 8)"  # as the seeds: a dense layer would hide the rule
    coarse = _score(draft, "score")
    result = _selection(draft, coarse)
    draft.select.append(f"return {result}")
    return _text(draft, name_suffix)


def _score(draft: Draft, name: str) -> str:
    """Draw a score with the axis page: one or two estimates, gated, over heads, along pages."""
    rng = draft.rng
    value = _estimate(draft, "first")
    if rng.random() < 0.3:
        value = _mixture(draft, value)
    if rng.random() < 0.15:
        weight = draft.store("weight", f'v.norm("dim").{rng.choice(("mean", "max"))}("token")', ("",))
        draft.details.append("weighted by value norms")
        value = f"{value} + {draft.tune('gate', 0.1, 1.0)} * log({weight} + 0.001)"
    draft.select.append(f"{name} = {_over_heads(draft, value)}")
    return _along_pages(draft, name)


def _estimate(draft: Draft, name: str) -> str:
    """Draw a score with the axes page and head, kept under a name."""
    rng = draft.rng
    draft.sub = draft.sub or rng.choice(SUB_PAGES)
    score, words, _ = rng.choices(SCORES, [weight for *_, weight in SCORES])[0]
    draft.kinds.append(score.__name__.title().replace("_", ""))
    draft.ideas.append(words)
    draft.select.append(f"{name} = {score(draft)}")
    return name


def _mixture(draft: Draft, first: str) -> str:
    second = _estimate(draft, "second")
    if draft.rng.random() < 0.6:
        return f"{first} + {draft.tune('mix', 0.1, 1.0)} * {second}"
    return f"{draft.rng.choice(('maximum', 'minimum'))}({first}, {second})"


def _over_heads(draft: Draft, value: str) -> str:
    """Reduce over the query heads of the group."""
    ways = (
        ('.max("head")', "best head", 8),
        ('.logsumexp("head")', "mass over heads", 6),
        ('.mean("head")', "mean over heads", 2),
        ('.softmax("page").max("head")', "largest share of a head", 4),
        ('.softmax("page").sum("head")', "shares of all heads", 3),
    )
    way, words, _ = draft.rng.choices(ways, [weight for *_, weight in ways])[0]
    draft.details.append(words)
    return f"{value}{way}" if value.isidentifier() else f"({value}){way}"


def _along_pages(draft: Draft, score: str) -> str:
    """Let neighbours or the page's age count, sometimes."""
    chance = draft.rng.random()
    if chance < 0.08:
        draft.details.append("smoothed along pages")
        side = draft.rng.choice((0.1, 0.2, 0.3))
        return f'{score}.smooth("page", [{side}, 1.0, {side}])'
    if chance < 0.14:
        draft.details.append("recent pages first")
        return f"{score} + {draft.tune('recency', 0.0, 0.5)} * page.index / page.count"
    return score


def _selection(draft: Draft, score: str) -> str:
    chance = draft.rng.random()
    if chance < 0.72:
        return f"topk({score}, self.pages)"
    if chance < 0.8:
        draft.details.append("budget grows with length")
        return f"topk({score}, maximum(self.pages, {draft.tune('share', 0.01, 0.06)} * page.count))"
    if chance < 0.9:
        draft.details.append("until the mass is reached")
        return f"topp({score}, {draft.tune('mass', 0.5, 1.0)}, limit=2 * self.pages)"
    finer = _score(draft, "finer")
    draft.details.append("then refined")
    return f"refine(topk({score}, 4 * self.pages), {finer}, self.pages)"


def _text(draft: Draft, name_suffix: int) -> str:
    """Write the program down."""
    body = "\n".join((*_summarize(draft), "", *_select(draft)))
    name = "".join(dict.fromkeys(draft.kinds)) + str(name_suffix)
    ideas, details = (list(dict.fromkeys(words)) for words in (draft.ideas, draft.details))
    doc = f"Rank pages by {' and '.join(ideas)}.\n\n    {', '.join(details).capitalize()}.\n    "
    tunables = "\n".join(f"    {key} = {value}" for key, value in draft.tunables.items())
    text = f'class {name}(Program):\n    """{doc}"""\n\n{tunables}\n\n{body}\n'
    return f"{imports(text)}\n\n\n{text}"


def _summarize(draft: Draft) -> list[str]:
    fields = ",\n".join(f'            "{name}": {value}' for name, value in draft.fields.items())
    lines = ["    def summarize(self, k, v):"]
    if draft.channels:
        lines.append(f'        keys = k.take("dim", slice({draft.channels[0]}, {draft.channels[1]}))')
    if any("parts" in value for value in draft.fields.values()):
        lines.append(f'        parts = {draft.tokens}.split("token", sub={draft.sub})')
    return [*lines, "        return {", f"{fields},", "        }"]


def _select(draft: Draft) -> list[str]:
    taken = f'.take("dim", slice({draft.channels[0]}, {draft.channels[1]}))' if draft.channels else ""
    query = f"query = q{taken} * self.scale"
    return ["    def select(self, q, page):", *(f"        {line}" for line in (query, *draft.select))]
