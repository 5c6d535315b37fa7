"""What a child may use and see: by bubblewrap where that works."""

from __future__ import annotations

import functools
import os
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/sys")
SYSTEM_FILES = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "passwd", "group", "hosts")
# Without --cap-drop a child of root could mount again, for writing, what is bound read-only. And root owns the files of
# /proc/sys: without any capability he may still write there, core_pattern for one, which names a command that the
# kernel runs outside.
NAMESPACES = (
    *("--unshare-user-try", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
    *("--cap-drop", "ALL", "--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev"),
    *("--ro-bind", "/proc/sys", "/proc/sys", "--ro-bind-try", "/proc/sysrq-trigger", "/proc/sysrq-trigger"),
)
SQLITE = b"SQLite format 3\0"
BESIDE = ("-wal", "-shm", "-journal")  # what the names of files beside a database end in


@dataclass(frozen=True)
class Box:
    """What a child may use.

    `scratch` is its home and working directory, and the only folder it can write to under bubblewrap; `readable`
    are further folders it can see there, with the files that links in them lead to, databases aside. `memory_bytes`
    limits its address space (0: no limit, as CUDA needs). `environment` are the only variables it gets beside those of
    `INHERITED`.
    """

    scratch: Path
    readable: tuple[Path, ...] = ()
    memory_bytes: int = 0
    environment: tuple[tuple[str, str], ...] = ()

    def variables(self) -> dict[str, str]:
        """Give the child's whole environment."""
        kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
        fixed = {"HOME": str(self.scratch), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
        return kept | fixed | dict(self.environment)

    def wrapped(self, command: tuple[str, ...], calls_from: int | None = None) -> tuple[str, ...]:
        """Give the command as it is run: inside bubblewrap where that works.

        `calls_from`: the open file that bubblewrap reads its filter of the kernel's calls from.
        """
        bwrap = bubblewrap()
        if bwrap is None:
            return command
        filtered = () if calls_from is None else ("--seccomp", str(calls_from))
        return (bwrap, *self._namespaces(command), *filtered, "--", *command)

    def _namespaces(self, command: tuple[str, ...]) -> list[str]:
        arguments = [*NAMESPACES, "--tmpfs", "/tmp"]  # noqa: S108 - the child's own
        visible = [*map(Path, SYSTEM), *(Path("/etc") / name for name in SYSTEM_FILES), *interpreter_folders()]
        linked = [file for folder in self.readable for file in linked_files(folder) if _beginning(file) != SQLITE]
        named = [file for file in map(Path, command) if file.is_absolute() and file.is_file()]
        run = [file for file in named if not any(map(file.is_relative_to, visible))]
        readable = [path for each in self.readable for path in without_databases(each)]
        for path in (*visible, *readable, *linked, *run):
            arguments += ["--ro-bind-try", str(path), str(path)]
        for device in Path("/dev").glob("nvidia*"):
            arguments += ["--dev-bind-try", str(device), str(device)]
        return [*arguments, "--bind", str(self.scratch), str(self.scratch), "--chdir", str(self.scratch)]


def linked_files(folder: Path) -> list[Path]:
    """Give the files elsewhere that links below a folder lead to: the hub keeps a model as links to `../../blobs`."""
    links = [path for path in folder.rglob("*") if path.is_symlink() and path.is_file()]
    targets = {Path(os.path.normpath(link.parent / link.readlink())) for link in links}
    return sorted(target for target in targets if not target.is_relative_to(folder))


def without_databases(path: Path) -> list[Path]:
    """Give what a child may see of a folder: all of it, or, where databases lie there, everything else in it by itself.

    A ledger lies there where somebody runs a campaign beside his model. What was written last stands in files beside
    it, which come and go: only what is there now is seen.
    """
    entries = sorted(path.iterdir()) if path.is_dir() else []
    databases = [each for each in entries if each.is_file() and _beginning(each) == SQLITE]
    if not databases:
        return [path]
    hidden = tuple(f"{each.name}{end}" for each in databases for end in ("", *BESIDE))
    return [each for each in entries if each.name not in hidden]


def _beginning(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(len(SQLITE))
    except OSError:
        return b""


@functools.cache
def interpreter_folders() -> tuple[Path, ...]:
    """Give the folders this interpreter and its packages live in, ours included, outermost first.

    Of a checkout that is the packages alone: beside them lies what a campaign there writes, its ledger for one.
    """
    ours = {found.parent for found in Path(__file__).resolve().parents[3].glob("*/*.py")}
    folders = {Path(sys.prefix), Path(sys.base_prefix), *ours, *map(Path, site.getsitepackages())}
    return tuple(sorted(folder for folder in folders if folder != Path("/")))


@functools.cache
def bubblewrap() -> str | None:
    """Give the path of a bubblewrap that works here; None, after one warning on stderr, where there is none."""
    path = shutil.which("bwrap")
    reason = "bubblewrap (bwrap) is not installed" if path is None else _complaint(path)
    if not reason:
        return path
    sys.stderr.write(
        f"WARNING: {reason}. Programs that others wrote keep their memory limits, their own process group and a clean "
        "environment, but they can reach the network and read whatever you can: your files, the ledger, and the "
        "environment of your other processes, such as a shell's in which keys are set. Install bubblewrap to close "
        "that.\n"
    )
    return None


def _complaint(path: str) -> str:
    """Say why this bubblewrap does not work here; nothing if it does."""
    trial = [path, "--ro-bind", "/", "/", *NAMESPACES, "true"]
    try:
        ended = subprocess.run(trial, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap (bwrap) did not run: {error}"
    said = ended.stderr.decode(errors="replace").strip()
    return f"bubblewrap (bwrap) does not work here: {said}" if ended.returncode else ""
