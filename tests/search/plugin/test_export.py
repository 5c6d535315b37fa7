"""An exported wheel: it carries all it needs, and nothing in it reaches back to this project."""

import ast
import errno
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.commands.exits import ExitCode, explain
from search.plugin import export
from search.plugin.names import Names
from search.records import Status
from tests.search.plugin.conftest import DIGEST, HERE, PACKAGE, TEXT, VALUES, record
from vortex_dsl import Shape, load_program, trace

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def imported(path):
    """Give the names of the modules that a file imports absolutely."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def test_nothing_in_the_wheel_imports_this_project(installed):
    files = list((installed / PACKAGE).rglob("*.py"))
    strangers = {name for path in files for name in imported(path) if name.split(".")[0] in {"vortex_dsl", "kernels"}}
    assert {"plugin.py", "decode.py", "load.py"} <= {path.name for path in files}
    assert not strangers


def test_the_runtime_works_where_this_project_is_unknown(installed):
    """Loading and tracing through the package's own front door gives the same digest as here."""
    script = f"""
import json, pathlib, sys
sys.modules["vortex_dsl"] = sys.modules["kernels"] = sys.modules["search"] = None
import {PACKAGE} as runtime
from {PACKAGE}.codegen.emitted import helpers
assert helpers(), "emitted kernels are checked by names that stand in the wheel's own kernels"
card = json.loads(pathlib.Path(runtime.__file__).with_name("exported.json").read_text())
program = runtime.load_program(card["text"]).with_values(**card["values"])
print(runtime.trace(program, runtime.Shape(group=4, head_dim=64)).digest)
"""
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(command, env={"PYTHONPATH": str(installed)}, capture_output=True, text=True, check=False)
    here = trace(load_program(TEXT).with_values(**dict(VALUES)), Shape(group=4, head_dim=64))
    assert done.stdout.strip() == here.digest, done.stderr


def test_the_wheel_says_how_it_is_served(wheel, installed):
    """Both entry points, in the README the block size that a GPU needs to be told, and the licence of the runtime."""
    (info,) = installed.glob("*.dist-info")
    points = (info / "entry_points.txt").read_text()
    for group, function in (("vllm.general_plugins", "register"), ("vllm.platform_plugins", "platform")):
        assert f"[{group}]\n{Names(DIGEST).plugin} = {PACKAGE}.serving.plugin:{function}" in points
    told = (info / "METADATA").read_text()
    assert "block_size=32" in told
    assert "\nLicense-Expression: Apache-2.0\n" in told
    assert (info / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_a_candidate_that_failed_the_probe_is_not_exported(tmp_path):
    with pytest.raises(export.ExportError, match="only a program that has answered the probe or was served"):
        export.export_wheel(record(Status.CRASHED), HERE, tmp_path)


def test_an_export_without_the_licence_of_its_runtime_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "distribution", lambda name: SimpleNamespace(read_text=lambda path: None))
    with pytest.raises(export.ExportError, match="installed without its licence"):
        export.export_wheel(record(), HERE, tmp_path)


@pytest.mark.parametrize(
    "changed", [{"name": 'x"\n[tool.hatch.build.hooks.custom]\npath = "evil.py'}, {"program_digest": "../../evil"}]
)
def test_a_record_that_does_not_say_what_its_text_means_is_not_exported(tmp_path, changed):
    """Names of files, of packages and of what builds them are made of it."""
    given = record()
    with pytest.raises(export.ExportError, match=f"but its text means Quest, {DIGEST}"):
        export.export_wheel(replace(given, candidate=replace(given.candidate, **changed)), HERE, tmp_path)
    assert not list(tmp_path.iterdir())


def unwritten(out_dir):
    """Export to where that is not possible; gives the sentence."""
    with pytest.raises(export.OutputError) as told:
        export.export_wheel(record(), HERE, out_dir)
    assert explain(told.value).code is ExitCode.INFRASTRUCTURE
    return str(told.value)


@pytest.mark.parametrize(("place", "why"), [("file", "File exists"), ("file/under", "Not a directory")])
def test_a_folder_that_is_a_file_is_told_before_anything_is_built(tmp_path, monkeypatch, place, why):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(export, "_built", None)
    assert unwritten(tmp_path / place) == f"{tmp_path / place} cannot be written: {why}; name another folder with -o"


def test_a_full_disk_is_told_by_the_wheel_that_it_has_no_room_for(tmp_path, monkeypatch):
    def fill(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")  # as writing raises it: of no file

    monkeypatch.setattr(export, "_built", lambda names, card: ("a.whl", b""))
    monkeypatch.setattr(Path, "write_bytes", fill)
    assert (
        unwritten(tmp_path)
        == f"{tmp_path}/a.whl cannot be written: No space left on device; name another folder with -o"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space"), shutil.Error([("a", "b", "No space")])])
def test_a_full_disk_of_temporary_files_is_told_as_one(tmp_path, monkeypatch, error):
    def fill(names, card):
        raise error

    monkeypatch.setattr(export, "_built", fill)
    told = unwritten(tmp_path)
    assert "among temporary files" in told
    assert "No space" in told
    assert "TMPDIR" in told
