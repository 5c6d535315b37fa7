"""What a language model is asked at a step: which operator, about which programs, in which words."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prompts import prompt
from search.agents.breed import baked
from search.agents.llm.choosing import CROSS, EXPLORE, MUTATE, SIMPLIFY, TUNE, operator_of
from search.agents.llm.tools import asking
from search.agents.shown.questions import Brief, numbers, question_of
from search.agents.shown.section import tokens_of
from search.journal.reflecting import REFLECT, predicting, reflection
from search.parents import breeder

if TYPE_CHECKING:
    from search.records import Context, Measurement, Record


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


def ask(context: Context, name: str, statistics: tuple[Measurement, ...] = ()) -> Asked:
    """Decide what to ask: a pure function of the context, the proposer's name, and what was recorded of the model.

    Where an operator has not what it needs, the next simpler one is asked for: without a second parent or a number to
    tune the first parent is changed, without any another idea is asked for.
    """
    if context.reflects and reflection(context, name):
        return Asked(REFLECT, question_of(REFLECT, Brief(context, name, statistics=statistics)))
    rng = random.Random(f"{context.seed} {context.step} {name}")
    way = operator_of(context, name, rng)
    brief = Brief(context, name, statistics=statistics)
    parent = None if way == EXPLORE else breeder(context, rng)
    if parent is None:
        return _asked(EXPLORE, brief)
    if way == CROSS:
        other = breeder(context, rng, is_mate=True)
        if other is not None and other.candidate.program_digest != parent.candidate.program_digest:
            return _asked(CROSS, replace(brief, parents=(parent, other)))
    if way == SIMPLIFY or (way == TUNE and numbers(parent)):
        return _asked(way, replace(brief, parents=(parent,)))
    return _asked(MUTATE, replace(brief, parents=(parent,)))


def _asked(operator: str, brief: Brief) -> Asked:
    """Write the question; tell how predictions are written, what may be asked, and how one program is edited."""
    is_edited = len(brief.parents) == 1 and operator != TUNE
    forms = [prompt("edits")] * is_edited + [prompt("ask", lines=asking())]
    told = "\n\n".join([predicting(brief.context, has_parent=bool(brief.parents)), *map(str.strip, forms)])
    question = question_of(operator, replace(brief, budget_tokens=brief.budget_tokens - tokens_of(told)))
    shown = baked(brief.parents[0], brief.context.head_dim).text().strip() if len(brief.parents) == 1 else ""
    return Asked(operator, f"{question}\n\n{told}", brief.parents, shown)
