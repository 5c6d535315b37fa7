"""`vortex zoo`: the published rules that come with the language, each with what a decode step of it costs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.exits import CommandError
from search.commands.output import print_data, print_json, print_program
from search.commands.programs.check import Group, HeadDim, Layers, Tokens
from search.commands.programs.completing import of_rules

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vortex_dsl.frontend.program import Program
    from vortex_dsl.values import Shape

PAPER = re.compile(r"arXiv:(\d{4}\.\d{5})")
SOURCE = re.compile(r" \([^()]*arXiv:[^()]*\)")  # the part of an idea that names its paper

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Print this program's text.", autocompletion=of_rules)]


@dataclass(frozen=True)
class Entry:
    """A program of the zoo and what a decode step of a sparse layer costs, per sequence and KV head.

    `papers`: arXiv ids; `budget`: the tunable that decides how much is read; `ratio`: bytes of dense attention per byte
    of the program, over all layers. The figures are None, and `refusal` says why, where a program does not fit a
    model's shape.
    """

    name: str
    idea: str
    papers: tuple[str, ...]
    share_layers: int
    refresh_steps: int
    states: tuple[str, ...]
    budget: str | None
    bytes_per_page: int | None = None
    pages_read: float | None = None
    pages_dense: int | None = None
    ratio: float | None = None
    refusal: str = ""

    @property
    def keeps(self) -> str:
        """Say what the program keeps over layers and steps; nothing if it chooses anew everywhere."""
        parts = [f"state {name}" for name in self.states]
        parts += [f"one choice for {self.share_layers} layers"] * (self.share_layers > 1)
        return ", ".join(parts + [f"one choice for {self.refresh_steps} steps"] * (self.refresh_steps > 1))


def zoo(
    name: Name = None,
    tokens: Tokens = 32768,
    group: Group = 4,
    head_dim: HeadDim = 128,
    layers: Layers = 32,
    as_json: options.Json = False,
) -> None:
    """List the published rules with their papers and what a decode step costs, or print the text of one."""
    from vortex_dsl import Shape
    from vortex_dsl.errors import did_you_mean, quoted
    from vortex_dsl.zoo import names, text

    shape = Shape(group=group, head_dim=head_dim)
    if name is None:
        listed = entries(shape, tokens, layers)
        print_json(listed) if as_json else print_data(_drawn(listed, tokens, layers))
        return
    try:
        found = text(name)
    except LookupError as error:
        near = did_you_mean(name, names())
        raise CommandError(f"no program {quoted(name)} in the zoo{near}" if near else str(error.args[0])) from error
    told = {"entry": entry(name, shape, tokens, layers), "text": found}
    print_json(told) if as_json else print_program(found)


def entries(shape: Shape, tokens: int, num_layers: int = 32) -> list[Entry]:
    """Describe every program of the zoo for a model's shape and layers and a length in tokens, by name."""
    from vortex_dsl.zoo import names

    return [entry(name, shape, tokens, num_layers) for name in names()]


def entry(name: str, shape: Shape, tokens: int, num_layers: int = 32) -> Entry:
    """Describe one program of the zoo. Raises LookupError for a name that is not in it."""
    from vortex_dsl import ProgramError, cost, load_program
    from vortex_dsl.zoo import text

    program = load_program(text(name))
    try:
        spent = cost(program, shape, tokens, num_layers)
    except ProgramError as error:
        return Entry(name, *_told(program), refusal=error.message)
    return Entry(name, *_told(program), spent.bytes_per_page, spent.pages_read, spent.pages_dense, spent.ratio)


def _told(program: Program) -> tuple[str, tuple[str, ...], int, int, tuple[str, ...], str | None]:
    """Give what a program says of itself, whatever the model: an entry's idea, papers, sharing, states and budget."""
    idea, papers = SOURCE.sub("", program.doc), tuple(PAPER.findall(program.text))
    share_layers, refresh_steps = (int(program.values[name]) for name in ("share_layers", "refresh_steps"))
    return idea, papers, share_layers, refresh_steps, tuple(program.states), program.budget


def _drawn(listed: list[Entry], tokens: int, num_layers: int) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from search.report.columns import Fitted

    caption = (
        f"one decode step of a sparse layer at {tokens:,} tokens; dense / sparse: the bytes that each reads in "
        f"{num_layers:,} layers"
    )
    drawn = Table("name", "idea", "arXiv", "keeps")
    for heading in ("bytes/page", "pages", "dense / sparse"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for each in listed:
        figures = ((each.bytes_per_page, ",d"), (each.pages_read, ",.0f"), (each.ratio, ".1f"))
        shown = ("-" if figure is None else format(figure, form) for figure, form in figures)
        drawn.add_row(each.name, each.idea, "\n".join(each.papers), each.keeps, *shown)
    reasons = [Text(f"{each.name} has no figures: {each.refusal}") for each in listed if each.refusal]
    return Group(Fitted(drawn, ("keeps", "arXiv", "bytes/page", "pages")), Text(caption, style="italic"), *reasons)
