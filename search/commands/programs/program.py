"""`vortex check`: what the language alone can tell of a program, in milliseconds and without running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.exits import CommandError, ExitCode
from search.commands.output import print_data, print_json
from vortex_dsl.values import MAX_GROUP, MAX_HEAD_DIM, MAX_LAYERS, MAX_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.commands.programs.checked import Checked
    from vortex_dsl import ProgramError
    from vortex_dsl.analysis.devices import Device
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.tunables import Value

CARET_WIDTH = 160  # a longer line is not shown

Tokens = Annotated[
    int, typer.Option("--tokens", min=1, max=MAX_TOKENS, help="Length of the sequence that the cost is told for.")
]
Group = Annotated[
    int, typer.Option("--group", min=1, max=MAX_GROUP, help="Query heads that share a KV head in the model.")
]
DeviceName = Annotated[
    str, typer.Option("--device", metavar="NAME", help="Tell roofline times too: of H100, H200, B200 or cpu, this one.")
]
Passes = Annotated[bool, typer.Option("--passes", help="Print the program after each pass of the compiler.")]
Layers = Annotated[int, typer.Option("--layers", min=1, max=MAX_LAYERS, help="Layers of the model, dense ones too.")]
HeadDim = Annotated[int, typer.Option("--head-dim", min=1, max=MAX_HEAD_DIM, help="Channels of a head in the model.")]


def check(
    file: options.ProgramFile,
    tokens: Tokens = 32768,
    group: Group = 4,
    head_dim: HeadDim = 128,
    layers: Layers = 32,
    settings: options.Settings = None,
    on: DeviceName = "",
    with_passes: Passes = False,
    as_json: options.Json = False,
) -> int:
    """Parse, type and bound a program, and tell its digest and what a decode step costs, stage by stage."""
    from search.commands.programs.checked import drawn, told

    device = _device(on)
    try:
        program, graph = traced(file, settings or (), (group, head_dim))
    except CommandError as refusal:
        if as_json and refusal.code is ExitCode.REFUSED:
            print_json({"ok": False, **_position(refusal.__cause__)})
        raise
    checked = _checked(program, graph, (tokens, layers), device, with_passes)
    print_json(told(checked)) if as_json else print_data(drawn(checked))
    return ExitCode.DONE


def _checked(
    program: Program, graph: Graph, scale: tuple[int, int], device: Device | None, with_passes: bool
) -> Checked:
    """Tell what is known of a program at a scale: tokens and layers."""
    from search.commands.programs.checked import Checked, passes
    from vortex_dsl.analysis.advice import warnings
    from vortex_dsl.analysis.cost import cost_of
    from vortex_dsl.analysis.devices import roofline

    spent = cost_of(graph, *scale)
    shown = passes(program, graph.shape.group, graph.shape.head_dim) if with_passes else ()
    roof = roofline(spent, device) if device else None
    return Checked(program, graph, spent, warnings(graph, spent), roof, shown)


def _device(name: str) -> Device | None:
    """Find the device that times are told for. Raises CommandError for one whose peaks are not known."""
    from vortex_dsl.analysis.devices import device

    try:
        return device(name) if name else None
    except LookupError as error:
        raise CommandError(f"--device: {error}") from None


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
    from vortex_dsl.frontend.source import MAX_BYTES

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
