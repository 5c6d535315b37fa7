"""What `vortex export` puts into a wheel, before anything is built, and how it and `vortex verify` are ended."""

import json
import os
import signal
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from search.cli import main
from search.commands import plugin
from search.commands.exits import ExitCode
from search.config import CampaignConfig
from search.plugin.verify import Verification
from search.records import Evaluation, Measurement, Stage, Status, StoredCampaign
from tests.search.plugin.conftest import DIGEST, HERE, WORKLOAD, record

CHECK = replace(WORKLOAD, stage=Stage.CHECK)


class Shelf:
    """A ledger with one candidate."""

    def campaign(self, number):
        return StoredCampaign(0, 1, ("grammar",), "probe", CampaignConfig().to_json(), number)

    def workload(self, digest):
        return {**HERE.workloads, CHECK.digest: CHECK}[digest]

    def environment(self, digest):
        return HERE.environment


def measured():
    """Give a candidate's evaluations, that of the check among them."""
    key = replace(record().evaluations[0].key, stage=Stage.CHECK, workload_digest=CHECK.digest)
    checked = Evaluation(key, Status.OK, measurements=(Measurement("budget", 8.0),), ratio=4.0)
    return (checked, *record().evaluations)


def shelve(monkeypatch, evaluations):
    """Let every database hold one candidate with these evaluations."""

    @contextmanager
    def existing(db):
        yield Shelf()

    monkeypatch.setattr(plugin, "existing", existing)
    monkeypatch.setattr(plugin, "candidate_named", lambda *_: replace(record(), evaluations=evaluations))


def test_figures_of_another_version_of_the_evaluator_stay_out_of_it(monkeypatch, tmp_path):
    """A campaign that went on after an upgrade has both on one machine: a page of both would be of neither."""
    before = tuple(replace(each, key=replace(each.key, evaluator_version="0")) for each in measured())
    exported = []
    shelve(monkeypatch, measured() + before)
    monkeypatch.setattr("search.plugin.export.export_wheel", lambda told, *_: exported.append(told) or tmp_path)
    assert main(["export", "1", "-o", str(tmp_path)]) == 0
    assert {each.key.evaluator_version for each in exported[0].evaluations} == {"1"}
    assert exported[0].candidate.program_digest == DIGEST


def ended_among(folder):
    """Give what makes a folder of temporary files there, and is told to end while it works on them."""

    def ended(*_):
        with tempfile.TemporaryDirectory(dir=folder):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    return ended


def test_an_export_that_is_told_to_end_leaves_no_files(monkeypatch, tmp_path):
    shelve(monkeypatch, measured())
    monkeypatch.setattr("search.plugin.export.export_wheel", ended_among(tmp_path))
    assert main(["export", "1", "-o", str(tmp_path)]) == ExitCode.TERMINATED
    assert not list(tmp_path.iterdir())


def verifying(monkeypatch, folder, verify):
    """Let wheels be read as their names, and be verified by a function; gives the files of two."""
    wheels = [folder / "a.whl", folder / "b.whl"]
    for each in wheels:
        each.write_bytes(b"")
    monkeypatch.setattr("search.plugin.verify.read_wheel", lambda path: SimpleNamespace(file_name=path.name))
    monkeypatch.setattr("search.campaigns.machines.folder_and_name", lambda name: (folder, name))
    monkeypatch.setattr("search.plugin.verify.verify_wheel", verify)
    return wheels


def test_a_verification_that_is_told_to_end_leaves_no_files(monkeypatch, tmp_path):
    wheels = verifying(monkeypatch, tmp_path, ended_among(tmp_path))
    assert main(["verify", str(wheels[0]), "--model", "mine"]) == ExitCode.TERMINATED
    assert sorted(tmp_path.iterdir()) == wheels


@pytest.mark.parametrize(
    ("wrong", "code"), [("", ExitCode.DONE), ("a.whl", ExitCode.REFUSED), ("b.whl", ExitCode.REFUSED)]
)
def test_all_wheels_of_a_folder_are_verified(monkeypatch, tmp_path, capsys, wrong, code):
    """`dist/*.whl` is two of them after the second export."""

    def verified(wheel, _):
        is_same = wheel.file_name != wrong
        return Verification(wheel.file_name, "d", "p", is_same, "x", "x" if is_same else "y", 2, 1, 2)

    words = ["verify", *map(str, verifying(monkeypatch, tmp_path, verified)), "--model", "mine"]
    assert main(words) == code
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["a.whl", "b.whl"]
    assert [line.split()[2] for line in err.splitlines()] == ["a.whl", "b.whl"]
    assert main([*words, "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert {each["name"]: each["same"] for each in told} == {name: name != wrong for name in ("a.whl", "b.whl")}
