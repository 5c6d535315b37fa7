"""A discovered program as a wheel: a vLLM plugin that carries its own runtime and depends on nothing of ours.

The runtime is vendored under a package name that carries the program's digest, so that two exports live side by
side and neither hides the other; `serving/plugin.py` decides which of them is active.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.naming.renaming import modules_of, rename_imports
from search.plugin.card import answered, card_of
from search.plugin.names import Names
from search.plugin.page import page

if TYPE_CHECKING:
    from search.plugin.card import Circumstances
    from search.records import Record

ROOT = Path(__file__).resolve().parents[2]
CHECK = Path(__file__).with_name("check.py")  # the conformance test, `python -m PACKAGE.check`
LEFT_OUT = ("zoo", "__pycache__")

PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "{version}"
description = "{summary}"
requires-python = ">=3.11"
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
dependencies = []

[project.entry-points."vllm.general_plugins"]
{plugin} = "{package}.serving.plugin:register"

[project.entry-points."vllm.platform_plugins"]
{plugin} = "{package}.serving.plugin:platform"

[tool.hatch.build.targets.wheel]
packages = ["{package}"]
"""


class ExportError(ValueError):
    """The program cannot be exported; the message says why and what to do."""


def export_wheel(record: Record, circumstances: Circumstances, out_dir: Path) -> Path:
    """Build the wheel of an evaluated candidate into `out_dir` and give its path.

    Raises:
        ExportError: no answers of the candidate are recorded, or the wheel cannot be built.

    """
    if answered(record) is None:
        raise ExportError(
            f"candidate {record.candidate.id} ({record.candidate.name or 'refused'}) has status "
            f"{record.status}: only a program that has answered the probe or was served can be exported"
        )
    names = Names(record.candidate.program_digest)
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        _vendor(project / names.package, names.package)
        card = card_of(record, circumstances)
        (project / names.package / "exported.json").write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")
        _describe(project, names, card)
        return _build(project, out_dir)


def _vendor(target: Path, package: str) -> None:
    """Copy the runtime into `target` with its absolute imports pointed at `package`."""
    ignore = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(ROOT / "vortex_dsl", target, ignore=ignore)
    shutil.copy(CHECK, target)
    renames, modules = {"vortex_dsl": package}, modules_of(ROOT, "vortex_dsl")
    if not (target / "kernels").exists():  # they stand beside it in the repository, and within it where it is installed
        shutil.copytree(ROOT / "kernels", target / "kernels", ignore=ignore)
        renames, modules = renames | {"kernels": f"{package}.kernels"}, modules | modules_of(ROOT, "kernels")
    for path in target.rglob("*.py"):
        path.write_text(rename_imports(path.read_text(), renames, modules))


def _describe(project: Path, names: Names, card: dict[str, Any]) -> None:
    """Write the project's metadata, its page and the licence of its runtime."""
    facts = {
        "distribution": names.distribution,
        "package": names.package,
        "plugin": names.plugin,
        "version": version("vortex-search"),
        "summary": f"{card['name']}: sparse attention for vLLM, found by Vortex Search",
    }
    (project / "pyproject.toml").write_text(PROJECT.format(**facts))
    (project / "README.md").write_text(page(card, names))
    (project / "LICENSE").write_text(_licence())


def _licence() -> str:
    """Give the text that the runtime may be passed on under, as this project was installed with it."""
    text = distribution("vortex-search").read_text("licenses/LICENSE")
    if not text:
        raise ExportError("vortex-search was installed without its licence, which an export carries: install it again")
    return text


def _build(project: Path, out_dir: Path) -> Path:
    """Build the wheel with pip and hatchling, offline."""
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as built:
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", built]
        done = subprocess.run([*command, str(project)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ExportError(f"the wheel could not be built: {done.stderr.strip()[-300:]}")
        wheel = next(Path(built).glob("*.whl"))
        return Path(shutil.move(wheel, out_dir / wheel.name))
