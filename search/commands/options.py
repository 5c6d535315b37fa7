"""Options that mean the same everywhere. Each is written once, here."""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from search.campaigns import bounds
from search.commands.usage import SEEN, shown
from search.telling.addresses import head_wanted, host_wanted

if TYPE_CHECKING:
    from collections.abc import Callable

Ended = TypeVar("Ended")

DATABASE_URL, LARGEST = bounds.DATABASE_URL, bounds.LARGEST

DATABASE_VARIABLE = "VORTEX_DB"
OF_DATABASE = "The database: a file's path, or a URL as SQLAlchemy writes it."

Database = Annotated[str, typer.Option("--db", metavar="PATH_OR_URL", envvar=DATABASE_VARIABLE, help=OF_DATABASE)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="FOLDER_OR_NAME", help="The model to serve: a folder, a hub name, smollm2 or probe."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Give a tunable another value; repeatable."),
]


def path(given: str) -> Path:
    """Read a path, and refuse one without a character: pathlib takes it for the folder that one happens to be in.

    No shell says whose home a ~ behind `--out=` is.
    """
    if not given:
        raise ValueError("must name a file or a folder")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise ValueError("must name the home of somebody who is known here") from error


def head_address(given: str | None) -> str | None:
    """Refuse what cannot be the address of a cluster's head, before anything else is looked for."""
    return given if given is None else _possible(given, head_wanted(given))


def cluster_of_mine(given: str) -> str:
    """Refuse the same, but for Ray's own name of the cluster that this machine is in; nothing for none."""
    return given if given in ("", "auto") else _possible(given, head_wanted(given))


def host_address(given: str | None) -> str | None:
    """Refuse what cannot be a host."""
    return given if given is None else _possible(given, host_wanted(given))


def _possible(given: str, wanted: str) -> str:
    if wanted:
        raise typer.BadParameter(f"must be {wanted}{SEEN}{shown(given)}")
    return given


def storable(value: int | None) -> int | None:
    """Refuse a whole number that no database keeps; as a bound of Typer's, help would print all of its digits."""
    if value is not None and abs(value) > LARGEST:
        bound = f"most {LARGEST}" if value > 0 else f"least -{LARGEST}"
        raise typer.BadParameter(f"must be at {bound}{SEEN}{shown(str(value))}")
    return value


CampaignArgument = Annotated[
    int | None,
    typer.Argument(metavar="CAMPAIGN", callback=storable, help="The campaign's id; the newest when left out."),
]
CampaignId = Annotated[
    int | None,
    typer.Option("--campaign", metavar="ID", callback=storable, help="The same as CAMPAIGN, by which it may be named."),
]


def taking(command: Callable[..., Ended]) -> Callable[..., Ended]:
    """Let a command take the fields of dataclasses as options: of each of its parameters that has one for its type.

    Typer makes options of a function's signature, so what two commands share would otherwise be written in both.
    """
    own = inspect.signature(command, eval_str=True)
    kinds = {name: parameter.annotation for name, parameter in own.parameters.items()}
    groups = {
        name: inspect.signature(kind, eval_str=True).parameters
        for name, kind in kinds.items()
        if isinstance(kind, type) and is_dataclass(kind)
    }

    @wraps(command)
    def called(**given: Any) -> Ended:
        built = {place: kinds[place](**{name: given.pop(name) for name in fields}) for place, fields in groups.items()}
        return command(**built, **given)

    spread_out = {name: list(groups[name].values()) if name in groups else [p] for name, p in own.parameters.items()}
    keywords = [p.replace(kind=p.KEYWORD_ONLY) for parameters in spread_out.values() for p in parameters]
    called.__signature__ = own.replace(parameters=keywords)  # type: ignore[attr-defined]
    return called
