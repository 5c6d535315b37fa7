"""From what is asked for to a campaign's settings: seed programs, limits, and how they are kept."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from search.agents.baselines import Random
from search.agents.seeds import seed_proposals
from search.campaigns.reading import read_setup
from search.campaigns.settings import seed_programs, settings_of
from search.config import PROPOSERS, CampaignConfig, ConfigError, SeedProgram
from search.evaluator.models import ModelFacts
from search.loop import Loop, start_campaign
from search.records import Stage, Status
from vortex_dsl import ProgramError, Shape, zoo

SHAPE = Shape(2, 64)
PROBE = ModelFacts("probe", Path("model"), "m" * 16, "Llama", 3, 4, 2, 64, 2, 16384, 576)
MINE = zoo.text("quest").replace("class Quest", "class Mine").replace("Int(64", "Int(32")


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_seed_programs_follow_the_zoo_and_go_through_the_loop(ledger, fake, mine):
    setup = read_setup(None, {"seed_programs": [mine], "candidates": 1, "proposers": ["random"]})
    config = CampaignConfig.from_json(settings_of(setup, PROBE).to_json())
    assert config.seed_programs == (SeedProgram(MINE),)
    last = seed_proposals(config)[-1]
    assert (last.text, last.proposer, last.operator, last.values) == (MINE, "given", "seed", ())
    campaign = start_campaign(ledger, config)
    Loop(ledger, fake(4), [Random()], campaign).run()
    found = ledger.records(campaign.id)[len(seed_proposals(config)) - 1].candidate
    assert (found.name, found.status, found.proposal.proposer) == ("Mine", Status.OK, "given")


def test_a_seed_program_that_is_refused_names_file_line_and_column(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(MINE.replace('.sum("dim")', '.sum("dims")'))
    with pytest.raises(ProgramError, match="did you mean 'dim'") as refused:
        seed_programs([bad], SHAPE)
    assert str(refused.value).startswith(f"{bad}:")
    line = next(i for i, each in enumerate(bad.read_text().splitlines(), 1) if '"dims"' in each)
    assert refused.value.line == line


def test_a_seed_program_that_stands_twice_is_refused(mine):
    with pytest.raises(ConfigError, match="are one text"):
        seed_programs([mine, mine], SHAPE)


def test_a_stored_seed_program_is_known_by_its_digest():
    stored = CampaignConfig(seed_programs=(SeedProgram(MINE),)).to_json()
    assert CampaignConfig.from_json(stored).seed_programs[0].text == MINE
    with pytest.raises(ConfigError, match="is another text"):
        CampaignConfig.from_json(stored.replace("class Mine", "class Yours"))


def test_seconds_are_of_each_worker_and_gpu_seconds_of_all(monkeypatch):
    setup = read_setup(None, {"max_seconds": 100.0, "workers": 4})
    assert settings_of(setup, PROBE).max_worker_seconds == 400.0
    both = read_setup(None, {"max_seconds": 100.0, "max_gpu_seconds": 150.0, "workers": 4, "gpus": ["any"]})
    assert settings_of(both, PROBE).max_worker_seconds == 150.0
    assert settings_of(read_setup(), PROBE).max_worker_seconds is None
    monkeypatch.setattr("vortex_dsl.serving.plugin.on_cpu_build", lambda: True)
    with pytest.raises(ConfigError, match="workers here have none"):
        settings_of(read_setup(None, {"max_gpu_seconds": 150.0}), PROBE)


def test_seconds_are_those_of_the_kind_that_decides():
    asked = {"max_gpu_seconds": 100.0, "max_seconds": 20.0}
    found = settings_of(read_setup(None, asked | {"gpus": ["H100=2", "CPU=64"]}), PROBE)
    assert found.max_worker_seconds == 40.0
    assert found.lag == settings_of(read_setup(None, asked | {"gpus": ["H100=2"]}), PROBE).lag
    with pytest.raises(ConfigError, match="workers here have none"):
        settings_of(read_setup(None, asked | {"gpus": ["CPU=64", "H100=2"]}), PROBE)


def test_the_lag_is_what_is_asked_for_or_follows_the_workers():
    assert settings_of(read_setup(None, {"lag": 5}), PROBE).lag == 5
    few, many = (settings_of(read_setup(None, {"workers": n}), PROBE).lag for n in (1, 16))
    assert few < many


def test_options_of_a_campaign_say_how_turns_are_given_and_how_often_agents_reflect():
    from search.commands.asked import ToRun

    asked = ToRun(bandit=False, reflect_every=3)
    config = settings_of(asked.setup(), PROBE)
    assert (config.bandit, config.reflect_every) == (False, 3)
    assert settings_of(ToRun().setup(), PROBE).reflect_every == 8


def test_leaders_are_simplified_unless_a_campaign_says_otherwise_or_is_older():
    from search.commands.asked import ToRun

    config = settings_of(ToRun().setup(), PROBE)
    assert config.simplify_trials == 30
    assert settings_of(ToRun(simplify_trials=0).setup(), PROBE).simplify_trials == 0
    older = {key: value for key, value in json.loads(config.to_json()).items() if key != "simplify_trials"}
    assert CampaignConfig.from_json(json.dumps(older)).simplify_trials == 0
    with pytest.raises(ConfigError, match="simplify_trials must not be negative, but is -1"):
        replace(config, simplify_trials=-1)


def test_turns_of_a_conversation_are_kept_with_the_campaign_and_bounded():
    assert settings_of(read_setup(None, {}), PROBE).turns == 4
    config = settings_of(read_setup(None, {"turns": 2}), PROBE)
    assert CampaignConfig.from_json(config.to_json()).turns == 2
    for turns in (0, 17):
        with pytest.raises(ConfigError, match="turns must be"):
            read_setup(None, {"turns": turns})
        with pytest.raises(ConfigError, match="turns"):
            CampaignConfig(turns=turns)


@pytest.mark.parametrize(
    ("asked", "turns"),
    [
        ({}, PROPOSERS),
        ({"proposers": ["claude"]}, ()),
        ({"proposers": ["random", "claude", "greedy"]}, ("random", "greedy")),
    ],
)
def test_agents_from_outside_have_no_turns(asked, turns):
    setup = read_setup(None, {"outside": ["claude"], **asked})
    config = CampaignConfig.from_json(settings_of(setup, PROBE).to_json())
    assert (config.outside, config.proposers) == (("claude",), turns)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"outside": ["grammar"]}, "another proposer's name"),
        ({"outside": ["claude", "claude"]}, "twice"),
        ({"outside": ["Claude 4"]}, "small letters"),
        ({"outside": ["zoo"]}, "another proposer's name"),
        ({"proposers": ["claude"]}, "no proposer 'claude'"),
        ({"outside": ["a"], "endpoints": {"a": {"llm": "m", "base_url": "http://localhost:1/v1"}}}, "both name 'a'"),
    ],
)
def test_names_of_agents_from_outside_are_nobody_elses(asked, says):
    with pytest.raises(ConfigError, match=says):
        read_setup(None, asked)


@pytest.mark.parametrize(
    ("asked", "timed"),
    [
        ({}, False),
        ({"candidates": 1000}, False),
        ({"candidates": 1000, "gpus": ["H100"]}, True),
        ({"stop_at": "accuracy > 0.9 at 8"}, False),
        ({"stop_at": "accuracy > 0.9 and speedup > 1.2 at 8"}, True),
    ],
)
def test_leaders_are_timed_in_the_end_unless_a_speed_may_end_the_search_or_it_is_long_on_gpus(asked, timed):
    settings = settings_of(read_setup(None, asked), PROBE)
    assert settings.timed_in_search is timed
    assert CampaignConfig.from_json(settings.to_json()).timed_in_search is timed


def test_a_long_campaign_is_choosier_about_who_enters_an_engine(worded):
    """Seventy at a cost ratio in a long one; in a short one the share that recall lets through."""
    real = ModelFacts("tiny", worded, "m" * 16, "Llama", 3, 4, 2, 64, 2, 16384, 576)
    entering = {}
    for candidates in (100, 4000, 8000):
        config = settings_of(read_setup(None, {"candidates": candidates}), real)
        entering[candidates] = candidates * config.screen_share * config.recall_share
    assert entering == pytest.approx({100: 8, 4000: 70, 8000: 70})


def test_what_was_modelled_for_another_target_is_not_taken_for_this_ones(ledger, fake):
    """In one ledger, where nearly all else of the second campaign is there already."""
    asked = {"candidates": 3, "proposers": ["random"]}
    steered = asked | {"target": "B200", "steer_by": "modelled"}
    configs = [settings_of(read_setup(None, each), PROBE) for each in (asked, steered)]
    campaigns = [start_campaign(ledger, config) for config in configs]
    for campaign in campaigns:
        Loop(ledger, fake(4), [Random()], campaign).run()
    assert {s.target for s in ledger.standings(campaigns[1].id) if s.modelled_speedup} == {"B200"}
    checks = [e for r in ledger.records(campaigns[1].id) for e in r.evaluations if e.key.stage is Stage.CHECK]
    assert checks
    assert all(each.value("modelled_speedup_B200") for each in checks)
    rest = [[each for each in config.workloads if each.stage is not Stage.CHECK] for config in configs]
    assert rest[0] == rest[1]
    assert len({s.workload for campaign in campaigns for s in ledger.standings(campaign.id)}) == 1
