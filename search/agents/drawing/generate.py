"""Random programs from a typed grammar: summaries of a page, scores over them, and selections. Pure text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.agents.drawing.budgets import FIXED, budget, selection
from search.agents.drawing.draft import NUMBERS, Draft, field_bytes_limit, imports
from search.agents.drawing.estimates import estimate
from search.agents.drawing.shaping import along_pages, over_heads
from search.agents.drawing.states import remembering

if TYPE_CHECKING:
    import random

REDRAWS = 20  # when the fields are too large for the engine, or for the cost ratio
PAGES = (2, 3, 4, 4, 4, 4, 6, 8)
SUB_PAGES = (0, 0, 2, 4, 4, 8)
RAW = 0.02  # share of draws that read raw keys in a second stage
PLAIN = 0.006  # share of draws without a score
MEMORY = 0.05  # share of draws with State
REUSE = 0.05  # share of draws that use a choice again, in other layers or steps


def generate(rng: random.Random, head_dim: int, name_suffix: int, most_bytes: int = 0) -> str:
    """Draw a program's text. Nearly every draw loads, and traces at any group size with this `head_dim`.

    most_bytes: of fields that are read of every page, those that a hosting engine has room for unless it is told. At a
    cost ratio of 32 nine in ten draws would have no budget otherwise, and all of them be traced to tell.
    """
    most_bytes = most_bytes or field_bytes_limit(head_dim)
    draft = _drawn(rng, head_dim, most_bytes)
    for _ in range(REDRAWS):
        if draft.num_bytes <= draft.most_bytes:
            break
        draft = _drawn(rng, head_dim, most_bytes)
    return _text(draft, name_suffix)


def _drawn(rng: random.Random, head_dim: int, most_bytes: int) -> Draft:
    draft = Draft(rng, head_dim, most_bytes)
    draft.tunables["pages"] = f"Int({rng.choice(PAGES)}, low=1, high=1024, log=True)"
    draft.tunables["dense_layers"] = "Int(0, 0, 8)"  # as the seeds: a dense layer would hide the rule
    _platform(draft)
    result = _reserved(draft) if rng.random() < PLAIN else _scored(draft)
    if draft.updates:
        result += f".remember({', '.join(f'{name}={value}' for name, value in draft.updates.items())})"
    draft.select.append(f"return {result}")
    return draft


def _platform(draft: Draft) -> None:
    """Draw reserved pages and the use of a choice again, sometimes."""
    rng = draft.rng
    if rng.random() < 0.1:
        draft.tunables["window"] = f"Int({rng.choice((1, 3, 4))}, 1, 64)"
    if rng.random() < 0.05:
        draft.tunables["sink"] = f"Int({rng.choice((0, 2))}, 0, 16)"
    if rng.random() < REUSE:
        name, options, high = rng.choice((("share_layers", (2, 4), 8), ("refresh_steps", (2, 4, 8), 16)))
        number = rng.choice(options)
        draft.tunables[name] = f"Int({number}, 1, {high})"
        draft.most_bytes = min(number * draft.most_bytes, field_bytes_limit(draft.head_dim))
        draft.details.append(f"{name} more than 1")


def _reserved(draft: Draft) -> str:
    """Attend to the first and newest pages alone, more of them (StreamingLLM, arXiv:2309.17453)."""
    del draft.tunables["pages"]
    draft.tunables["window"] = f"Int({draft.rng.choice((4, 6, 8, 12))}, 1, 64)"
    draft.kinds.append("Reserved")
    draft.ideas.append("nothing but age")
    return "reserved_only()"


def _scored(draft: Draft) -> str:
    rng = draft.rng
    if rng.random() < 0.2:
        half = max(1, draft.head_dim // 2)
        draft.channels = rng.choice(((0, half), (draft.head_dim - half, draft.head_dim)))
        draft.details.append("half of the channels")
    draft.sub = rng.choice(SUB_PAGES)
    draft.select.append(f"query = q{_taken(draft)} * self.scale")
    score = _score(draft, "score")
    if rng.random() < MEMORY:
        score = remembering(draft, score)
    return _selection(draft, score)


def _score(draft: Draft, name: str) -> str:
    """Draw a score with the axis page, kept under a name: one or two estimates, gated, over heads, along pages."""
    rng = draft.rng
    value = _mixture(draft, estimate(draft, "first"))
    if rng.random() < 0.15:
        norm = f'v.norm("dim").{rng.choice(("mean", "max"))}("token")'
        weight = draft.store("weight", norm, NUMBERS, (1, 1))
        draft.details.append("weighted by value norms")
        value = draft.let("gated", f"{value} + {draft.tune('gate', 0.1, 1.0)} * log({weight} + 0.001)")
    score, words = over_heads(rng, value)
    draft.details.append(words)
    score = draft.let(name, score)
    if rng.random() < 0.22:
        score, words = along_pages(rng, draft.tune, score)
        draft.details.append(words)
        score = draft.let(f"{name}_there", score)
    return score


def _mixture(draft: Draft, first: str) -> str:
    """Join a second estimate to the first, sometimes."""
    rng = draft.rng
    if rng.random() >= 0.3:
        return first
    second = estimate(draft, "second")
    if rng.random() < 0.6:
        return draft.let("mixed", f"{first} + {draft.tune('mix', 0.1, 1.0)} * {second}")
    return draft.let("mixed", f"{rng.choice(('maximum', 'minimum'))}({first}, {second})")


def _selection(draft: Draft, score: str) -> str:
    rng, chance = draft.rng, draft.rng.random()
    if chance < 0.1:
        return _refined(draft, score)
    if chance < 0.26:
        chosen, words = selection(rng, draft.tune, score)
        draft.details.append(words)
        return chosen
    number, words = budget(rng, draft.tune, score) if chance < 0.44 else (FIXED, "")
    draft.details += [words] if words else []
    return f"topk({score}, {number})"


def _refined(draft: Draft, score: str) -> str:
    """Choose more pages than needed by the score, and of them by a finer one."""
    rng = draft.rng
    draft.details.append("then refined")
    if draft.num_bytes <= draft.most_bytes:  # what is read of candidates alone may be more
        draft.most_bytes = field_bytes_limit(draft.head_dim)
    coarse = f"topk({score}, 4 * self.pages)"
    if rng.random() < 0.2:
        coarse, _ = selection(rng, draft.tune, score)
        coarse = coarse.replace("self.pages", "(4 * self.pages)")
    if rng.random() < 10 * RAW:
        draft.details.append("by the keys themselves")
        way = rng.choice(("max", "logsumexp"))
        finer = draft.let("finer", f'dot(q * self.scale, page.k, "dim").{way}("token", "head")')
    elif rng.random() < 0.05:
        return f"refine(every_page(), {_score(draft, 'finer')} + {score}, {FIXED})"
    else:
        finer = _score(draft, "finer")
    return f"refine({coarse}, {finer}, {FIXED})"


def _text(draft: Draft, name_suffix: int) -> str:
    """Write the program down."""
    body = "\n".join((*_summarize(draft), "def_select", *_select(draft)))
    body = body.replace("def_select", "") if draft.fields else body.replace("def_select\n", "")
    name = "".join(dict.fromkeys(draft.kinds)) + str(name_suffix)
    ideas, details = (list(dict.fromkeys(words)) for words in (draft.ideas, draft.details))
    doc = f"Rank pages by {' and '.join(ideas)}."
    doc += f"\n\n    {', '.join(details).capitalize()}.\n    " if details else ""
    declared = {**draft.tunables, **draft.states}
    lines = "\n".join(f"    {key} = {value}" for key, value in declared.items())
    text = f'class {name}(Program):\n    """{doc}"""\n\n{lines}\n\n{body}\n'
    return f"{imports(text)}\n\n\n{text}"


def _summarize(draft: Draft) -> list[str]:
    """Write summarize, with the lines that its fields need."""
    if not draft.fields:
        return []
    fields = [f'            "{name}": {value},' for name, value in draft.fields.items()]
    lines = ["    def summarize(self, k, v):"]
    values = " ".join(draft.fields.values())
    split = any("parts" in value for value in draft.fields.values())
    if draft.channels and (split or "keys" in values):
        lines.append(f"        keys = k{_taken(draft)}")
    if split:
        lines.append(f'        parts = {draft.tokens}.split("token", sub={draft.sub})')
    return [*lines, "        return {", *fields, "        }"]


def _select(draft: Draft) -> list[str]:
    return ["    def select(self, q, page):", *(f"        {line}" for line in draft.select)]


def _taken(draft: Draft) -> str:
    return f'.take("dim", slice({draft.channels[0]}, {draft.channels[1]}))' if draft.channels else ""
