"""An exported wheel: it carries all it needs, and nothing in it reaches back to this project."""

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.evaluator.probe import MODEL_FOLDER
from search.plugin import export, verify
from search.plugin.names import Names
from search.records import Status
from tests.search.plugin.conftest import DIGEST, HERE, PACKAGE, TEXT, VALUES, WORKLOAD, record
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
    assert verify.read_card(wheel)[0] == PACKAGE


def test_a_wheel_too_large_to_be_one_is_refused_unread(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.whl"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{PACKAGE}/exported.json", b" " * (verify.MAX_CARD_BYTES + 1))
    with pytest.raises(verify.VerifyError, match="unpacked it takes"):
        verify.read_card(bomb)


def test_a_wheel_whose_package_could_be_anything_is_refused(tmp_path):
    strange = tmp_path / "strange.whl"
    with zipfile.ZipFile(strange, "w") as archive:
        archive.writestr("os/exported.json", "{}")
    with pytest.raises(verify.VerifyError, match="its package is 'os'"):
        verify.read_card(strange)


def test_what_a_wheel_says_of_itself_is_told_as_one_line_of_text():
    said = verify._sentence({"what": "layers", "seen": "\x1b[2Jall\nis well" + "." * 1000})
    assert said.startswith("layers: \\u001b[2Jall\\u000ais well")
    assert len(said) < 350


def test_a_wheel_is_checked_by_itself_in_the_sandbox(wheel, tmp_path, monkeypatch):
    """Its own check runs, finds the program right, and what it finds wrong is told: here, who was chosen to serve."""
    python = verify.fresh_environment(tmp_path, wheel)
    monkeypatch.setitem(verify.VARIABLES, "VORTEX_PLUGIN", "vortex-other")
    request = {"model": str(MODEL_FOLDER), "engine": {}, "prompts": [[1]], "num_tokens": 1}
    with pytest.raises(
        verify.VerifyError, match=r"fails its own check: plugin: VORTEX_PLUGIN names vortex-other; set it to"
    ):
        verify._check(python, PACKAGE, request)


def test_a_candidate_that_failed_the_probe_is_not_exported(tmp_path):
    with pytest.raises(export.ExportError, match="only a program that has answered the probe or was served"):
        export.export_wheel(record(Status.CRASHED), HERE, tmp_path)


def test_verification_fails_where_another_share_of_pages_is_read(installed):
    """Right answers alone prove nothing: dense attention gives them too."""
    card = json.loads((installed / PACKAGE / "exported.json").read_text())
    verify._check_pages(card["evaluations"][0], {"pages_attended": 220, "pages_dense": 2200})
    for reads in ({"pages_attended": 2200, "pages_dense": 2200}, {"pages_attended": 0, "pages_dense": 0}):
        with pytest.raises(verify.VerifyError, match=r"where its evaluation recorded 10\.00%"):
            verify._check_pages(card["evaluations"][0], reads)


def test_verification_serves_as_the_evaluation_did(installed):
    card = json.loads((installed / PACKAGE / "exported.json").read_text())
    engine = verify._engine(card, WORKLOAD, str(MODEL_FOLDER))
    assert engine["block_size"] == 32
    assert engine["max_model_len"] >= WORKLOAD.num_tokens


def test_an_export_without_the_licence_of_its_runtime_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "distribution", lambda name: SimpleNamespace(read_text=lambda path: None))
    with pytest.raises(export.ExportError, match="installed without its licence"):
        export.export_wheel(record(), HERE, tmp_path)
