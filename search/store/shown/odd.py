"""Rows that no version of ours writes, such as a person's edits: looked for only once something has failed on one."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import MISSING, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Boolean, Column, DateTime, Integer, LargeBinary, Table, Text, text
from sqlalchemy.types import TypeDecorator, TypeEngine

from search.behaviour.signatures import NUM_DIGITS, is_signature
from search.records import Environment, Workload
from search.store.models import Base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection

    Fits = Callable[[Any], bool]

MAX_SHOWN = 60  # characters of what is odd
LENGTHS = re.compile(r"[\d,]*")
SCREENS = text("SELECT id, answers FROM evaluation WHERE stage = 'screen' AND answers <> ''")
OF = {"workload": Workload, "environment": Environment}  # what a definition is of, by table


def odd_row(connection: Connection) -> str:
    """Tell of the first row that no version of ours writes, and what is odd about it; nothing where there is none."""
    in_tables = (told for table in Base.metadata.sorted_tables for told in _odd(connection, table))
    return next(itertools.chain(in_tables, _odd_signatures(connection)), "")


def _odd(connection: Connection, table: Table) -> Iterator[str]:
    rules = [(column, *_rule(column)) for column in table.columns]
    named = ", ".join(f'"{column.name}"' for column in table.columns)
    keys = [place for place, column in enumerate(table.columns) if column.primary_key]
    quoted = table.name if table.name.isidentifier() else f'"{table.name}"'
    for row in connection.execute(text(f"SELECT {named} FROM {quoted}")):  # noqa: S608 - names of our own
        for (column, wanted, fits), value in zip(rules, row, strict=True):
            if not (value is None and column.nullable) and not fits(value):
                key = ", ".join(f"{table.columns[place].name} {row[place]}" for place in keys)
                yield f"in table {table.name}, row {key}, {column.name} is {_shown(value)} and must be {wanted}"
    if connection.dialect.name == "sqlite":
        for _, number, parent, _ in connection.execute(text(f"PRAGMA foreign_key_check({quoted})")):
            yield f"in table {table.name}, row {number} refers to a row of table {parent} that is not there"


def _odd_signatures(connection: Connection) -> Iterator[str]:
    """Tell of screens whose answers are no signature of behaviour: what a column holds depends on the stage there."""
    for number, answers in connection.execute(SCREENS):
        if not is_signature(answers):
            yield (
                f"in table evaluation, row id {number}, of a screen, answers is {_shown(answers)} and must be a "
                f"signature of behaviour, {NUM_DIGITS} hex digits"
            )


def _shown(value: Any) -> str:
    return repr(value) if len(repr(value)) <= MAX_SHOWN else f"{repr(value)[:MAX_SHOWN]}…"


def _rule(column: Column[Any]) -> tuple[str, Fits]:
    """Say what a column must hold, in words and as a test: SQLite, and a driver's JSON, take anything."""
    kind: TypeEngine[Any] = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    if isinstance(kind, JSON):
        return _json_rule(column)
    if isinstance(kind, DateTime):
        return "a time", _is_time
    if isinstance(kind, LargeBinary):
        return "bytes", lambda value: isinstance(value, bytes | memoryview)
    if isinstance(kind, Boolean):
        return "0 or 1", lambda value: value in (0, 1)
    if isinstance(kind, Text):
        if column.name.endswith("lengths"):
            return "whole numbers with commas between", lambda value: bool(LENGTHS.fullmatch(str(value)))
        return "a text", lambda value: isinstance(value, str)
    if isinstance(kind, Integer):
        return "a whole number", lambda value: isinstance(value, int)
    return "a number", lambda value: isinstance(value, int | float)


def _json_rule(column: Column[Any]) -> tuple[str, Fits]:
    if column.name == "definition":
        known = fields(OF[column.table.name])  # type: ignore[attr-defined]
        needed = {f.name for f in known if f.default is MISSING and f.default_factory is MISSING}
        names = {f.name for f in known}
        told = f"a JSON object with {', '.join(sorted(needed))}, and no other key than {', '.join(sorted(names))}"
        return told, lambda value: isinstance(found := _parsed(value), dict) and needed <= found.keys() <= names
    if column.name in ("parents", "proposers"):
        return "a JSON list of texts", lambda value: _is_list(value, lambda each: isinstance(each, str))
    return "a JSON list of pairs", lambda value: _is_list(value, lambda each: isinstance(each, list) and len(each) == 2)


def _is_list(value: Any, fits: Fits) -> bool:
    found = _parsed(value)
    return isinstance(found, list) and all(map(fits, found))


def _parsed(value: Any) -> Any:
    """Read JSON as a database keeps it; None for what is none."""
    if not isinstance(value, str | bytes):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, datetime) or bool(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return False
