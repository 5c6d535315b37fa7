"""Somebody else's `kernels` or `search` in the place of ours: seen by doctor, refused by every other command."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from search.naming import names
from tests.strangers import stranger

ROOT = Path(__file__).resolve().parents[3]
COMMAND = "from vortex_search import main; raise SystemExit(main())"


@pytest.fixture
def theirs(tmp_path):
    """Give a folder of packages as pip leaves one: Hugging Face's `kernels`, and somebody's `prompts` and `search`."""
    for wheel in (stranger(tmp_path, "kernels", "0.17.5", "kernels"), stranger(tmp_path, "quests", "3", "search")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path / wheel.name.split("-")[0])
    return tmp_path


def command(*arguments, before, cwd):
    """Run the `vortex` command as the editable install has it, with folders before all others where modules are."""
    path = os.pathsep.join(map(str, before))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def seen_by_doctor(ran):
    return next(each for each in json.loads(ran.stdout) if each["name"] == "names")


def test_all_are_ours_here():
    assert names.complaint() is None
    assert names.found("kernels") == [ROOT / "kernels"]
    assert names.found("no_such_module") == []


def test_a_module_that_is_not_there_is_told(tmp_path):
    assert "`import no_such_module` finds nothing" in names.complaint(["no_such_module"], tmp_path)


def test_hugging_faces_kernels_is_refused_by_name_and_place(theirs, tmp_path):
    before = (theirs / "kernels", ROOT)  # a package comes before a folder without __init__, wherever that stands
    ran = command("zoo", before=before, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (4, "")
    assert ran.stderr.startswith("vortex: `import kernels` finds that of kernels 0.17.5 (")
    assert str(theirs / "kernels" / "kernels") in ran.stderr
    assert ran.stderr.count("\n") == 1
    found = seen_by_doctor(command("doctor", "--json", before=before, cwd=tmp_path))
    assert found["level"] == "fail"
    assert "kernels 0.17.5" in found["seen"]
    assert found["remedy"].startswith("uninstall it")


def test_somebody_elses_search_is_refused_before_it_is_imported(theirs, tmp_path):
    (theirs / "quests" / "search" / "__init__.py").write_text("raise SystemExit('theirs ran')\n")
    ran = command("zoo", before=(theirs / "quests", ROOT), cwd=tmp_path)
    assert ran.stderr.startswith("vortex: `import search` finds"), ran.stderr
    assert (ran.returncode, ran.stdout) == (4, "")


def test_doctor_tells_whom_ours_hide(theirs, tmp_path):
    found = seen_by_doctor(command("doctor", "--json", before=(ROOT, theirs / "quests"), cwd=tmp_path))
    assert (found["level"], found["seen"]) == ("warn", "ours hide search of quests 3")


def test_without_any_of_them_doctor_is_content(tmp_path):
    found = seen_by_doctor(command("doctor", "--json", before=(ROOT,), cwd=tmp_path))
    assert (found["level"], found["seen"]) == ("ok", "search, kernels, prompts: this project's")
