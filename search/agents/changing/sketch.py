"""A draft beside a program that exists: names that are taken, and how what is drawn is written into the program."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from search.agents.changing.edits import expression, method, replace, returned, scored
from search.agents.drawing.draft import Draft, field_bytes_limit
from vortex_dsl.frontend.source import parsed

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from search.agents.changing.source import Source

    Change = Callable[[random.Random, Draft, str], tuple[str, str]]

_OLD = " = "  # ends a line of the sketch that only says that a name is taken


def sketch(source: Source, rng: random.Random) -> Draft:
    """Begin a draft in which the names of a program are taken, and half of the room for fields."""
    return Draft(
        rng,
        source.head_dim,
        field_bytes_limit(source.head_dim) // 2,
        fields=dict.fromkeys(source.field_names, ""),
        tunables=dict.fromkeys(source.tunables, ""),
        states=dict.fromkeys(source.states, ""),
        select=[f"{name}{_OLD}" for name in source.local_names],
    )


def kept(draft: Draft, value: ast.expr, name: str) -> str:
    """Give an expression as text: its name if it is one, else a new one."""
    text = ast.unparse(value)
    return text if text.isidentifier() else draft.let(name, text)


def rescore(source: Source, rng: random.Random, change: Change) -> str | None:
    """Change the score by which pages are chosen in the end."""
    slot = scored(source)
    if slot is None or not takes_fields(source):
        return None
    draft = sketch(source, rng)
    text, words = change(rng, draft, kept(draft, slot, "score"))
    put(source, draft, slot, text)
    return words


def noted(source: Source, name: str, value: str) -> str:
    """Give a value of summarize a name of its own, unless it is one; give the name."""
    summarize = source.method("summarize")
    assert summarize is not None
    if value.isidentifier():
        return value
    taken = {n.id for n in ast.walk(summarize) if isinstance(n, ast.Name)}
    while name in taken:
        name += "_b"
    summarize.body.insert(len(summarize.body) - 1, parsed(f"{name} = {value}").body[0])
    return name


def takes_fields(source: Source) -> bool:
    """Whether fields can be added: summarize returns one literal, or there is none yet."""
    return source.fields is not None or source.method("summarize") is None


def put(source: Source, draft: Draft, old: ast.expr, new: str) -> None:
    """Replace an expression of select, and write what the draft has drawn before the statement that it stands in."""
    select, last = source.method("select"), returned(source)
    assert select is not None
    line = next(i for i, statement in enumerate(select.body) if any(node is old for node in ast.walk(statement)))
    replace(select, lambda node: node is old, lambda _: expression(new))
    drawn = [parsed(text).body[0] for text in draft.select if not text.endswith(_OLD)]
    select.body[line:line] = drawn
    for name in [name for name in draft.fields if name not in source.field_names]:
        source.add_field(name, expression(draft.fields[name]))
    for name, text in {**draft.tunables, **draft.states}.items():
        if text:
            source.declare(name, text)
    if draft.updates and last is not None and last.value is not None:
        last.value = method(last.value, "remember")
        last.value.keywords = [ast.keyword(name, expression(text)) for name, text in draft.updates.items()]
