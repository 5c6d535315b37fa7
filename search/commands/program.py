"""`vortex check`: what the language alone can tell of a program, in milliseconds and without running it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.exits import CommandError, ExitCode
from search.commands.output import print_data, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from vortex_dsl import ProgramError
    from vortex_dsl.cost import Cost
    from vortex_dsl.graph import Graph
    from vortex_dsl.program import Program, Value

LARGEST_SIZE = 2**31
CARET_WIDTH = 160  # a longer line is not shown

Tokens = Annotated[
    int, typer.Option("--tokens", min=1, max=LARGEST_SIZE, help="Length of the sequence that the cost is told for.")
]
Group = Annotated[
    int, typer.Option("--group", min=1, max=LARGEST_SIZE, help="Query heads that share a KV head in the model.")
]
HeadDim = Annotated[int, typer.Option("--head-dim", min=1, max=LARGEST_SIZE, help="Channels of a head in the model.")]


def check(
    file: options.ProgramFile,
    tokens: Tokens = 32768,
    group: Group = 4,
    head_dim: HeadDim = 128,
    settings: options.Settings = None,
    as_json: options.Json = False,
) -> int:
    """Parse, type and bound a program, and tell its digest and what a decode step costs."""
    from vortex_dsl import Shape, cost

    try:
        program, graph = traced(file, settings or (), (group, head_dim))
    except CommandError as refusal:
        if as_json and refusal.code is ExitCode.REFUSED:
            print_json({"ok": False, **_position(refusal.__cause__)})
        raise
    spent = cost(program, Shape(group=group, head_dim=head_dim), tokens=tokens)
    print_json(_told(program, graph, spent)) if as_json else print_data(_drawn(program, graph, spent))
    return ExitCode.DONE


def traced(file: Path, settings: Sequence[str], shape: tuple[int, int]) -> tuple[Program, Graph]:
    """Load and type a program's file, with other values for some tunables, for a group and a head dimension.

    Raises CommandError: a bad option, no such file, or a program that is refused (with the place under a caret).
    """
    from vortex_dsl import ProgramError, Shape, load_program, trace

    if not file.is_file():
        raise CommandError(f"there is no program {file}; give the path of a program's text")
    try:
        program = load_program(file).with_values(**values(settings))
        return program, trace(program, Shape(*shape))
    except ProgramError as error:
        raise refused(error, file) from error


def values(settings: Sequence[str]) -> dict[str, Value]:
    """Read NAME=VALUE pairs; a value is a whole number, a number or else a string."""
    pairs = [setting.partition("=") for setting in settings]
    for name, sign, value in pairs:
        if not (name.isidentifier() and sign and value):
            raise CommandError(f"--set {name}{sign}{value} is no NAME=VALUE, such as --set pages=32")
    return {name: _value(value) for name, _, value in pairs}


def refused(error: ProgramError, file: Path) -> CommandError:
    """Make the command's error of a program's: its sentence, and the line with a caret under the place."""
    line = _line(file, error.line) if error.file == str(file) else ""
    shown = f"\n  {line}\n  {' ' * (error.column - 1)}^" if line else ""
    return CommandError(f"{error}{shown}", ExitCode.REFUSED)


def _line(file: Path, number: int) -> str:
    """Give a line of a program's file as a terminal can show it; none where it is long or no text."""
    from vortex_dsl.source import MAX_BYTES

    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES).decode(errors="replace")
    line = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")[number - 1 : number]
    shown = line[0].replace("\t", " ").removeprefix("\ufeff") if line else ""
    return shown if shown.isprintable() and len(shown) <= CARET_WIDTH and "\ufffd" not in shown else ""


def _value(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _position(error: BaseException | None) -> dict[str, object]:
    from vortex_dsl import ProgramError

    assert isinstance(error, ProgramError)
    return {"file": error.file, "line": error.line, "column": error.column, "message": error.message}


def _told(program: Program, graph: Graph, spent: Cost) -> dict[str, object]:
    told = {
        "ok": True,
        "name": program.name,
        "doc": program.doc,
        "digest": graph.digest,
        "values": dict(program.values),
        "operations": graph.num_operations,
        "fields": [{"type": str(field.type), "storage": field.storage} for field in graph.fields],
    }
    return told | {"cost": {**asdict(spent), "bytes": spent.bytes, "flops": spent.flops, "ratio": spent.ratio}}


def _drawn(program: Program, graph: Graph, spent: Cost) -> RenderableType:
    from rich.console import Group as Together
    from rich.text import Text

    fields = ", ".join(f"{field.type} as {field.storage}" for field in graph.fields) or "none"
    told = (
        f"{program.name}: {program.doc}",
        f"digest {graph.digest}, {graph.num_operations} operations",
        "tunables " + ", ".join(f"{name}={value}" for name, value in sorted(program.values.items())),
        f"fields {fields}; {spent.bytes_per_page:,} bytes per page",
        f"reads {spent.pages_read:,.1f} of {spent.pages_dense:,} pages; dense reads {spent.ratio:.1f} times the bytes",
    )
    return Together(*map(Text, told), _costs(spent))


def _costs(spent: Cost) -> RenderableType:
    from rich.table import Table

    caption = f"one decode step of a sparse layer, per sequence and KV head, at {spent.tokens:,} tokens"
    drawn = Table("", caption=caption, caption_justify="left")
    for heading in ("bytes", "flops"):
        drawn.add_column(heading, justify="right")
    drawn.add_row("choose pages", f"{spent.select_bytes:,.0f}", f"{spent.select_flops:,.0f}")
    drawn.add_row("attend", f"{spent.attend_bytes:,.0f}", f"{spent.attend_flops:,.0f}")
    drawn.add_row("sparse in all", f"{spent.bytes:,.0f}", f"{spent.flops:,.0f}")
    drawn.add_row("dense", f"{spent.dense_bytes:,.0f}", f"{spent.dense_flops:,.0f}")
    drawn.add_row("dense / sparse", f"{spent.ratio:.2f}", f"{spent.dense_flops / spent.flops:.2f}")
    return drawn
