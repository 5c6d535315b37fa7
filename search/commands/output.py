"""Where words go: data on stdout, everything else on stderr."""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import sys
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from search.commands.exits import CommandError, ExitCode
from search.report.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from _typeshed import ReadableBuffer
    from rich.console import Console, RenderableType
    from rich.text import Text

PLAINER = {"–": "-", "…": "~", "·": "*", "×": "x"}
ENDS = ("low", "high")  # what the names of an interval's ends end in
WIDTH_OF_PIPES = 160  # without a terminal a table is not folded to 80 columns


def make_streams_robust() -> None:
    """Let no character and no closed stream stop a command: what an encoding lacks is written otherwise."""
    codecs.register_error("plainer", _plainer)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us, who has nothing to say, or then wants to see nothing
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for as long as we run
        elif isinstance(stream, io.TextIOWrapper) and mode == "w":
            stream.reconfigure(errors="plainer")
    if sys.__stderr__ is not None and sys.stderr is sys.__stderr__:
        sys.stderr = _unstoppable(sys.stderr)


class _Unheard(io.FileIO):
    """A file whose reader may go and whose disk may be full: what cannot be written is dropped."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, and call all written of which nothing can be; of a part the rest is written next."""
        written = None
        with suppress(OSError):
            written = super().write(data)
        return memoryview(data).nbytes if written is None else written


def _unstoppable(stream: TextIO) -> TextIO:
    """Give the same stream as one that stops no command: it is there for who looks on, and may be gone."""
    try:
        raw = _Unheard(stream.fileno(), "wb", closefd=False)
    except OSError:  # it has no file
        return stream
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, "plainer", line_buffering=True)


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """Write a character for each that cannot be encoded, so that columns stay where they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAINER.get(c, "?") for c in error.object[error.start : error.end]), error.end


def print_json(value: object) -> None:
    """Write one JSON document on stdout. Frozen records become objects; NaN and infinities are refused."""
    sys.stdout.write(_as_json(value) + "\n")


def print_json_list(items: Iterable[object]) -> None:
    """Write a JSON list as `print_json` writes it, item by item: none is held longer than until it is written."""
    before = "[\n  "
    for item in items:
        sys.stdout.write(before + _as_json(item).replace("\n", "\n  "))  # within strings JSON has no line's end
        before = ",\n  "
    sys.stdout.write("[]\n" if before.startswith("[") else "\n]\n")


def _as_json(value: object) -> str:
    is_utf_8 = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    written = partial(json.dumps, default=_plain, indent=2, allow_nan=False, ensure_ascii=not is_utf_8)
    with suppress(ValueError):
        return written(value)
    try:
        return written(json.loads(json.dumps(value, default=_plain), object_hook=_with_open_ends))
    except ValueError as error:  # nothing of ours is stored so: another program has changed the ledger
        told = f"a figure on record is no finite number, which JSON does not know ({error}); tables show it"
        raise CommandError(told, ExitCode.INFRASTRUCTURE) from error


def _with_open_ends(found: dict[str, object]) -> dict[str, object]:
    """Write an interval's end that no number bounds as null: as one that is not known."""
    return {
        name: None if name.endswith(ENDS) and isinstance(value, float) and not math.isfinite(value) else value
        for name, value in found.items()
    }


def print_data(data: RenderableType) -> None:
    """Write a table or text on stdout, as wide as the terminal."""
    console(sys.stdout.isatty()).print(data)


def print_program(text: str) -> None:
    """Write a program's text on stdout, whole and never folded by us, coloured on a terminal."""
    from rich.syntax import Syntax

    kept = whole(text.rstrip("\n"))
    if sys.stdout.isatty():
        coloured = Syntax(kept, "python", background_color="default").highlight(kept)
        coloured.rstrip()
        console(terminal=True).print(coloured, soft_wrap=True)
    else:
        print_line(kept)


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


def cell(text: str) -> Text:
    """Give what others wrote as a cell of a table: as text, whatever characters it has."""
    from rich.text import Text

    return Text(whole(text))


def whole(text: str) -> str:
    """Give what others wrote, all of it, without what is not seen and may deceive a terminal."""
    return shown(text, len(text))


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} is not data")
