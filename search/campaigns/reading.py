"""From a campaign file and what overrides it to a `Setup`; whatever is wrong is told by place, key and remedy."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from search.agents.llm.keys import redacted
from search.campaigns.endpoints import GOES_ON, EndpointSetup
from search.campaigns.setup import Setup
from search.config import ConfigError
from vortex_dsl.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

MAX_BYTES = 1 << 20
MAX_SHOWN = 80  # characters of what was given
WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "a text",
    "a valid tuple": "a list",
    "a valid dictionary or instance of EndpointSetup": "a table",
    "a valid dictionary": "a table",
    "Input is not a valid path for <class 'pathlib.Path'>": "must be a path",
}
TABLES = "endpoints"
PATHS = ("text", "seed_programs")  # which a file names from where it lies


def read_setup(file: Path | None = None, overrides: Mapping[str, Any] | None = None, *, goes_on: bool = False) -> Setup:
    """Read a campaign file, if there is one, with `overrides` instead of what it says under the same keys.

    `goes_on`: for a campaign that is stored already and knows its models.

    Raises ConfigError: no such file, no TOML, no key, an unknown one, a value of another type or out of range.
    """
    given = {} if file is None else _from_file(file)
    merged = given | dict(overrides or {})
    if isinstance(given.get(TABLES), dict) and TABLES in merged:
        merged[TABLES] = _joined(given[TABLES], merged[TABLES])
    try:
        return Setup.model_validate(merged, context={GOES_ON: goes_on})
    except ValidationError as error:
        raise ConfigError(_told(error.errors(include_url=False), file, overrides or {})) from None


def _from_file(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        near = did_you_mean(file.name, (each.name for each in file.parent.glob("*.toml")))
        raise ConfigError(f"the campaign file {file} cannot be read: {error.strerror}{near}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"the campaign file {file} has more than {MAX_BYTES:,} bytes; is it one?")
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is no TOML: it is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file} is no TOML: {error}") from None
    if not values:
        raise ConfigError(f"{file} has no setting, and a campaign file at least one, as in: model = 'smollm2'")
    return values | {key: _beside(file, values[key]) for key in PATHS if key in values}


def _beside(file: Path, value: object) -> object:
    """Give paths as seen from the file's folder; what is no path is left for the check of types."""
    if isinstance(value, list):
        return [_beside(file, each) for each in value]
    return str(file.parent / Path(value).expanduser()) if isinstance(value, str) else value


def _joined(tables: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Give tables by name, each with the keys of the others of that name instead of its own."""
    both = {name: {**tables[name], **others[name]} for name in others if isinstance(tables.get(name), dict)}
    return {**tables, **others, **both}


def _told(errors: Sequence[ErrorDetails], file: Path | None, overrides: Mapping[str, Any]) -> str:
    """Make one sentence of the first error; the others are counted."""
    first = errors[0]
    place = first["loc"]
    in_file = file is not None and not (place and place[0] in overrides)
    prefix = f"{file}: " if in_file else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{prefix}{_sentence(first)}{more}"


def _sentence(error: ErrorDetails) -> str:
    place, kind = error["loc"], error["type"]
    name = ".".join(map(str, place))
    if kind == "extra_forbidden":
        inner = len(place) > 1  # the only tables are those of endpoints
        known = (EndpointSetup if inner else Setup).model_fields
        hint = did_you_mean(str(place[-1]), known) or f"; there are {', '.join(known)}"
        return f"there is no key '{name}'{hint}"
    if place[-1:] == ("api_key_env",) and kind != "value_error":  # what stands there may be the key: it is not repeated
        return f"{name} must be the name of an environment variable, never the key itself"
    said = error["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{name} {said}".strip()
    return f"{name} {_must(said)}, but is {_shown(error['input'])}"


def _must(said: str) -> str:
    """Turn the library's "Input should be a valid integer" into what a value must be, in words of TOML."""
    for theirs, ours in WORDS.items():
        said = said.replace(theirs, ours)
    return re.sub("^[A-Z][a-z]+ should ", "must ", said)


def _shown(value: object) -> str:
    text = redacted(repr(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
