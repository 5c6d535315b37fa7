"""Programs without what they do not need: parts that mean nothing, and parts that change nothing of what is chosen."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.agents.changing.edits import SELECTIONS, kind, method_name, operands, replace
from search.agents.changing.parts import expressions_of
from search.agents.changing.source import Source, assigned
from vortex_dsl import ProgramError, load_program, trace
from vortex_dsl.tunables import BUDGET, PLATFORM_TUNABLES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Generator, Iterator

    from vortex_dsl import Shape
    from vortex_dsl.frontend.program import Program

MAX_TRIES = 300  # parts that are left out for a try
SETTINGS = ("sink", "window", "share_layers", "refresh_steps")  # those whose default is a choice of the program


@dataclass(frozen=True)
class Shorter:
    """A program without some parts of another, which `without` names in words."""

    source: Source
    without: tuple[str, ...]


def shorter(source: Source, shape: Shape) -> Generator[Shorter, bool, None]:
    """Leave out one part after the other, the larger first: give each program, and be sent whether to go on from it.

    What has the same digest goes on unasked. No program is given twice, and none that does not trace; at most MAX_TRIES
    parts are tried.
    """
    found, digest = Shorter(source, ()), _digest(source.text(), shape)
    known, at = {digest, None}, 0
    for _ in range(MAX_TRIES):
        if at >= len(removals(found.source)):
            return
        tried = _without(found, at)
        other = _digest(tried.source.text(), shape)
        goes_on = other == digest
        if other not in known:
            known.add(other)
            goes_on = yield tried
        if goes_on:
            found, digest = tried, other
        else:
            at += 1


def simplify(source: Source, rng: random.Random) -> str | None:
    """Leave out one part of a program: a term, a factor, a map, a second stage, a kind of storage or a setting."""
    found = removals(source)
    if not found:
        return None
    words = rng.choice(found)()
    tidy(source)
    return words


def removals(source: Source) -> list[Callable[[], str]]:
    """Give what can be left out of a program, larger parts first; each changes the program in place and says so."""
    return [
        *_of_selections(source),
        *_of_settings(source),
        *_of_parts(source, "select"),
        *_of_parts(source, "summarize"),
    ]


def _without(found: Shorter, at: int) -> Shorter:
    """Copy a program and leave one part out of the copy."""
    other = Source(copy.deepcopy(found.source.tree), found.source.head_dim)
    words = removals(other)[at]()
    tidy(other)
    return Shorter(other, (*found.without, words))


def _of_parts(source: Source, name: str) -> Iterator[Callable[[], str]]:
    """Put an operand in place of an operation that has the same axes, or store a field in the usual kind."""
    function, parts = source.method(name), expressions_of(source, name)
    axes = {id(part.node): part.axes for part in parts}
    for part in parts:
        for operand in operands(part.node):
            if function is not None and axes.get(id(operand)) == part.axes:
                yield _replacing(function, part.node, operand)


def _of_selections(source: Source) -> Iterator[Callable[[], str]]:
    """Choose by one of two selections, by the first of two stages, or remember nothing."""
    select = source.method("select")
    for node in ast.walk(select) if select is not None else ():
        if not isinstance(node, ast.Call):
            continue
        if kind(node) in SELECTIONS:
            for operand in node.args:
                if isinstance(operand, ast.Call) and kind(operand) in SELECTIONS:
                    yield _replacing(select, node, operand)  # type: ignore[arg-type]
        elif method_name(node) == "remember" and isinstance(node.func, ast.Attribute):
            yield _replacing(select, node, node.func.value)  # type: ignore[arg-type]


def _of_settings(source: Source) -> Iterator[Callable[[], str]]:
    fitted = budgets(source)
    for name in [name for name in source.tunables if name in SETTINGS and name not in fitted]:
        yield lambda name=name: _as_usual(source, name)  # type: ignore[misc]


def _as_usual(source: Source, name: str) -> str:
    source.undeclare({name})
    return f"{name} as usual"


def _replacing(function: ast.FunctionDef, old: ast.expr, new: ast.expr) -> Callable[[], str]:
    def remove() -> str:
        before, after = ast.unparse(old), ast.unparse(new)
        kept = copy.deepcopy(new)
        replace(function, lambda node: node is old, lambda _: kept)
        return f"{after} in place of {before}"

    return remove


def tidy(source: Source) -> None:
    """Leave out what nothing reads: local names, fields, states, tunables and constants. The meaning stays."""
    before = -1
    while before != (before := _size(source)):
        for function in (node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef)):
            _drop_locals(function)
        _drop_fields(source)
        _drop_states(source)
        _drop_tunables(source)
        _drop_constants(source)


def _size(source: Source) -> int:
    return sum(1 for _ in ast.walk(source.tree))


def _drop_locals(function: ast.FunctionDef) -> None:
    read = _names_read(function)
    function.body = [node for node in function.body if not assigned(node) or assigned(node) in read]


def _names_read(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def _drop_fields(source: Source) -> None:
    fields, read = source.fields, _attributes(source.tree)
    if fields is None or len(source.field_names) != len(fields.keys):
        return
    kept = [(key, value) for key, value, name in zip(fields.keys, fields.values, source.field_names, strict=True)
            if name in read]  # fmt: skip
    fields.keys, fields.values = [key for key, _ in kept], [value for _, value in kept]
    if not kept:
        source.program.body.remove(source.method("summarize"))  # type: ignore[arg-type]


def _drop_states(source: Source) -> None:
    unread = set(source.states) - _attributes(source.tree)
    for call in [node for node in ast.walk(source.tree) if method_name(node) == "remember"]:
        assert isinstance(call, ast.Call)
        call.keywords = [keyword for keyword in call.keywords if keyword.arg not in unread]
    _Forgetful().visit(source.tree)
    source.undeclare(unread)


class _Forgetful(ast.NodeTransformer):
    """Takes away a `remember` of nothing."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        empty = method_name(node) == "remember" and not node.keywords
        return node.func.value if empty and isinstance(node.func, ast.Attribute) else node


def _drop_tunables(source: Source) -> None:
    read = _attributes(source.tree) | budgets(source) | set(PLATFORM_TUNABLES)
    source.undeclare(set(source.tunables) - read)


def budgets(source: Source) -> set[str]:
    """Give the tunables that may be the budget, which is fitted to a cost ratio."""
    declared = {name for name, call in source.tunables.items() if any(key.arg == "budget" for key in call.keywords)}
    return declared or {BUDGET}


def _drop_constants(source: Source) -> None:
    read = _names_read(source.tree)
    unread = {id(node) for node in source.constants if assigned(node) not in read}
    source.tree.body = [node for node in source.tree.body if id(node) not in unread]


def _digest(text: str, shape: Shape) -> tuple[str, ...] | None:
    """Give the digests of a program as written and with its budget at either end, as budgets are fitted afterwards.

    None where it does not trace as written; an end at which it does not has none.
    """
    try:
        program = load_program(text)
        found = trace(program, shape).digest
    except ProgramError:
        return None
    return found, *(_digest_at(program, end, shape) for end in ("low", "high"))


def _digest_at(program: Program, end: str, shape: Shape) -> str:
    name = program.budget
    value = getattr(program.tunables[name], end, None) if name else None
    if name is None or value is None:
        return ""
    try:
        return trace(program.with_values(**{name: value}), shape).digest
    except ProgramError:
        return ""
