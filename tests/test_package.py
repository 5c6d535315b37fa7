"""What is shipped: the wheel holds every file of the four packages, says that it is typed, and carries its licence."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("search", "vortex_dsl", "kernels", "prompts")
# Of the text at https://www.apache.org/licenses/LICENSE-2.0.txt
APACHE = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel as pip does, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(wheel, name):
    """Give a file of the wheel's metadata."""
    return next(content for path, content in wheel.items() if path.endswith(f".dist-info/{name}"))


def test_the_wheel_holds_every_file_of_the_four_packages(wheel):
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True)
    assert set(tracked.stdout.split()) - set(wheel) == set()


@pytest.mark.parametrize("package", [name for name in PACKAGES if (ROOT / name / "__init__.py").exists()])
def test_a_package_says_that_it_is_typed(wheel, package):
    assert f"{package}/py.typed" in wheel


def test_the_licence_is_named_and_in_the_wheel(wheel):
    told = Parser().parsestr(metadata(wheel, "METADATA").decode())
    assert (told["License-Expression"], told.get_all("License-File")) == ("Apache-2.0", ["LICENSE"])
    assert sha256(metadata(wheel, "licenses/LICENSE")).hexdigest() == APACHE
