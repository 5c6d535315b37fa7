"""`vortex check`: what the language alone can tell of a program, in milliseconds and without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.exits import CommandError, ExitCode
from search.commands.output import print_data, print_json
from search.commands.programs.completing import of_devices
from search.commands.programs.named import ProgramName, program_named, refused
from vortex_dsl.values import MAX_GROUP, MAX_HEAD_DIM, MAX_LAYERS, MAX_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search.commands.programs.checked import Checked
    from search.commands.programs.named import Named
    from vortex_dsl.analysis.devices import Device
    from vortex_dsl.frontend.program import Program
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.tunables import Value

Tokens = Annotated[
    int, typer.Option("--tokens", min=1, max=MAX_TOKENS, help="Length of the sequence that the cost is told for.")
]
Group = Annotated[
    int, typer.Option("--group", min=1, max=MAX_GROUP, help="Query heads that share a KV head in the model.")
]
DeviceName = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help="Tell roofline times too: of H100, H200, B200 or cpu, this one.",
        autocompletion=of_devices,
    ),
]  # fmt: skip
Passes = Annotated[bool, typer.Option("--passes", help="Print the program after each pass of the compiler.")]
Layers = Annotated[int, typer.Option("--layers", min=1, max=MAX_LAYERS, help="Layers of the model, dense ones too.")]
HeadDim = Annotated[int, typer.Option("--head-dim", min=1, max=MAX_HEAD_DIM, help="Channels of a head in the model.")]


def check(
    program: ProgramName,
    tokens: Tokens = 32768,
    group: Group = 4,
    head_dim: HeadDim = 128,
    layers: Layers = 32,
    settings: options.Settings = None,
    on: DeviceName = "",
    with_passes: Passes = False,
    db: options.Database = options.DATABASE_URL,
    as_json: options.Json = False,
) -> int:
    """Parse, type and bound a program, and tell its digest and what a decode step costs, stage by stage."""
    from search.commands.programs.checked import drawn, told

    device = _device(on)
    try:
        found, graph = traced(program_named(program, db), settings or (), (group, head_dim))
    except CommandError as refusal:
        if as_json and refusal.code is ExitCode.REFUSED:
            print_json({"ok": False, **_position(refusal.__cause__)})
        raise
    checked = _checked(found, graph, (tokens, layers), device, with_passes)
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
    from vortex_dsl.analysis.devices import NAMES, device
    from vortex_dsl.errors import did_you_mean

    try:
        return device(name) if name else None
    except LookupError as error:
        raise CommandError(f"--device: {error}{did_you_mean(name, NAMES)}") from None


def traced(named: Named, settings: Sequence[str], shape: tuple[int, int]) -> tuple[Program, Graph]:
    """Load and type a program, with other values for some tunables, for a group and a head dimension.

    Raises CommandError: a bad option, or a program that is refused (with the place under a caret).
    """
    from vortex_dsl import ProgramError, Shape, trace

    try:
        program = named.load().with_values(**values(settings))
        return program, trace(program, Shape(*shape))
    except ProgramError as error:
        raise refused(error, named) from error


def values(settings: Sequence[str]) -> dict[str, Value]:
    """Read NAME=VALUE pairs; a value is a whole number, a number or else a string."""
    pairs = [setting.partition("=") for setting in settings]
    for name, sign, value in pairs:
        if not (name.isidentifier() and sign and value):
            raise CommandError(f"--set {name}{sign}{value} is no NAME=VALUE, such as --set pages=32")
    return {name: _value(value) for name, _, value in pairs}


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
