"""What a language model is asked at a step: which operator, about which programs, in which words."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompts import prompt
from search.agents.breed import baked
from search.agents.drawing.draft import field_bytes_limit
from search.agents.shown import failures, language, leaderboard, measured
from search.agents.tuning.skeleton import skeleton_of
from search.parents import breeder
from vortex_dsl import zoo

if TYPE_CHECKING:
    from search.records import Context, Record

EXPLORE, MUTATE, CROSS, TUNE, SIMPLIFY = "explore", "mutate", "cross", "tune", "simplify"
# How often each is asked for, as shares of the steps.
WAYS = {EXPLORE: 0.3, MUTATE: 0.35, CROSS: 0.15, TUNE: 0.1, SIMPLIFY: 0.1}


@dataclass(frozen=True)
class Asked:
    """A question: its operator, its words, the programs that it is about, and the one that edits would change ("")."""

    operator: str
    question: str
    parents: tuple[Record, ...] = ()
    shown: str = ""

    @property
    def digests(self) -> tuple[str, ...]:
        """Give the parents' digests."""
        return tuple(parent.candidate.program_digest for parent in self.parents)


def ask(context: Context, name: str) -> Asked:
    """Decide what to ask: a pure function of the context and of the proposer's name.

    Where an operator has not what it needs, the next simpler one is asked for: without a second parent or a number to
    tune the first parent is changed, without any another idea is asked for.
    """
    rng = random.Random(f"{context.seed} {context.step} {name}")
    (way,) = rng.choices(list(WAYS), list(WAYS.values()))
    parent = None if way == EXPLORE else breeder(context, rng)
    if parent is None:
        return Asked(EXPLORE, prompt(EXPLORE, **_facts(context, name)))
    if way == CROSS:
        other = breeder(context, rng, is_mate=True)
        if other is not None and other.candidate.program_digest != parent.candidate.program_digest:
            return _cross(context, parent, other)
    if way == TUNE and (numbers := _numbers(parent)):
        return _of_one(TUNE, context, parent, numbers=numbers)
    if way == SIMPLIFY:
        return _of_one(SIMPLIFY, context, parent)
    return _of_one(MUTATE, context, parent, **_facts(context, name))


def _of_one(operator: str, context: Context, parent: Record, **facts: str) -> Asked:
    text = _text(parent, context)
    question = prompt(operator, parent_measured=measured(parent), parent=text, **facts)
    edits = "" if operator == TUNE else f"\n{prompt('edits')}"
    return Asked(operator, question + edits, (parent,), text)


def _cross(context: Context, parent: Record, other: Record) -> Asked:
    text = _text(parent, context)
    question = prompt(
        CROSS,
        parent_measured=measured(parent),
        parent=text,
        other_measured=measured(other),
        other=_text(other, context),
    )
    return Asked(CROSS, question, (parent, other))


def _facts(context: Context, name: str) -> dict[str, str]:
    return {"leaders": leaderboard(context), "failures": failures(context.records, name)}


def _text(record: Record, context: Context) -> str:
    return baked(record, context.head_dim).text().strip()


def _numbers(record: Record) -> str:
    """List the tunables of a program beside its budget, with their ranges and its values."""
    skeleton = skeleton_of(record.candidate.proposal.text, record.candidate.proposal.values)
    values = dict(skeleton.values)
    return "\n".join(f"* `{name} = {tunable}`, now {values[name]}" for name, tunable in skeleton.tunables)


def system(context: Context) -> str:
    """Write the instructions: aim, limits, language, form of the answer."""
    return prompt(
        "system",
        num_tokens=str(context.num_tokens),
        head_dim=str(context.head_dim),
        group=str(context.group),
        field_bytes=str(field_bytes_limit(context.head_dim)),
        example=_example(),
        language=language(),
    )


def _example() -> str:
    """Give a program as seeds are: sparse in every layer."""
    first, rest = zoo.text("quest").strip().split("\n\n    def ", 1)
    return f"{first}\n    dense_layers = Int(0, 0, 8)\n\n    def {rest}"
