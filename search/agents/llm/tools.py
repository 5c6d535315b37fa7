"""What an agent may ask before it proposes: is a program sound, what does it keep, what is known of others."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search.agents.answers import parsed
from search.agents.bounds import facts, objections
from search.agents.breed import baked
from search.agents.look import Look, look
from search.agents.shown import language
from search.agents.shown.front import leaders
from search.agents.shown.parent import cost, measured
from search.agents.shown.section import fenced
from search.contracts import LookError
from search.records import Proposal, Status
from vortex_dsl import ProgramError, load_program, zoo
from vortex_dsl.errors import did_you_mean, quoted
from vortex_dsl.frontend.source import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from search.contracts import Looker
    from search.records import Context, Record

MAX_NAME = 200  # characters
TELLING = ("json_invalid", "extra_forbidden", "missing")  # faults that are none of a value
# Blanks are never given back: a line of thousands of them would take hours.
SPOKEN = re.compile(r"^[ \t]*+`?ASK[ \t]++(\w++)[ \t]*+(\{.*\})?[ \t]*+`?[ \t]*+$", re.MULTILINE)
NO_LOOKER = "there is no look here: no recordings of a model's attention belong to this campaign"


class ArgumentsError(ValueError):
    """What a tool was given is not what it takes; the message says what of it."""


class Arguments(BaseModel):
    """What a tool is given: nothing that it does not know, nothing of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _OfProgram(Arguments):
    program: str = Field(max_length=MAX_BYTES, description="The whole text of a program.")


class _OfLook(_OfProgram):
    ratio: float | None = Field(
        None, ge=0, strict=False, description="The cost ratio to fit its budget to; this step's if left out."
    )


class _OfName(Arguments):
    name: str = Field(max_length=MAX_NAME, description="A candidate's name, number, or the beginning of its digest.")


class _OfZoo(Arguments):
    name: str = Field("", max_length=MAX_NAME, description="A published rule; the list of all of them if left out.")


@dataclass(frozen=True)
class Tool:
    """A question that an agent may ask by calling a function. `name` is a method of `Desk`."""

    name: str
    description: str
    arguments: type[BaseModel]

    @property
    def schema(self) -> dict[str, Any]:
        """Give the JSON schema of the arguments."""
        return self.arguments.model_json_schema()

    @property
    def function(self) -> dict[str, Any]:
        """Give it as the chat interface of OpenAI wants it."""
        described = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": described}


TOOLS = (
    Tool("check", "Is a program sound and within the bounds, what it stores, and its budget at each cost.", _OfProgram),
    Tool("look", "What a program keeps of the model's attention on recorded queries, within seconds.", _OfLook),
    Tool("show", "The text of a candidate of this campaign, and all that was measured of it.", _OfName),
    Tool("leaderboard", "The best programs so far.", Arguments),
    Tool("zoo", "Published rules: a list of their ideas, or the text of one.", _OfZoo),
    Tool("language", "The language that programs are written in.", Arguments),
)


def asking() -> str:
    """Say how a model asks that cannot call functions: a line for each tool that is no better told of by a program."""
    examples = {"show": {"name": "Quest"}, "leaderboard": {}, "zoo": {"name": "quest"}, "language": {}}
    return "\n".join(f"* `ASK {name}{f' {json.dumps(given)}' if given else ''}`" for name, given in examples.items())


def spoken(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Give what an answer asks in lines of text: names of tools and their arguments, which may be wrong."""
    found = []
    for name, arguments in SPOKEN.findall(text):
        given = parsed(arguments or "{}")
        # No tool has such an argument: the desk says so.
        found.append((name, given if isinstance(given, dict) else {"arguments": arguments}))
    return found


@dataclass(frozen=True)
class Desk:
    """Answers an agent's questions at one step of a campaign, in Markdown, from what that step may know.

    `parents` are the candidates that a look puts beside a program. What goes wrong is answered with a sentence.
    """

    context: Context
    looker: Looker | None = None
    parents: Sequence[Record] = ()

    @property
    def ratio(self) -> float:
        """Give the cost ratio that this step looks at, 0 where programs are judged as written: they take turns."""
        ratios = self.context.ratios
        return ratios[self.context.step % len(ratios)] if ratios else 0.0

    def answer(self, name: str, arguments: dict[str, Any]) -> str:
        """Answer a call by its name and arguments, whatever these are."""
        tool = tool_of(name, TOOLS)
        try:
            return tool if isinstance(tool, str) else called(self, tool, arguments)
        except ArgumentsError as error:
            return str(error)

    def check(self, program: str) -> str:
        """Say whether a program is within the bounds, else why not; and what is known without running it."""
        proposal = _proposed(program)
        lines = [f"* {each}" for each in objections(proposal, self.context)]
        verdict = "\n".join(["It would be refused:", "", *lines]) if lines else "It is within all bounds."
        try:
            return f"{verdict}\n\n{self._facts(proposal)}"
        except ProgramError:
            return verdict

    def look(self, program: str, ratio: float | None = None) -> str:
        """Say what a program keeps of the model's attention, beside the parents and the best published rule."""
        try:
            return self.looked(program, ratio).told()
        except (LookError, ProgramError) as error:
            return str(error)

    def looked(self, program: str, ratio: float | None = None) -> Look:
        """Look at a program. Raises LookError, and ProgramError."""
        if self.looker is None:
            raise LookError(NO_LOOKER)
        return look(_proposed(program), self.ratio if ratio is None else ratio, self.context, self.looker, self.parents)

    def show(self, name: str) -> str:
        """Give a candidate's text, with the values that it has, and all that was measured of it."""
        record = self.find(name)
        if record is None:
            hint = did_you_mean(name, [r.candidate.name for r in self.context.records if r.candidate.name])
            return f"no candidate '{name}' is known at this step{hint}; leaderboard names the best"
        if record.candidate.status is not Status.OK:
            return f"{record.candidate.name or 'it'} was refused: {record.candidate.message}"
        text = fenced(baked(record, self.context.head_dim).text())
        told = (
            section.text for section in (measured(record, self.context), cost(record, self.context)) if section.text
        )
        return "\n\n".join((text, *told))

    def leaderboard(self) -> str:
        """List the best programs so far."""
        return leaders(self.context).text

    def zoo(self, name: str = "") -> str:
        """List the published rules with their ideas, or give the text of one."""
        if not name:
            return "\n".join(f"* {each}: {load_program(zoo.text(each)).doc}" for each in zoo.names())
        try:
            return fenced(zoo.text(name))
        except LookupError as error:
            return str(error.args[0])

    def language(self) -> str:
        """Tell the language."""
        return language()

    def _facts(self, proposal: Proposal) -> str:
        known = facts(proposal, self.context)
        stored = "; ".join(f"{axes} as {kind}, {num_bytes:,} bytes" for axes, kind, num_bytes in known.fields)
        lines = [f"{known.name} stores {known.bytes_per_page:,} bytes a page: {stored or 'nothing'}."]
        for ratio, fitted in known.fitted:
            at = f"At a cost ratio of {ratio:g}" if ratio else "As written"
            budget = "it has no budget" if fitted.budget is None else f"its budget is {fitted.budget:g}"
            lines.append(
                f"* {fitted.refusal or f'{at} {budget}, and dense reads {fitted.cost_ratio:.3g} times as much.'}"
            )
        return "\n".join(lines)

    def find(self, name: str) -> Record | None:
        """Find a candidate by number or name, the newest of that name, or by the beginning of its digest."""
        newest = list(reversed(self.context.records))
        by_name = (r for r in newest if name in (r.candidate.name, str(r.candidate.id)))
        by_digest = (r for r in newest if len(name) >= 4 and r.candidate.program_digest.startswith(name))
        return next(by_name, None) or next(by_digest, None)


def tool_of(name: str, tools: Sequence[Tool]) -> Tool | str:
    """Give a tool by its name, or a sentence that there is none."""
    names = [each.name for each in tools]
    if name in names:
        return tools[names.index(name)]
    return f"there is no tool '{name[:MAX_NAME]}'{did_you_mean(name, names)}; there are {', '.join(names)}"


def called(desk: object, tool: Tool, arguments: dict[str, Any]) -> str:
    """Call the method of a tool's name. Raises ArgumentsError."""
    try:
        given = dict(tool.arguments.model_validate(arguments))
    except ValidationError as error:
        raise ArgumentsError(f"{tool.name}: {fault(error)}") from None
    method: Callable[..., str] = getattr(desk, tool.name)
    return method(**given)


def _proposed(program: str) -> Proposal:
    return Proposal(program, "", "")


def fault(error: ValidationError) -> str:
    """Say what is wrong with the first argument that is; others are counted."""
    first, num_more = error.errors(include_url=False)[0], error.error_count() - 1
    place = ".".join(map(str, first["loc"]))[:MAX_NAME] or "the arguments"
    seen = "" if first["type"] in TELLING else f", but is {_shown(first['input'])}"
    return f"{place}: {first['msg']}{seen}{f' (and {num_more} more)' if num_more else ''}"


def _shown(value: object) -> str:
    """Show a value as JSON has it: a text in quotes, a number without."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return quoted(value) if isinstance(value, str) else quoted(value).strip("'")
