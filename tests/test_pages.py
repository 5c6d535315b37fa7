"""The changelog stands by version, and the security policy names what is there."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHANGELOG, SECURITY = ((ROOT / name).read_text() for name in ("CHANGELOG.md", "SECURITY.md"))


def test_the_newest_version_of_the_changelog_is_the_projects():
    versions = re.findall(r"^## (\d{4}\.\d{1,2}\.\d+)", CHANGELOG, re.MULTILINE)
    assert versions[0] == VERSION
    assert versions == sorted(set(versions), key=lambda v: [*map(int, v.split("."))], reverse=True)


def test_each_version_tells_of_each_subject_once():
    for version in re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]:
        heading, *subjects = re.split(r"^### (.+)$", version, flags=re.MULTILINE)
        names, bodies = subjects[::2], subjects[1::2]
        assert not re.search(r"^\* ", heading, re.MULTILINE), "a line stands below its subject"
        assert len(names) == len(set(names)) > 3
        assert all(re.search(r"^\* ", body, re.MULTILINE) for body in bodies)


def test_what_the_policy_names_in_the_code_is_there():
    named = [word for word in re.findall(r"`([\w./]+/[\w./]*)`", SECURITY) if not word.startswith("~")]
    assert {"vortex_dsl/frontend/", "vortex_dsl/codegen/emitted.py"} <= set(named)
    assert [word for word in named if not (ROOT / word).exists()] == []


def test_the_policy_says_where_to_report():
    assert "Report a vulnerability" in SECURITY
