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
from search.agents.shown.section import BUDGET_TOKENS, PromptError, tokens_of
from search.journal.reflecting import REFLECT, predicting, reflection
from search.parents import breeder

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def ask(
    context: Context, name: str, statistics: tuple[Measurement, ...] = (), budget_tokens: int = BUDGET_TOKENS
) -> Asked:
    """Decide what to ask: a pure function of the context, the proposer's name, and what was recorded of the model.

    Where an operator has not what it needs, the next simpler one is asked for: without a second parent or a number to
    tune the first parent is changed, without any another idea is asked for; and so where their texts have no room.
    """
    brief = Brief(context, name, budget_tokens=budget_tokens, statistics=statistics)
    ways = _ways(context, name, random.Random(f"{context.seed} {context.step} {name}"))
    while True:
        operator, parents = next(ways)
        try:
            return _asked(operator, replace(brief, parents=parents))
        except PromptError:
            if operator == EXPLORE:  # which shows nobody's text
                raise


def _ways(context: Context, name: str, rng: random.Random) -> Iterator[tuple[str, tuple[Record, ...]]]:
    """Give an operator and its parents, then what needs less than it did; the last is to explore."""
    if context.reflects and reflection(context, name):
        yield REFLECT, ()
    way = operator_of(context, name, rng)
    parent = None if way == EXPLORE else breeder(context, rng)
    if parent is not None:
        other = breeder(context, rng, is_mate=True) if way == CROSS else None
        if other is not None and other.candidate.program_digest != parent.candidate.program_digest:
            yield CROSS, (parent, other)
        if way == SIMPLIFY or (way == TUNE and numbers(parent)):
            yield way, (parent,)
        yield MUTATE, (parent,)
    yield EXPLORE, ()


def _asked(operator: str, brief: Brief) -> Asked:
    """Write the question; tell how predictions are written, what may be asked, and how one program is edited."""
    is_edited = len(brief.parents) == 1 and operator != TUNE
    forms = [prompt("edits")] * is_edited + [prompt("ask", lines=asking())]
    # What asks to reflect tells of predictions itself, before the program that follows.
    predicted = [] if operator == REFLECT else [predicting(brief.context, has_parent=bool(brief.parents))]
    told = "\n\n".join([*predicted, *map(str.strip, forms)])
    question = question_of(operator, replace(brief, budget_tokens=brief.budget_tokens - tokens_of(told)))
    shown = baked(brief.parents[0], brief.context.head_dim).text().strip() if len(brief.parents) == 1 else ""
    return Asked(operator, f"{question}\n\n{told}", brief.parents, shown)
