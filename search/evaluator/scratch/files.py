"""Writing a file that other processes, or people, read meanwhile."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class DamagedError(Exception):
    """A file is not what was written. What it held can be made again once it is gone."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(f"{path} is damaged ({type(error).__name__}: {error})")
        self.path = path


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Read a file of tensors, in which everything is that should be. Raises DamagedError, or FileNotFoundError."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(path, error) from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let a file be written under another name, so that nobody ever reads a part of it; the last who writes stands."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    os.close(number)
    try:
        write(Path(name))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def publish(path: Path, content: bytes) -> None:
    """Write a file for people to read, whole or not at all."""
    write_atomically(path, lambda part: part.write_bytes(content))
    path.chmod(0o644)


def leave_newest(folder: Path, most_files: int, most_bytes: int, pattern: str = "*.safetensors") -> None:
    """Remove a folder's oldest files, so that at most so many, and so many bytes, are left; never the newest."""
    num_bytes = 0
    for i, (path, stat) in enumerate(newest_first(folder, pattern)):
        num_bytes += stat.st_size
        if i and (i >= most_files or num_bytes > most_bytes):
            path.unlink(missing_ok=True)


def newest_first(folder: Path, pattern: str) -> list[tuple[Path, os.stat_result]]:
    """Give a folder's files, the one written or used last first; whatever others take away meanwhile is left out."""
    found = []
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            found.append((path, path.stat()))
    return sorted(found, key=lambda each: each[1].st_mtime_ns, reverse=True)


@contextmanager
def locked(path: Path, *, shared: bool = False, before_waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold a file's lock: of several processes one makes what all need, and the others wait for it.

    shared: hold it beside others who share it. before_waiting: what those who have to wait do in the meantime.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            before_waiting()
            fcntl.flock(lock, kind)
        yield
