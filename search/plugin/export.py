"""A discovered program as a wheel: a vLLM plugin that carries its own runtime and depends on nothing of ours.

The runtime is vendored under a package name that carries the program's digest, so that two exports live side by
side and neither hides the other; `serving/plugin.py` decides which of them is active.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from importlib.metadata import distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.scratch.files import publish
from search.naming.renaming import modules_of, rename_imports
from search.plugin.card import answered, card_of
from search.plugin.names import Names
from search.plugin.page import page
from vortex_dsl import load_program, trace
from vortex_dsl.errors import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search.plugin.card import Circumstances
    from search.records import Candidate, Record
    from vortex_dsl import Shape

ROOT = Path(__file__).resolve().parents[2]
CHECK = Path(__file__).with_name("check.py")  # the conformance test, `python -m PACKAGE.check`
LEFT_OUT = ("zoo", "__pycache__")
MAX_REASON = 300  # characters of what pip or shutil say
ROOM = "let TMPDIR name a folder with room for 20 MB"

PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{names.distribution}"
version = "{version}"
description = "{program}: sparse attention for vLLM, found by Vortex Search"
requires-python = ">=3.11"
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
dependencies = []
{entry_points}
[tool.hatch.build.targets.wheel]
packages = ["{names.package}"]
"""
ENTRY_POINT = """
[project.entry-points."{group}"]
{names.plugin} = "{place}"
"""


class ExportError(ValueError):
    """The program cannot be exported; the message says why and what to do."""


class OutputError(ExportError):
    """The wheel cannot be written, to where it goes or while it is built."""


def export_wheel(record: Record, circumstances: Circumstances, out_dir: Path) -> Path:
    """Build the wheel of an evaluated candidate into `out_dir` and give its path.

    Raises:
        ExportError: no answers of the candidate are recorded, its text does not mean what was measured, or the wheel
            cannot be built.
        OutputError: a disk is full or a folder cannot be written to.

    """
    if answered(record) is None:
        raise ExportError(
            f"candidate {record.candidate.id} ({record.candidate.name or 'refused'}) has status "
            f"{record.status}: only a program that has answered the probe or was served can be exported"
        )
    _check_is_what_was_measured(record.candidate, circumstances.terms.shape)
    names, card = Names(record.candidate.program_digest), card_of(record, circumstances)
    with _writing(out_dir):  # before the seconds that building takes
        out_dir.mkdir(parents=True, exist_ok=True)
    try:
        name, content = _built(names, card)
    except OSError as error:
        why = error.strerror or str(error)[:MAX_REASON]  # shutil tells all files that it could not copy
        raise OutputError(f"the wheel cannot be built among temporary files: {why}; {ROOM}") from error
    wheel = out_dir / name
    with _writing(wheel):
        publish(wheel, content)
    return wheel


def runtime(package: str) -> dict[str, bytes]:
    """Give what an export of this version holds under that package's name beside `exported.json`, by path within it."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / package
        _write_runtime(target, package)
        return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say what cannot be written, and what to do. Raises OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; name another folder with -o") from error


def _check_is_what_was_measured(candidate: Candidate, shape: Shape) -> None:
    """Raise ExportError where a text and its digest or name part: of these the wheel's names and metadata are made."""
    program = load_program(candidate.proposal.text).with_values(**dict(candidate.proposal.values))
    digest = trace(program, shape).digest
    if (digest, program.name) != (candidate.program_digest, candidate.name):
        raise ExportError(
            f"candidate {candidate.id} is recorded as {quoted(candidate.name)}, {quoted(candidate.program_digest)}, "
            f"but its text means {program.name}, {digest}: the record was changed, or an older version measured it; "
            "measure it again"
        )


def _write_runtime(target: Path, package: str) -> None:
    """Copy the runtime into `target` with its absolute imports pointed at `package`."""
    ignore = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(ROOT / "vortex_dsl", target, ignore=ignore)
    shutil.copy(CHECK, target)
    renames, modules = {"vortex_dsl": package}, modules_of(ROOT, "vortex_dsl")
    if not (target / "kernels").exists():  # they stand beside it in the repository, and within it where it is installed
        shutil.copytree(ROOT / "kernels", target / "kernels", ignore=ignore)
        renames, modules = renames | {"kernels": f"{package}.kernels"}, modules | modules_of(ROOT, "kernels")
    for path in target.rglob("*.py"):
        path.write_text(rename_imports(path.read_text("utf-8"), renames, modules), "utf-8")


def _describe(project: Path, names: Names, card: dict[str, Any]) -> None:
    """Write the project's metadata, its page and the licence of its runtime."""
    points = "".join(
        ENTRY_POINT.format(names=names, group=group, place=place) for group, place in names.entry_points.items()
    )
    described = PROJECT.format(names=names, version=version("vortex-search"), program=card["name"], entry_points=points)
    (project / "pyproject.toml").write_text(described, "utf-8")
    (project / "README.md").write_text(page(card, names), "utf-8")
    (project / "LICENSE").write_text(_licence(), "utf-8")


def _licence() -> str:
    """Give the text that the runtime may be passed on under, as this project was installed with it."""
    text = distribution("vortex-search").read_text("licenses/LICENSE")
    if not text:
        raise ExportError("vortex-search was installed without its licence, which an export carries: install it again")
    return text


def _built(names: Names, card: dict[str, Any]) -> tuple[str, bytes]:
    """Give the name and the bytes of the wheel with that card."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        _describe(project, names, card)
        _write_runtime(project / names.package, names.package)
        (project / names.package / "exported.json").write_text(
            json.dumps(card, indent=2, sort_keys=True) + "\n", "utf-8"
        )
        return _build(project)


def _build(project: Path) -> tuple[str, bytes]:
    """Build the wheel with pip and hatchling, offline."""
    with tempfile.TemporaryDirectory() as built:
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", built]
        done = subprocess.run(
            [*command, str(project)],
            env=os.environ | {"TMPDIR": built},  # where what pip leaves when it is killed goes with the folder
            capture_output=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        if done.returncode:
            raise ExportError(f"the wheel could not be built: {done.stderr.strip()[-MAX_REASON:]}")
        wheel = next(Path(built).glob("*.whl"))
        return wheel.name, wheel.read_bytes()
