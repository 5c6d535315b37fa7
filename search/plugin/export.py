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
from dataclasses import asdict, dataclass
from importlib.metadata import distribution, version
from pathlib import Path
from typing import TYPE_CHECKING

from search.naming.renaming import modules_of, rename_imports
from search.records import Stage, Status
from vortex_dsl import load_program

if TYPE_CHECKING:
    from search.records import Environment, Evaluation, Record, Workload

ROOT = Path(__file__).resolve().parents[2]
VERIFIED = (Stage.PROBE, Stage.SERVE)  # stages whose answers are recorded and can be asked again
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
license-files = ["LICENSE"]
dependencies = []

[project.entry-points."vllm.general_plugins"]
{plugin} = "{package}.serving.plugin:register"

[project.entry-points."vllm.platform_plugins"]
{plugin} = "{package}.serving.plugin:platform"

[tool.hatch.build.targets.wheel]
packages = ["{package}"]
"""

README = """# {distribution}

The page-selection program **{name}** as a plugin for an unmodified vLLM.

    import vllm

    llm = vllm.LLM("MODEL", attention_backend="CUSTOM", block_size={page_size})

vLLM 0.32, torch and triton must be installed already: vLLM is distributed under more than one name, so this wheel
does not name it as a dependency. Where several such plugins are installed, `VORTEX_PLUGIN={plugin}` selects this
one. On a CPU, vLLM runs dense attention and says nothing where VLLM_PLUGINS is set and does not name {plugin}, or
where VLLM_TARGET_DEVICE=cpu is set: leave both out.

    {scores}

The program, its tunables and where the numbers come from are in `{package}/exported.json`. The runtime around it is
that of Vortex Search {version}, under the Apache License 2.0, whose text is in the wheel's metadata.
"""


class ExportError(ValueError):
    """The program cannot be exported; the message says why and what to do."""


@dataclass(frozen=True)
class Names:
    """What an export is called: all three carry the digest."""

    digest: str

    @property
    def package(self) -> str:
        """Name the Python package that holds the runtime."""
        return f"vortex_{self.digest[:12]}"

    @property
    def plugin(self) -> str:
        """Name the entry points; what VORTEX_PLUGIN selects."""
        return f"vortex-{self.digest[:12]}"

    @property
    def distribution(self) -> str:
        """Name the wheel."""
        return f"vortex-plugin-{self.digest[:12]}"


@dataclass(frozen=True)
class Circumstances:
    """Where the exported numbers come from: the workload by whose answers a wheel is verified, model and machine."""

    workload: Workload
    model: str
    environment: Environment


def answered(record: Record, ratio: float | None = None) -> Evaluation | None:
    """Give the evaluation by whose recorded answers a wheel is verified, None where there is none."""
    done = (record.evaluation(stage, ratio) for stage in VERIFIED)
    return next((e for e in done if e is not None and e.status is Status.OK and e.answers), None)


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
        card = provenance(record, circumstances)
        (project / names.package / "exported.json").write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")
        _describe(project, names, record)
        return _build(project, out_dir)


def provenance(record: Record, circumstances: Circumstances) -> dict[str, object]:
    """Give what the wheel says about itself: program, tunables, scores with intervals, where they were measured."""
    candidate = record.candidate
    return {
        "name": candidate.name,
        "digest": candidate.program_digest,
        "text": candidate.proposal.text,
        "values": dict(candidate.proposal.values),
        "origin": f"{candidate.proposal.proposer}/{candidate.proposal.operator}",
        "parents": list(candidate.proposal.parents),
        "environment": asdict(circumstances.environment),
        "workload": asdict(circumstances.workload),
        "model": Path(circumstances.model).name,
        "runtime": version("vortex-search"),
        "evaluations": [
            {
                "key": asdict(e.key),
                "status": e.status,
                "answers": e.answers,
                "measurements": [asdict(m) for m in e.measurements],
            }
            for e in record.evaluations
        ],
    }


def _vendor(target: Path, package: str) -> None:
    """Copy the runtime into `target` with its absolute imports pointed at `package`."""
    ignore = shutil.ignore_patterns(*LEFT_OUT)
    shutil.copytree(ROOT / "vortex_dsl", target, ignore=ignore)
    renames, modules = {"vortex_dsl": package}, modules_of(ROOT, "vortex_dsl")
    if not (target / "kernels").exists():  # they stand beside it in the repository, and within it where it is installed
        shutil.copytree(ROOT / "kernels", target / "kernels", ignore=ignore)
        renames, modules = renames | {"kernels": f"{package}.kernels"}, modules | modules_of(ROOT, "kernels")
    for path in target.rglob("*.py"):
        path.write_text(rename_imports(path.read_text(), renames, modules))


def _describe(project: Path, names: Names, record: Record) -> None:
    """Write the project's metadata, README and the licence of its runtime."""
    facts = {
        "distribution": names.distribution,
        "package": names.package,
        "plugin": names.plugin,
        "version": version("vortex-search"),
        "name": record.candidate.name,
        "summary": f"{record.candidate.name}: sparse attention for vLLM, found by Vortex Search",
        "page_size": _page_size(record),
        "scores": _scores(record),
    }
    (project / "pyproject.toml").write_text(PROJECT.format(**facts))
    (project / "README.md").write_text(README.format(**facts))
    (project / "LICENSE").write_text(_licence())


def _licence() -> str:
    """Give the text that the runtime may be passed on under, as this project was installed with it."""
    text = distribution("vortex-search").read_text("licenses/LICENSE")
    if not text:
        raise ExportError("vortex-search was installed without its licence, which an export carries: install it again")
    return text


def _page_size(record: Record) -> int:
    """Give the tokens of one page, which is the block that vLLM must use."""
    program = load_program(record.candidate.proposal.text)
    return int(program.with_values(**dict(record.candidate.proposal.values)).values["page_size"])


def _scores(record: Record) -> str:
    """Give one line with what was measured."""
    found = []
    told = ((Stage.FIDELITY, "kl"), (Stage.RETRIEVAL, "accuracy"), (Stage.PROBE, "accuracy"), (Stage.SERVE, "speedup"))
    for stage, name in told:
        evaluation = record.evaluation(stage)
        m = evaluation.measurement(name) if evaluation else None
        if m is not None and m.low is not None and m.high is not None:
            found.append(f"{name} {m.value:.3f} [{m.low:.3f}, {m.high:.3f}]")
    return ", ".join(found)


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
