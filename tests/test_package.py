"""What is shipped: a wheel that stands beside anybody's modules, and sources of which it can be built and tested."""

import ast
import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from hashlib import sha256
from pathlib import Path

import pytest

from hatch_build import HOMES
from search.naming.names import SHARED
from search.plugin.verify import fresh_environment
from tests.strangers import stranger

ROOT = Path(__file__).resolve().parent.parent
# Of the text at https://www.apache.org/licenses/LICENSE-2.0.txt
APACHE = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
# What an installed copy does that names modules in strings, as text or by where files stand.
USED = """
import importlib.util, json, sys
import kernels, prompts, search
from vortex_search import Campaign
from vortex_search.campaigns.api import Campaign as same
from vortex_search.evaluator.arms import HOST
from vortex_search.plugin.export import runtime
from vortex_search.prompts import prompt
from vortex_search.report.page import _template
from vortex_search.store.ledger import SqlLedger
from vortex_dsl.codegen.emitted import helpers
assert Campaign is same
assert importlib.util.find_spec(HOST[2]).origin.endswith("vortex_search/evaluator/host.py")
assert "dot" not in helpers() and len(helpers()) > 3
assert prompt("edits") and _template()
SqlLedger("sqlite:///kept.db").close()
assert {"serving/plugin.py", "kernels/arithmetic.py", "kernels/host/cpu.py"} <= runtime("exported").keys()
print(json.dumps({each.__name__: each.THEIRS for each in (kernels, prompts, search)}))
"""


def build(kind, root, folder):
    """Build as pip does, without a network; give the file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder]
    subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel(built):
    return contents(built)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """Give the folder that the sdist unpacks to."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", ROOT, folder)) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Give the `bin` of an environment with the wheel, what it needs, and strangers of the names of our folders."""
    folder = tmp_path_factory.mktemp("installed")
    python = fresh_environment(folder, built)
    strangers = [stranger(folder, "kernels", "0.17.5", "kernels"), stranger(folder, "words", "2", "search", "prompts")]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", *strangers]
    subprocess.run(pip, check=True, capture_output=True, timeout=120)
    return python.parent


def run(*command, cwd):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def metadata(wheel, name):
    """Give a file of the wheel's metadata."""
    return next(content for path, content in wheel.items() if path.endswith(f".dist-info/{name}"))


def tracked():
    """Give the repository's files; there is no list of them in an unpacked sdist."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: git has no list of the files")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def shipped(path):
    """Give where a wheel holds a file of the repository; None for one of no package of ours."""
    package, _, rest = path.partition("/")
    return f"{HOMES[package].replace('.', '/')}/{rest}" if package in HOMES else None


def test_the_wheel_holds_every_file_of_the_four_packages_and_nothing_else(wheel):
    expected = {place for path in tracked() if (place := shipped(path))}
    assert {name for name in wheel if ".dist-info/" not in name} == expected


def test_nothing_but_names_differs_from_the_repository(wheel):
    for path in ROOT.glob("search/**/*.py"):
        ours, theirs = path.read_text().splitlines(), wheel[shipped(str(path.relative_to(ROOT)))].decode().splitlines()
        different = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
        assert all("vortex_search" in b or "vortex_dsl.kernels" in b for _, b in different), path


@pytest.mark.parametrize("package", ["vortex_dsl", "vortex_dsl/kernels", "vortex_search", "vortex_search/prompts"])
def test_a_package_says_that_it_is_typed(wheel, package):
    assert f"{package}/py.typed" in wheel


def test_the_licence_is_named_and_in_the_wheel(wheel):
    told = Parser().parsestr(metadata(wheel, "METADATA").decode())
    assert (told["License-Expression"], told.get_all("License-File")) == ("Apache-2.0", ["LICENSE"])
    assert sha256(metadata(wheel, "licenses/LICENSE")).hexdigest() == APACHE


def test_no_source_in_the_wheel_imports_a_name_that_others_bear(wheel):
    strange = []
    for path, content in wheel.items():
        for node in ast.walk(ast.parse(content)) if path.endswith(".py") else ():
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            strange += [(path, name) for name in names if name.partition(".")[0] in SHARED]
    assert strange == []


def test_the_sources_hold_every_file_of_the_repository(unpacked):
    there = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert set(tracked()) - there == set()


def test_a_wheel_built_from_the_sources_is_the_same(unpacked, wheel, tmp_path):
    assert contents(build("wheel", unpacked, tmp_path)) == wheel


def test_tests_run_in_the_unpacked_sources(unpacked):
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "tests/search/naming/test_renaming.py"]
    path = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(command, cwd=unpacked, env=path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_it_works_beside_strangers_of_the_same_names_and_they_beside_it(installed, tmp_path):
    told = run(installed / "python", "-c", USED, cwd=tmp_path)
    assert ast.literal_eval(told) == {"kernels": "kernels", "prompts": "words", "search": "words"}


def test_the_command_runs_from_any_folder(installed, tmp_path):
    assert "leaderboard" in run(installed / "vortex", "--help", cwd=tmp_path)
    assert "quest" in run(installed / "vortex", "check", ROOT / "vortex_dsl" / "zoo" / "quest.py", cwd=tmp_path).lower()


def test_doctor_says_that_the_names_are_its_own(installed, tmp_path):
    told = run(
        installed / "python", "-c", "from vortex_search.naming.names import examine; print(examine())", cwd=tmp_path
    )
    assert told == "Seen(level='ok', seen=\"vortex_search and vortex_dsl, which are nobody else's\", remedy='')\n"
