"""Wheels of people who mean harm: each is refused in one sentence before anything of it is unpacked or run."""

import json
import re
import zipfile

import pytest

from search.plugin import verify, wheel
from search.plugin.names import Names
from search.plugin.said import Asked
from tests.search.plugin.conftest import DIGEST, PACKAGE
from vortex_dsl import zoo

OTHER = Names("0123456789ab")


@pytest.fixture(scope="module")
def export(wheel):
    """Give what is in an exported wheel: files by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def forged(export, tmp_path):
    """Give what writes a wheel like the exported one, with some files added, changed or (None) left out."""

    def written(files=(), **card):
        held = export | dict(files)
        path = f"{PACKAGE}/exported.json"
        if card:
            held[path] = json.dumps(json.loads(held[path]) | card).encode()
        forged = tmp_path / "forged.whl"
        with zipfile.ZipFile(forged, "w") as archive:
            for name, data in held.items():
                if data is not None:
                    archive.writestr(name, data)
        return forged

    return written


@pytest.fixture
def runtime(export, monkeypatch):
    """Let what this project would write be what the exported wheel holds, for writing it again takes seconds."""
    own = {name.partition("/")[2]: data for name, data in export.items() if name.startswith(f"{PACKAGE}/")}
    del own["exported.json"]
    monkeypatch.setattr(verify, "runtime", {PACKAGE: own}.__getitem__)


def metadata(export):
    return next(name.partition("/")[0] for name in export if ".dist-info/" in name)


def refused(path):
    """Read a wheel, and give the sentence with which it is refused."""
    with pytest.raises(verify.VerifyError) as told:
        verify.read_wheel(path)
    sentence = str(told.value)
    assert sentence.startswith(f"{path}: not a wheel that `vortex export` wrote: ")
    assert sentence.isprintable()
    return sentence


def test_what_export_wrote_is_read(wheel):
    read = verify.read_wheel(wheel)
    assert (read.package, read.card.digest, read.file_name) == (PACKAGE, DIGEST, wheel.name)
    assert verify._strange_files(read) == ()
    assert verify._code(read, ()).startswith(f"code: {len(read.code)} files, each as this project's version")


@pytest.mark.parametrize(
    "name",
    ["evil.pth", "../evil.py", "/evil.py", f"{PACKAGE}/../../evil.py", f"{PACKAGE}/..\\evil.py", "vllm/__init__.py",
     f"{PACKAGE}.data/scripts/python", "torch-9.9.dist-info/METADATA", f"{PACKAGE}/", "evil\x1b[2J.pth"],
)  # fmt: skip
def test_a_file_that_no_export_has(forged, name):
    """What runs by itself, leads elsewhere, or takes the place of another package."""
    assert "which is part of no export" in refused(forged({name: b"import os"}))


def test_a_second_package_and_second_metadata(forged):
    assert "it holds 2 packages" in refused(forged({f"{OTHER.package}/__init__.py": b""}))
    assert "metadata of 2" in refused(forged({"vortex_plugin_0123456789ab-1.dist-info/METADATA": b""}))


def test_a_file_that_is_there_twice(export, tmp_path):
    """Who reads the first is told otherwise than who reads the last."""
    twice = tmp_path / "twice.whl"
    with zipfile.ZipFile(twice, "w") as archive:
        for name, data in export.items():
            archive.writestr(name, data)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(f"{PACKAGE}/exported.json", b"{}")
    assert "it holds a file twice" in refused(twice)


@pytest.mark.parametrize(
    "more",
    ["[console_scripts]\n../../../../evil = os:system\n", "[vllm.general_plugins]\nevil = os:system\n",
     "[vllm.platform_plugins]\n; evil = os:system\n", "[pytest11]\nevil = os\n"],
)  # fmt: skip
def test_entry_points_beside_those_of_the_plugin(export, forged, more):
    path = f"{metadata(export)}/entry_points.txt"
    assert "its entry points are not" in refused(forged({path: export[path] + b"\n" + more.encode()}))
    assert "its entry points are not" in refused(forged({path: None}))


@pytest.mark.parametrize("more", ["[\n", "[console_scripts]\nevil\n"])
def test_a_line_that_is_no_entry_point(export, forged, more):
    path = f"{metadata(export)}/entry_points.txt"
    assert "holds a line that is no entry point" in refused(forged({path: export[path] + b"\n" + more.encode()}))


@pytest.mark.parametrize("more", ["Requires-Dist: evil", "requires-dist: evil; extra == 'x'"])
def test_packages_that_pip_would_bring_along(export, forged, more):
    """Its code may be this project's, byte for byte, and installing it without --no-deps still runs theirs."""
    path = f"{metadata(export)}/METADATA"
    assert "it asks pip for 'evil" in refused(forged({path: more.encode() + b"\n" + export[path]}))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"num_tokens": 10**12}, "'workload.num_tokens': Input should be less than"),
        ({"num_sequences": 4096, "num_tokens": 1 << 20, "lengths": []}, "its prompts have more than 8,388,608 tokens"),
        ({"lengths": [3, 4]}, "num_tokens is the longest of lengths"),
        ({"source": "../../../../etc/passwd"}, "'workload.source': String should match"),
        ({"stage": "check"}, "'workload.stage': Input should be"),
        ({"split": 7}, "'workload.split': Input should be"),
    ],
)
def test_a_workload_that_would_fill_memory_or_leads_elsewhere(export, forged, changed, told):
    asked = json.loads(export[f"{PACKAGE}/exported.json"])["workload"]
    assert told in refused(forged(workload=asked | changed))


@pytest.mark.parametrize("source", ["", "text:0123456789abcdef", "library:0123456789abcdef"])
def test_a_workload_names_any_text_that_a_campaign_may_have(export, source):
    asked = json.loads(export[f"{PACKAGE}/exported.json"])["workload"]
    assert Asked.model_validate_json(json.dumps(asked | {"source": source})).workload.source == source


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"text": zoo.text("centroid")}, "its program means"),
        ({"values": {"pages": 1, "page_size": 32}}, "its program means"),
        ({"text": "import os\nos.system('evil')"}, "its program is refused"),
        ({"values": {"<script>": [1]}}, "'values.<script>"),
        ({"shape": {"group": 10**9, "head_dim": 64}}, "'shape.group': Input should be less than"),
        ({"name": "<script>" * 1000}, "'name': String should have at most 200 characters"),
    ],
)
def test_a_card_that_does_not_say_what_was_exported(forged, changed, told):
    assert told in refused(forged(**changed))


@pytest.mark.parametrize("card", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"name": ' + b"9" * 10_000 + b"}"])
def test_a_card_that_is_none(forged, card):
    assert "its exported.json" in refused(forged({f"{PACKAGE}/exported.json": card}))


def test_a_package_that_claims_the_name_of_another(export, tmp_path):
    renamed = tmp_path / "renamed.whl"
    with zipfile.ZipFile(renamed, "w") as archive:
        for name, data in export.items():
            archive.writestr(name.replace(PACKAGE, OTHER.package), data)
    assert f"its package is {OTHER.package}, but that of its program is {PACKAGE}" in refused(renamed)


def test_what_is_too_large_is_refused_before_it_is_read(forged, monkeypatch):
    monkeypatch.setattr(wheel, "MAX_PACKED_BYTES", 100)
    assert "it has more than 100 bytes" in refused(forged())
    monkeypatch.undo()
    monkeypatch.setattr(wheel, "MAX_BYTES", 1000)
    assert re.search(r"unpacked it has \d+ files of [\d,]+ bytes", refused(forged()))
    monkeypatch.undo()
    monkeypatch.setattr(wheel, "MAX_CARD_BYTES", 10)
    assert "its exported.json has more than 10 bytes" in refused(forged())


def test_what_is_no_archive_is_refused(tmp_path):
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"PK\x03\x04 no more")
    assert "it is no sound archive" in refused(broken)
    with pytest.raises(verify.VerifyError, match="Is a directory"):
        verify.read_wheel(tmp_path)


def test_code_that_this_project_did_not_write_is_told_and_runs_in_a_sandbox_or_not_at_all(forged, runtime, monkeypatch):
    read = verify.read_wheel(forged({f"{PACKAGE}/serving/plugin.py": b"import os"}))
    monkeypatch.setattr(verify, "bubblewrap", lambda: "/usr/bin/bwrap")
    assert verify._strange_files(read) == ("serving/plugin.py",)
    monkeypatch.setattr(verify, "bubblewrap", lambda: None)
    with pytest.raises(
        verify.VerifyError, match=r"forged\.whl is not run, .*'serving/plugin\.py'.*; install bubblewrap"
    ):
        verify._strange_files(read)
