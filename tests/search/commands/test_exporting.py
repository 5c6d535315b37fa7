"""What `vortex export` puts into a wheel, before anything is built."""

from contextlib import contextmanager
from dataclasses import replace

from search.cli import main
from search.commands import plugin
from search.config import CampaignConfig
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


def test_figures_of_another_version_of_the_evaluator_stay_out_of_it(monkeypatch, tmp_path):
    """A campaign that went on after an upgrade has both on one machine: a page of both would be of neither."""
    answered = record().evaluations[0]
    key = replace(answered.key, stage=Stage.CHECK, workload_digest=CHECK.digest)
    checked = Evaluation(key, Status.OK, measurements=(Measurement("budget", 8.0),), ratio=4.0)
    now = (checked, *record().evaluations)
    before = tuple(replace(each, key=replace(each.key, evaluator_version="0")) for each in now)
    exported = []

    @contextmanager
    def existing(db):
        yield Shelf()

    monkeypatch.setattr(plugin, "existing", existing)
    monkeypatch.setattr(plugin, "candidate_named", lambda *_: replace(record(), evaluations=now + before))
    monkeypatch.setattr("search.plugin.export.export_wheel", lambda told, *_: exported.append(told) or tmp_path)
    assert main(["export", "1", "-o", str(tmp_path)]) == 0
    assert {each.key.evaluator_version for each in exported[0].evaluations} == {"1"}
    assert exported[0].candidate.program_digest == DIGEST
