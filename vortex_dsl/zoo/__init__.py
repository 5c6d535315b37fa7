"""Published algorithms, one file each."""

from __future__ import annotations

from pathlib import Path

from vortex_dsl.errors import quoted as _quoted  # the zoo offers nothing but itself

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Give the names of all programs of the zoo."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("[a-z]*.py")))


def path(name: str) -> Path:
    """Give the file of a program. Raises LookupError for a name that is not in the zoo."""
    if name not in names():
        message = f"no program {_quoted(name)} in the zoo; it has {', '.join(names())}"
        raise LookupError(message)
    return _FOLDER / f"{name}.py"


def text(name: str) -> str:
    """Give the text of a program."""
    return path(name).read_text("utf-8")
