"""From a path or a text to a syntax tree of bounded size, whatever the bytes are."""

from __future__ import annotations

import ast
import re
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from vortex_dsl.errors import ProgramError, quoted

MAX_BYTES = 16 * 1024
MAX_NESTING = 200
TEXT_NAME = "<program>"  # the file name of a program given as text

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")
_LEXEME = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<quote>(?P<prefix>[A-Za-z]{0,2})(?P<mark>'''|\"\"\"|'|"))
    |(?P<word>[A-Za-z_0-9]+)
    |(?P<open>[(\[{])
    |(?P<close>[)\]}])
    |(?P<foreign>[^\x00-\x7f])""",
    re.VERBOSE,
)
_REST_OF_STRING = {
    "'": re.compile(r"(?:[^\\'\n]|\\.)*'", re.DOTALL),
    '"': re.compile(r'(?:[^\\"\n]|\\.)*"', re.DOTALL),
    "'''": re.compile(r"(?:[^\\']|\\.|'(?!''))*'''", re.DOTALL),
    '"""': re.compile(r'(?:[^\\"]|\\.|"(?!""))*"""', re.DOTALL),
}

# CPython 3.11 counts how deep it is in a tree once for all threads, and takes trees that are built side by side for
# broken ("AST constructor recursion depth mismatch"). Proposers and the loop parse in threads of their own.
_PARSER = threading.Lock()


def parsed(text: str, **options: Any) -> ast.Module:
    """Parse a module as `ast.parse` does, one thread at a time."""
    with _PARSER:
        return ast.parse(text, **options)


def parsed_expression(text: str) -> ast.expr:
    """Parse an expression as `ast.parse` does, one thread at a time."""
    with _PARSER:
        return ast.parse(text, mode="eval").body


@dataclass(frozen=True)
class Source:
    """A program's text and where it came from. Raises ProgramError with positions in it."""

    text: str
    file: str

    def refuse(self, message: str, node: ast.AST | None = None) -> NoReturn:
        """Raise a ProgramError at a node of the syntax tree."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        raise ProgramError(message, self.file, line, self._characters(line, column) + 1)

    def refuse_at(self, message: str, offset: int) -> NoReturn:
        """Raise a ProgramError at a character of the text."""
        before = self.text[:offset]
        raise ProgramError(message, self.file, before.count("\n") + 1, offset - before.rfind("\n"))

    def _characters(self, line: int, num_bytes: int) -> int:
        """Turn the parser's byte column into one of characters."""
        row = self.text.split("\n")[line - 1 : line]
        return len(row[0].encode(errors="surrogatepass")[:num_bytes].decode(errors="ignore")) if row else num_bytes


def read_source(path_or_text: str | Path) -> Source:
    """Read a file, or take a text that contains a newline; check its size and its characters."""
    if isinstance(path_or_text, str) and "\n" in path_or_text:
        return text_source(path_or_text)
    if not isinstance(path_or_text, str | Path):
        raise ProgramError(f"a program is a path or a text, not {type(path_or_text).__name__}; give one of these")
    if not str(path_or_text).strip():
        raise ProgramError("the text is empty; give a program's text, or the path of its file", TEXT_NAME)
    return text_source(read_text(path_or_text), str(path_or_text))


def text_source(text: str, file: str = TEXT_NAME) -> Source:
    """Check a text's size and characters before anything parses it."""
    source = Source(text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"), file)
    size = len(source.text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        source.refuse(f"the text has {size} bytes, but a program has at most {MAX_BYTES}; make it shorter")
    hidden = _HIDDEN.search(source.text)
    if hidden:
        source.refuse_at(f"the invisible character U+{ord(hidden[0]):04X} is not allowed; remove it", hidden.start())
    _check_lexemes(source)
    return source


def read_text(path: str | Path) -> str:
    """Give what a program's file holds, unless it is too much or not UTF-8. Raises ProgramError."""
    name = str(path)
    try:
        path = Path(path)
        if path.is_dir():
            raise ProgramError("this is a folder, not a file; name the program's file in it", name)
        if path.exists() and not path.is_file():
            raise ProgramError("this is not a regular file; give a program's file", name)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES * 2)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, ProgramError):
            raise
        message = f"cannot read {quoted(name)}: {reason}; give a readable file or a text"
        raise ProgramError(message, quoted(name, 255)[1:-1]) from None  # it may be a text that was taken for a path
    return decoded(content, name)


def decoded(content: bytes, file: str) -> str:
    """Give the text of a program's bytes, `file` being its name in errors. Raises ProgramError."""
    if len(content) > MAX_BYTES:
        raise ProgramError(f"the file has more than {MAX_BYTES} bytes; make the program shorter", file)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"the byte 0x{content[error.start]:02X} is not UTF-8; save the file as UTF-8"
        raise ProgramError(message, file, line, column) from None


def _check_lexemes(source: Source) -> None:
    """Refuse deep brackets, f-strings and non-ASCII outside strings: before the parser, which they could hurt."""
    depth = position = 0
    while lexeme := _LEXEME.search(source.text, position):
        kind, position = lexeme.lastgroup, lexeme.end()
        depth += (kind == "open") - (kind == "close")
        if depth > MAX_NESTING:
            source.refuse_at(f"nested more than {MAX_NESTING} deep; name parts of it", lexeme.start())
        if kind == "foreign":
            message = f"the character {quoted(lexeme[0])} is not ASCII; names and operators are, use it in strings only"
            source.refuse_at(message, lexeme.start())
        if kind == "quote":
            position = _end_of_string(source, lexeme)


def _end_of_string(source: Source, opening: re.Match[str]) -> int:
    """Give where a string ends that begins here. One that never ends is refused, so no part is read twice."""
    if "f" in opening["prefix"].lower():
        source.refuse_at("string formatting is not allowed; write a plain string", opening.start())
    rest = _REST_OF_STRING[opening["mark"]].match(source.text, opening.end())
    if rest is None:
        source.refuse_at(
            f"this is not Python: a string without an end; close it with {opening['mark']}", opening.start()
        )
    return rest.end()


def parse(source: Source) -> ast.Module:
    """Parse the text, which is not executed by it, into a syntax tree at most 200 deep."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = parsed(source.text, feature_version=(3, 11))
    except (SyntaxError, ValueError) as error:
        _refuse_syntax(source, error)
    except (RecursionError, MemoryError):
        source.refuse(f"nested more than {MAX_NESTING} deep; name parts of it")
    _check_depth(source, tree)
    return tree


def _refuse_syntax(source: Source, error: SyntaxError | ValueError) -> NoReturn:
    line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
    message = f"this is not Python: {getattr(error, 'msg', error)}; correct the syntax"
    if "too many nested" in message or "too many levels of indentation" in message:
        message = f"nested more than {MAX_NESTING} deep; name parts of it"
    if "integer string conversion" in message:
        message = "a number is out of bounds; keep numbers within ±2**31"
    raise ProgramError(message, source.file, line, max(column, 1)) from None


def _check_depth(source: Source, tree: ast.Module) -> None:
    level: list[ast.AST] = [tree]
    depth = 0
    while level:
        if depth > MAX_NESTING:
            source.refuse(f"nested more than {MAX_NESTING} deep; name parts of it", level[0])
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        depth += 1
