"""Whole prompts: the instructions of a campaign, and the question of each operator, within a budget of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompts import prompt
from search.agents.bounds import rules
from search.agents.shown.front import inspirations, leaders, program, ranked
from search.agents.shown.ideas import JOURNAL, journal, published
from search.agents.shown.language import language
from search.agents.shown.model import model
from search.agents.shown.parent import cost, curve, measured
from search.agents.shown.section import BUDGET_TOKENS, REQUIRED, Section, prompt_of, tokens_of
from search.agents.shown.task import aim, gates
from search.agents.shown.tried import FAMILIES, failures, families, moves, pending
from search.agents.tuning.skeleton import skeleton_of
from search.journal.reflecting import reflection
from vortex_dsl import zoo

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.records import Context, Measurement, Record

TASK = "Your task"


@dataclass(frozen=True)
class Brief:
    """What a question is written from. `proposer`: the name of who is asked; `parents`: the programs it is about.

    `budget_tokens` holds for instructions and question together, as `tokens_of` estimates them. `statistics`: of the
    model's queries and keys, as far as they were recorded.
    """

    context: Context
    proposer: str
    parents: tuple[Record, ...] = ()
    budget_tokens: int = BUDGET_TOKENS
    statistics: tuple[Measurement, ...] = ()


def instructions(context: Context) -> str:
    """Write what holds for a whole campaign: aim, bounds, language, form of the answer. The same at every step."""
    return prompt(
        "system",
        aim=aim(context),
        bounds="\n".join(f"* {rule}" for rule in rules(context)),
        example=_example(),
        language=language(),
    )


def _example() -> str:
    """Give a program as seeds are: sparse in every layer."""
    first, rest = zoo.text("quest").strip().split("\n\n    def ", 1)
    return f"{first}\n    dense_layers = Int(0, 0, 8)\n\n    def {rest}"


def explore(brief: Brief) -> str:
    """Ask for another idea than all before: what was found and tried, and what to learn from."""
    return _question(brief, prompt("explore"), [])


def mutate(brief: Brief) -> str:
    """Ask for a better program than the one parent, of which everything measured is told."""
    (parent,) = brief.parents
    task = prompt("mutate", whose=parent.candidate.name, parent=program(parent, brief.context))
    return _question(brief, task, _of_parents(brief))


def cross(brief: Brief) -> str:
    """Ask for one program of the two parents."""
    parent, other = brief.parents
    texts = (program(each, brief.context) for each in (parent, other))
    return _question(brief, prompt("cross", **dict(zip(("parent", "other"), texts, strict=True))), _of_parents(brief))


def tune(brief: Brief) -> str:
    """Ask for new values of the parent's numbers, its budget aside, which is fitted."""
    (parent,) = brief.parents
    task = prompt("tune", parent=program(parent, brief.context), numbers=numbers(parent))
    return _question(brief, task, _of_parents(brief))


def simplify(brief: Brief) -> str:
    """Ask for a simpler program than the parent that chooses as well."""
    (parent,) = brief.parents
    return _question(brief, prompt("simplify", parent=program(parent, brief.context)), _of_parents(brief))


def reflect(brief: Brief) -> str:
    """Ask what the records teach, and for the program that follows from it (`search.journal.reflecting`)."""
    return _question(brief, reflection(brief.context, brief.proposer), [], told=(JOURNAL, FAMILIES))


OPERATORS: dict[str, Callable[[Brief], str]] = {
    each.__name__: each for each in (explore, mutate, cross, tune, simplify, reflect)
}


def question_of(operator: str, brief: Brief) -> str:
    """Give the finished question of an operator, a user's message: a pure function of the context.

    Raises KeyError for an operator that there is not, ValueError for another number of parents than it takes,
    PromptError where the task alone has no room.
    """
    return OPERATORS[operator](brief)


def numbers(record: Record) -> str:
    """List the tunables of a program beside its budget, with their ranges and its values; nothing where it has none."""
    skeleton = skeleton_of(record.candidate.proposal.text, record.candidate.proposal.values)
    values = dict(skeleton.values)
    return "\n".join(f"* `{name} = {tunable}`, now {values[name]}" for name, tunable in skeleton.tunables)


def sections_of(brief: Brief) -> list[Section]:
    """Give the sections that every question has, in their order; `prompt_of` chooses among them."""
    context = brief.context
    return [
        model(context, brief.statistics),
        gates(context),
        leaders(context),
        published(context),
        families(context),
        moves(context),
        pending(context),
        failures(context, brief.proposer),
        journal(context),
        *inspirations(context, brief.parents),
    ]


def _of_parents(brief: Brief) -> list[Section]:
    return [section(each, brief.context) for each in brief.parents for section in (measured, cost)]


def _question(brief: Brief, task: str, more: list[Section], told: tuple[str, ...] = ()) -> str:
    """Put a question together: what is known, then the parents, then the task, which is read last.

    `told`: titles of what the task tells itself.
    """
    context = brief.context
    best = (each.record for ratio in context.ratios[:1] for each in ranked(context, ratio)[:1])
    compared = {record.candidate.step: record for record in (*brief.parents, *best)}
    known = [each for each in (*sections_of(brief), *more) if each.title not in told]
    known.append(curve(compared.values(), context))
    room = brief.budget_tokens - tokens_of(instructions(context))
    return prompt_of([*known, Section(TASK, task, REQUIRED)], room)
