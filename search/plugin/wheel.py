"""What is in an exported wheel: read, and held against what an export has. Nothing of it is unpacked or run here.

A wheel may be anybody's. So it is bounded before it is read, may hold nothing that `vortex export` does not write, and
what it says of itself is typed and bounded before anything is done by it.
"""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pydantic import ValidationError

from search.plugin.names import Names
from search.plugin.said import Card
from vortex_dsl import ProgramError, Shape, load_program, trace
from vortex_dsl.errors import listed, quoted

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = r"vortex_[0-9a-f]{12}"
METADATA = r"vortex_plugin_[0-9a-f]{12}-[0-9][\w.+]*\.dist-info"
MAX_PACKED_BYTES, MAX_BYTES, MAX_CARD_BYTES = 32 << 20, 128 << 20, 8 << 20
MAX_FILES = 2000
UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, RuntimeError, EOFError)  # broken archives


class VerifyError(ValueError):
    """The wheel cannot be verified; the message says why and what to do."""


@dataclass(frozen=True)
class Wheel:
    """An exported wheel that was read.

    `content` are its bytes: they are what is installed, whatever becomes of the file meanwhile. `file_name`: what pip
    wants it to be called. `code`: the files of its package but the card, by their paths within it.
    """

    name: str
    file_name: str
    content: bytes
    package: str
    card: Card
    code: dict[str, bytes]


def read_wheel(path: Path) -> Wheel:
    """Read a wheel, and see that `vortex export` can have written it. Raises VerifyError."""
    try:
        return _read(path)
    except OSError as error:
        raise VerifyError(
            f"{path}: {error.strerror or 'unreadable'}; `vortex export ID -o DIR` writes a wheel"
        ) from error
    except VerifyError as error:
        raise VerifyError(f"{path}: not a wheel that `vortex export` wrote: {error}") from error
    except UNREADABLE as error:
        raise VerifyError(f"{path}: not a wheel that `vortex export` wrote: it is no sound archive") from error


def _read(path: Path) -> Wheel:
    with path.open("rb") as file:
        content = file.read(MAX_PACKED_BYTES + 1)
    if len(content) > MAX_PACKED_BYTES:
        raise VerifyError(f"it has more than {MAX_PACKED_BYTES:,} bytes")
    with zipfile.ZipFile(BytesIO(content)) as archive:
        package, metadata = _parts(archive)
        files = {name: archive.read(name) for name in archive.namelist()}
        described = PathDistribution(zipfile.Path(archive, f"{metadata}/"))  # type: ignore[arg-type]
        points, needed = _points(described), described.requires or []
    card = _card(files.pop(f"{package}/exported.json", b""))
    _check_program(package, card)
    if points != sorted(_entry_points(card)):
        raise VerifyError("its entry points are not those of its plugin alone")
    if needed:
        raise VerifyError(f"it asks pip for {listed(quoted(each, 120) for each in needed)}, and an export for nothing")
    code = {name.partition("/")[2]: data for name, data in files.items() if name.startswith(f"{package}/")}
    file_name = f"{metadata.removesuffix('.dist-info')}-py3-none-any.whl"
    return Wheel(path.name, file_name, content, package, card, code)


def _parts(archive: zipfile.ZipFile) -> tuple[str, str]:
    """Give the names of its package and of its metadata, which are all that it may hold."""
    names = [each.filename for each in archive.infolist()]
    num_bytes = sum(each.file_size for each in archive.infolist())
    if len(names) > MAX_FILES or num_bytes > MAX_BYTES:
        raise VerifyError(f"unpacked it has {len(names):,} files of {num_bytes:,} bytes")
    if len(set(names)) < len(names):
        raise VerifyError("it holds a file twice")
    tops = {name.partition("/")[0] for name in names}
    packages, metadata = ([top for top in tops if re.fullmatch(kind, top)] for kind in (PACKAGE, METADATA))
    strange = next(
        (name for name in names if not _is_plain(name) or name.partition("/")[0] not in packages + metadata), ""
    )
    if strange:
        raise VerifyError(f"it holds {quoted(strange, 120)}, which is part of no export")
    if len(packages) != 1 or len(metadata) != 1:
        raise VerifyError(f"it holds {len(packages)} packages of the name of one, and metadata of {len(metadata)}")
    return packages[0], metadata[0]


def _is_plain(name: str) -> bool:
    """Tell whether a path leads to a file below a folder, and to the same one wherever it is unpacked."""
    parts = PurePosixPath(name).parts
    return len(parts) > 1 and name == "/".join(parts) and ".." not in parts and "\\" not in name


def _points(described: PathDistribution) -> list[tuple[str, str, str]]:
    """Give what Python finds of its entry points: group, name and what is loaded."""
    try:
        return sorted((each.group, each.name, each.value) for each in described.entry_points)
    except TypeError as error:  # which is how importlib tells of a line without "="
        raise VerifyError("its entry_points.txt holds a line that is no entry point") from error


def _card(content: bytes) -> Card:
    """Read what the wheel says of itself."""
    if len(content) > MAX_CARD_BYTES:
        raise VerifyError(f"its exported.json has more than {MAX_CARD_BYTES:,} bytes")
    try:
        return Card.model_validate_json(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = f", {quoted('.'.join(map(str, wrong['loc'])), 80)}" if wrong["loc"] else ""
        raise VerifyError(f"its exported.json{place}: {wrong['msg']}") from None


def _check_program(package: str, card: Card) -> None:
    """Raise VerifyError unless the program means what the wheel is named after."""
    try:
        program = load_program(card.text).with_values(**card.values)
        digest = trace(program, Shape(card.shape.group, card.shape.head_dim)).digest
    except ProgramError as error:
        raise VerifyError(f"its program is refused: {error}") from error
    if digest != card.digest:
        raise VerifyError(f"its program means {digest}, but {card.digest} was exported")
    if package != Names(digest).package:
        raise VerifyError(f"its package is {package}, but that of its program is {Names(digest).package}")


def _entry_points(card: Card) -> list[tuple[str, str, str]]:
    """Give what vLLM finds of it: group, name and what is loaded."""
    names = Names(card.digest)
    return [(group, names.plugin, place) for group, place in names.entry_points.items()]
