"""Sources that are to be imported by other names: the text with these names changed, and nothing else of it.

Read by the build (`hatch_build.py`) where nothing else of this project can be imported: it needs the standard library
alone.
"""

from __future__ import annotations

import ast
import io
import tokenize
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

QUOTES = ("'", '"')
IMPORTS = (ast.Import, ast.ImportFrom)
BEFORE_A_PACKAGE = (("from", "from"), ("import", "import"), ("import", ","))


class RenamingError(ValueError):
    """A source that cannot be imported by another name; the message says where and why."""


def rename_imports(source: str, renames: Mapping[str, str], modules: Collection[str] = ()) -> str:
    """Rename the packages of absolute imports; comments and other text stay as they are.

    `renames`: the new dotted name of each top-level package. `modules`: dotted names that are changed where a string
    is one of them, or one with `:attribute` behind it, as `python -m`, loaders of templates and Alembic take them.

    Raises:
        RenamingError: `import search.x`, which binds the name `search`: the code below it would not find that name.

    """
    lines = source.splitlines(keepends=True)
    for (row, column), old, new in reversed([*_edits(source, renames, modules)]):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + new + line[column + len(old) :]
    return "".join(lines)


def modules_of(root: Path, package: str) -> set[str]:
    """Give the dotted names of the modules and packages below a folder of `root`, without its own."""
    files = [path.relative_to(root).with_suffix("") for path in (root / package).rglob("*.py")]
    return {".".join(part.parts) for path in files for part in (path, path.parent)} - {package}


def _edits(
    source: str, renames: Mapping[str, str], modules: Collection[str]
) -> Iterator[tuple[tuple[int, int], str, str]]:
    """Give where what is replaced by what, in order."""
    starts = {(node.lineno, node.col_offset): node for node in ast.walk(ast.parse(source)) if isinstance(node, IMPORTS)}
    for node in starts.values():
        _refuse_bound(node, renames)
    keyword = previous = ""  # that begins the import we are in, and the token before
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.start in starts:
            keyword = token.string
        elif token.type == tokenize.NEWLINE or token.string == ";":
            keyword = ""
        elif token.string in renames and (keyword, previous) in BEFORE_A_PACKAGE:
            yield token.start, token.string, renames[token.string]
        elif token.type == tokenize.STRING and token.string.startswith(QUOTES):
            name = token.string.strip("'\"")
            if name.partition(":")[0] in modules:
                package = name.partition(".")[0]
                yield token.start, token.string, token.string.replace(package, renames[package], 1)
        previous = token.string


def _refuse_bound(node: ast.Import | ast.ImportFrom, renames: Mapping[str, str]) -> None:
    for alias in node.names if isinstance(node, ast.Import) else ():
        if alias.asname is None and alias.name.partition(".")[0] in renames:
            raise RenamingError(
                f"line {node.lineno}: `import {alias.name}` binds a name that has another name where this is "
                f"installed; write `import {alias.name} as …` or `from … import …`"
            )
