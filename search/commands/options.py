"""Options that mean the same everywhere. Each is written once, here."""

from __future__ import annotations

import inspect
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from vortex_dsl.values import MAX_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

Ended = TypeVar("Ended")

DATABASE_URL = "sqlite:///results.db"
LARGEST = 2**63 - 1  # what a database keeps as a whole number
LEAST_TOKENS = 256  # below, a text is a handful of pages
MAX_WORKERS = 1024  # each is a process with an engine

Database = Annotated[str, typer.Option("--db", metavar="URL", help="The database, as an SQLAlchemy URL.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="FOLDER_OR_NAME", help="The model to serve: a folder, a hub name, smollm2 or probe."
    ),
]
Ray = Annotated[
    str, typer.Option("--ray", metavar="ADDRESS", help="A Ray cluster's address; 'local' starts one on this machine.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, max=MAX_WORKERS, help="Engines that measure side by side.")]
Gpu = Annotated[
    list[str] | None,
    typer.Option("--gpu", metavar="KIND", help="Place workers on GPUs of this kind, 'any' for all; repeatable."),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", min=-LARGEST, max=LARGEST, help="Decides the sequence of candidates, given the same measurements."
    ),
]
Ratios = Annotated[
    list[float] | None,
    typer.Option(
        "--ratio",
        metavar="R",
        help="Judge with budgets fitted so that dense attention reads R times the bytes; repeatable.",
    ),
]
Length = Annotated[
    int | None,
    typer.Option(
        "--tokens", min=LEAST_TOKENS, max=MAX_TOKENS, help="Longest text that a model is judged on, in tokens."
    ),
]
TextFile = Annotated[
    Path | None, typer.Option("--text", metavar="FILE", help="Judge on this text instead of Python's own help topics.")
]
Target = Annotated[
    str, typer.Option("--target", metavar="NAME", help="Model speed on this GPU too: H100, H200 (if left out), B200.")
]
TaskName = Annotated[str, typer.Option("--task", metavar="NAME", help="Run this lm-eval task too.")]
ProgramFile = Annotated[Path, typer.Argument(metavar="FILE", help="A program's text.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Give a tunable another value; repeatable."),
]
CampaignId = Annotated[
    int | None, typer.Option("--campaign", metavar="ID", max=LARGEST, help="The campaign; the newest when left out.")
]


def taking(group: type[Any]) -> Callable[[Callable[..., Ended]], Callable[..., Ended]]:
    """Let a command take a dataclass's fields as options, where it has a parameter of that type.

    Typer makes options of a function's signature, so what two commands share would otherwise be written in both.
    """

    def spread(command: Callable[..., Ended]) -> Callable[..., Ended]:
        own = inspect.signature(command, eval_str=True)
        shared = inspect.signature(group, eval_str=True).parameters
        (place,) = (name for name, parameter in own.parameters.items() if parameter.annotation is group)

        @wraps(command)
        def called(**given: Any) -> Ended:
            return command(**{place: group(**{name: given.pop(name) for name in shared})}, **given)

        spread_out = {name: list(shared.values()) if name == place else [p] for name, p in own.parameters.items()}
        keywords = [p.replace(kind=p.KEYWORD_ONLY) for parameters in spread_out.values() for p in parameters]
        called.__signature__ = own.replace(parameters=keywords)  # type: ignore[attr-defined]
        return called

    return spread
