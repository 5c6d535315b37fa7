"""Experience of earlier campaigns, and how a campaign's settings keep it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from search.archive.earlier import MAX_CAMPAIGNS, experience_with
from search.archive.experience import Experience
from search.config import CampaignConfig, ConfigError
from search.records import (
    Candidate,
    Evaluation,
    EvaluationKey,
    Measurement,
    Proposal,
    Record,
    Stage,
    Status,
    StoredCampaign,
)

CONFIG = CampaignConfig(model="m", ratios=(8.0,))


def record(step, operator, kl):
    figures = {Stage.CHECK: {"cost_ratio": 8.0}, Stage.FIDELITY: {"kl": kl}}
    found = [
        Evaluation(EvaluationKey("p", stage, "w", "m", "e", "1", 0), Status.OK, "",
                   tuple(Measurement(*each) for each in values.items()), ratio=8.0)
        for stage, values in figures.items()
    ]  # fmt: skip
    return Record(Candidate(1, step, Proposal("", "grammar", operator), Status.OK), tuple(found))


GAINING = [record(0, "seed", 0.5), record(1, "restore", 0.2), record(2, "apply", 0.4), record(3, "apply", 0.4)]


def ledger(*campaigns):
    """A ledger of campaigns, each a model and its records."""
    known = [StoredCampaign(0, 3, ("grammar",), model, CONFIG.to_json(), i) for i, (model, _) in enumerate(campaigns)]
    return SimpleNamespace(campaigns=lambda: known, records=lambda i: campaigns[i][1])


def test_it_is_what_operators_earned_relative_to_all():
    apply, restore = experience_with("m", ledger(("m", GAINING)))
    assert (apply.name, apply.rate, apply.num_candidates) == ("apply", 0.0, 2)
    assert (restore.name, restore.rate, restore.num_candidates) == ("restore", 3.0, 1)


def test_campaigns_count_by_their_candidates():
    elsewhere = [record(0, "seed", 0.5), record(1, "apply", 0.2)]
    apply, restore = experience_with("m", ledger(("m", GAINING), ("m", elsewhere)))
    assert apply.rate == pytest.approx(1 / 3, abs=1e-3)
    assert (apply.num_candidates, restore.num_candidates) == (3, 1)


def test_other_models_and_campaigns_without_gain_tell_nothing():
    assert experience_with("m", ledger(("other", GAINING), ("m", [record(0, "restore", 2.0)]), ("m", []))) == ()


def test_only_the_newest_count():
    old = [("m", [record(0, "old", 0.2)])]
    assert [each.name for each in experience_with("m", ledger(*old, *[("m", GAINING)] * MAX_CAMPAIGNS))] == [
        "apply",
        "restore",
    ]


def test_settings_that_only_a_newer_version_reads_tell_nothing():
    known = ledger(("m", GAINING))
    newer = replace(known.campaigns()[0], settings='{"unheard_of":1}')
    assert experience_with("m", SimpleNamespace(campaigns=lambda: [newer], records=known.records)) == ()


def test_settings_keep_it():
    config = replace(CONFIG, experience=(Experience("restore", 3.0, 1), Experience("apply", 0, 2)))
    assert CampaignConfig.from_json(config.to_json()) == config
    assert CampaignConfig.from_json("{}").experience == ()


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"name": "a", "rate": 1.0}, "does not say its num_candidates"),
        ({"name": "a", "rate": -1.0, "num_candidates": 1}, "give a rate from 0"),
        ({"name": "a", "rate": 1.0, "num_candidates": 0}, "give 1 or more"),
        ({"name": "a", "rate": "x", "num_candidates": 1}, "rate of Experience must be float"),
        ("a", "must be a JSON object"),
    ],
)
def test_settings_that_tell_nonsense_are_refused(told, says):
    with pytest.raises(ConfigError, match=says):
        CampaignConfig.from_json(json.dumps({"experience": [told]}))


def test_there_are_only_so_many_operators():
    with pytest.raises(ConfigError, match="at most 256"):
        replace(CONFIG, experience=tuple(Experience(str(i), 1.0, 1) for i in range(257)))
