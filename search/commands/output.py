"""Where words go: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH_OF_PIPES = 160  # without a terminal a table is not folded to 80 columns


def print_json(value: object) -> None:
    """Write one JSON document on stdout. Frozen records become objects; NaN and infinities are refused."""
    sys.stdout.write(json.dumps(value, default=_plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def print_data(data: RenderableType) -> None:
    """Write a table or text on stdout, as wide as the terminal."""
    console(sys.stdout.isatty()).print(data)


def print_line(line: str) -> None:
    """Write one line of data on stdout as it is, never folded."""
    sys.stdout.write(line + "\n")


def note(sentence: str) -> None:
    """Say something on stderr that is not data."""
    sys.stderr.write(sentence + "\n")


def console(terminal: bool, stderr: bool = False) -> Console:
    """Give a Rich console on stdout or stderr that folds lines only for a terminal."""
    from rich.console import Console

    return Console(stderr=stderr, width=None if terminal else WIDTH_OF_PIPES, soft_wrap=False, highlight=False)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} is not data")
