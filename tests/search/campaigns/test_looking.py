"""From a campaign's settings to what looks at programs for its agents."""

from dataclasses import replace

import pytest

from search.campaigns import machines
from search.config import CampaignConfig
from search.contracts import LookError
from search.records import Stage
from vortex_dsl import zoo


@pytest.fixture
def config(monkeypatch, tmp_path):
    monkeypatch.setattr(machines, "scratch", lambda: tmp_path)
    return CampaignConfig(model="probe")


def looked(config):
    looker = machines.looker_of(config)
    try:
        return looker.look(zoo.text("quest"), ())
    finally:
        looker.close()


def test_where_nothing_was_recorded_here_it_says_so(config):
    with pytest.raises(LookError, match="has not been recorded on this machine"):
        looked(config)


def test_a_campaign_without_recall_has_no_look(config):
    without = tuple(each for each in config.workloads if each.stage is not Stage.RECALL)
    with pytest.raises(LookError, match="recall is none of this campaign's stages"):
        looked(replace(config, workloads=without))


def test_a_model_that_is_not_here_is_a_reason(config):
    with pytest.raises(LookError, match=r"there is no look: .*nowhere"):
        looked(replace(config, model="/nowhere/to/be/found"))
