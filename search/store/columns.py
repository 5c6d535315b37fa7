"""Kinds of columns: what Python has and a database does not take as it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sqlalchemy import Double, LargeBinary, Text
from sqlalchemy.types import TypeDecorator

from search.store.conversations import packed, unpacked

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect


def storable(text: str) -> str:
    """Replace what a database cannot hold by U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Prose(TypeDecorator[str]):
    """Text that somebody else wrote: it may hold NUL or lone surrogates, which no database takes."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Make any Python string storable."""
        return None if value is None else storable(value)


class Number(TypeDecorator[float]):
    """A float whose NaN is NULL, on PostgreSQL as it is on SQLite."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:  # noqa: ARG002
        """Turn NaN into NULL."""
        return None if value is None or math.isnan(value) else float(value)


class Conversation(TypeDecorator[str]):
    """What was asked and answered, compressed and without keys; NULL where nothing was said."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002
        """Compress what was said."""
        return packed(value) if value else None

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str:  # noqa: ARG002
        """Give the JSON of the messages."""
        return unpacked(value) if value else ""
