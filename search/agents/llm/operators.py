"""What a language model is asked at a step: which operator, about which programs, in which words."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prompts import prompt
from search.agents.breed import baked
from search.agents.llm.tools import asking
from search.agents.shown.questions import Brief, numbers, question_of
from search.agents.shown.section import tokens_of
from search.journal.reflecting import REFLECT, predicting, reflection
from search.parents import breeder

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
    if context.reflects and reflection(context, name):
        return Asked(REFLECT, question_of(REFLECT, Brief(context, name)))
    rng = random.Random(f"{context.seed} {context.step} {name}")
    (way,) = rng.choices(list(WAYS), list(WAYS.values()))
    parent = None if way == EXPLORE else breeder(context, rng)
    if parent is None:
        return _asked(EXPLORE, Brief(context, name))
    if way == CROSS:
        other = breeder(context, rng, is_mate=True)
        if other is not None and other.candidate.program_digest != parent.candidate.program_digest:
            return _asked(CROSS, Brief(context, name, (parent, other)))
    if way == SIMPLIFY or (way == TUNE and numbers(parent)):
        return _asked(way, Brief(context, name, (parent,)))
    return _asked(MUTATE, Brief(context, name, (parent,)))


def _asked(operator: str, brief: Brief) -> Asked:
    """Write the question; tell how predictions are written, what may be asked, and how one program is edited."""
    is_edited = len(brief.parents) == 1 and operator != TUNE
    forms = [prompt("edits")] * is_edited + [prompt("ask", lines=asking())]
    told = "\n\n".join([predicting(brief.context, has_parent=bool(brief.parents)), *map(str.strip, forms)])
    question = question_of(operator, replace(brief, budget_tokens=brief.budget_tokens - tokens_of(told)))
    shown = baked(brief.parents[0], brief.context.head_dim).text().strip() if len(brief.parents) == 1 else ""
    return Asked(operator, f"{question}\n\n{told}", brief.parents, shown)
