"""Runs beside each other take each file once, whole, and end with nothing untaken."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFTEST = """
import pytest


@pytest.fixture(scope="session")
def session():
    yield


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long")
"""
FILE = """
import time
import pytest


@pytest.fixture(scope="module")
def module(session):
    yield


@pytest.mark.parametrize("number", range(3))
def test_it(module, number):
    time.sleep(0.05)
"""
SLOW = FILE.replace("@pytest.mark.parametrize", "@pytest.mark.slow\n@pytest.mark.parametrize")


def runs(folder, *arguments, number=2):
    """Run what is in a folder by so many runs at the same time; give their exit statuses and what each reported."""
    taken = folder / "taken"
    taken.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pytest", "-p", "tests.sharing", "--taken", str(taken), "--rootdir", str(folder)]
    command += ["-c", "/dev/null", "-v", "--import-mode=importlib", *arguments, str(folder)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    told = [each.communicate(timeout=60)[0] for each in both]
    passed = [[line.split()[0] for line in text.splitlines() if " PASSED" in line] for text in told]
    return [each.returncode for each in both], passed, told


def test_each_file_is_taken_once_and_the_slow_ones_first(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in ("a/test_first.py", "a/test_second.py", "b/test_third.py", "b/c/test_fourth.py", "test_last.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(SLOW if "last" in name else FILE)
    statuses, passed, told = runs(tmp_path)
    assert statuses == [0, 0], told
    files = [{name.split("::")[0] for name in names} for names in passed]
    assert not files[0] & files[1]
    assert len(files[0] | files[1]) == 5
    assert len(passed[0]) + len(passed[1]) == 5 * 3
    took = re.compile(r"\d s, +\d+\.\d of a core, \S+\.py")
    assert [len(took.findall(text)) for text in told] == [len(each) for each in files]
    assert "test_last.py" in [Path(names[0].split("::")[0]).name for names in passed if names]


def test_a_failure_is_told_by_the_run_that_had_it(tmp_path):
    (tmp_path / "test_one.py").write_text("def test_it():\n    raise SystemError\n")
    statuses, _, told = runs(tmp_path)
    assert sorted(statuses) == [0, 1], told


def test_where_nothing_is_chosen_both_say_so(tmp_path):
    (tmp_path / "test_one.py").write_text("def test_it():\n    pass\n")
    assert runs(tmp_path, "-k", "other")[0] == [5, 5]


def test_a_run_that_yields_takes_only_what_computes_and_leaves_the_others_the_rest(tmp_path):
    marks = CONFTEST + '    config.addinivalue_line("markers", "vllm: waits")\n'
    (tmp_path / "conftest.py").write_text(marks)
    waits = SLOW.replace("mark.slow", "mark.vllm")
    texts = {"a/test_light.py": FILE, "a/test_slow.py": SLOW, "a/test_waits.py": waits, "b/test_other.py": FILE}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    statuses, (passed,), told = runs(tmp_path, "--yielding", "a/", number=1)
    assert statuses == [0], told
    assert [Path(name.split("::")[0]).name for name in passed] == ["test_light.py"] * 3
    statuses, (passed,), told = runs(tmp_path, number=1)
    assert statuses == [0], told
    assert sorted(Path(name.split("::")[0]).name for name in passed[::3]) == [
        "test_other.py",
        "test_slow.py",
        "test_waits.py",
    ]


def test_a_run_that_yields_begins_with_what_is_named_first(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in ("a/test_first.py", "a/test_second.py", "b/test_third.py", "test_other.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(FILE)
    order = [word for path in ("b/", "a/test_second.py", "a/") for word in ("--yielding", path)]
    statuses, (passed,), told = runs(tmp_path, *order, number=1)
    assert statuses == [0], told
    assert [Path(name.split("::")[0]).stem for name in passed[::3]] == ["test_third", "test_second", "test_first"]
    assert len(passed) == 3 * 3
