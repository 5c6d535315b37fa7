"""A text that a user gives (`--text FILE`), and how it reaches a sandboxed engine: by digest, in the scratch folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

MAX_BYTES = 8 << 20  # a tokenizer takes seconds for more
PREFIX = "text:"
BYTE_ORDER_MARK = "\ufeff"  # which some editors put before a text, and which is no part of it


class TextError(ValueError):
    """There is no such text. The message says which, why, and what to do."""


def read_text(file: Path) -> str:
    """Read what a user names. Raises TextError where it is no UTF-8 text of at most `MAX_BYTES` bytes."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise TextError(f"the text {file} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise TextError(f"the text {file} has more than {MAX_BYTES} bytes: give a part of it")
    try:
        text = content.decode("utf-8").removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise TextError(f"the text {file} is not UTF-8 at byte {error.start}; convert it first") from None
    if "\0" in text:
        raise TextError(
            f"the text {file} is binary: it has a zero at character {text.index(chr(0))}; give a file of prose"
        )
    if not text.strip():
        raise TextError(f"the text {file} is empty: give a file with prose")
    return text


def source_of(text: str) -> str:
    """Give the `source` of workloads that are cut from this text: identity by content, whatever the file is called."""
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()[:16]


def keep_text(text: str, scratch: Path) -> str:
    """Put a text where engines with this scratch folder find it, and give its source. Atomic and idempotent."""
    from search.evaluator.scratch.files import write_atomically

    source = source_of(text)
    write_atomically(_path(source, scratch), lambda file: file.write_bytes(text.encode()))
    return source


def kept_text(source: str, scratch: Path) -> str:
    """Give the text of a source. Raises TextError where it is not there or is another one."""
    path = _path(source, scratch)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError:
        raise TextError(f"the text {source} is not kept here ({path}): name its file with --text") from None
    if source_of(text) != source:
        raise TextError(f"{path} does not hold the text {source} any more: name its file with --text")
    return text


def _path(source: str, scratch: Path) -> Path:
    return scratch / "texts" / f"{source.removeprefix(PREFIX)}.txt"
