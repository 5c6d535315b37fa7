"""Settings as JSON: canonical, both ways, strict."""

import json
from dataclasses import asdict, replace

import pytest

from search.agents.seeds import seed_proposals
from search.config import ANSWER_TOKENS, LAG, MAX_LAG, CampaignConfig, ConfigError, lag_for, tokens_needed
from search.evaluator.engine import EngineSettings
from search.records import Stage, Workload
from search.workloads import WORKLOADS, workloads_for
from vortex_dsl import Shape, cost, load_program, zoo

CHECK, PROBE = (f'{{"stage": "{stage}", "num_tokens": 3, "num_sequences": 1}}' for stage in ("check", "probe"))


def test_json_both_ways():
    workloads = (*CampaignConfig().workloads[:4], Workload(Stage.SERVE, 512, 2, repeats=5))
    config = CampaignConfig(seed=7, proposers=("llm", "grammar"), workloads=workloads, max_dollars=2.5, serve_floor=1)
    assert CampaignConfig.from_json(config.to_json()) == config
    assert CampaignConfig.from_json("{}") == CampaignConfig()
    assert config.to_json() == json.dumps(asdict(config), sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"sed": 1}', "no setting 'sed' here; if a newer vortex-search stored these settings, upgrade"),
        ('{"seed": "1"}', "seed of CampaignConfig must be int"),
        ('{"seed": true}', "must be int"),
        ('{"seed": null}', "must be int"),
        ('{"proposers": "grammar"}', "must be tuple"),
        ('{"proposers": []}', "proposers is empty"),
        ('{"num_candidates": -1}', "must not be negative"),
        ('{"serve_floor": 2}', "between 0 and 1"),
        ('{"workloads": []}', "must name check and one of fidelity, retrieval, probe, but name none"),
        (f'{{"workloads": [{CHECK}, {CHECK}, {PROBE}]}}', "once each, but name check, check, probe"),
        (
            f'{{"workloads": [{CHECK}, {PROBE}, {{"stage": "tune", "num_tokens": 3, "num_sequences": 1}}]}}',
            "no stage 'tune' here, .* newer vortex-search stored these settings, upgrade",
        ),
        ('{"workloads": [{"stage": "check", "tokens": 3}]}', "no setting 'tokens'"),
        ('{"workloads": [{"stage": "chek", "num_tokens": 3, "num_sequences": 1}]}', "no stage 'chek'"),
        ('{"workloads": [{"stage": "check"}]}', "num_tokens"),
        ('{"group": 257}', "group is 257; give a whole number from 1 to 256"),
        ('{"head_dim": 1000000000}', "head_dim is 1000000000; give a whole number from 1 to 1,024"),
        ('{"lag": 0}', "lag is 0; give a whole number from 1 to 16,384"),
        ('{"lag": 16385}', "lag is 16385"),
        ('{"screen_share": 1.5}', "screen_share must lie between 0 and 1"),
        ("[]", "must be a JSON object"),
        ("{", "not JSON"),
    ],
)
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(ConfigError, match=message):
        CampaignConfig.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"), [("num_tokens", 2**31 + 1), ("num_sequences", 10**6), ("repeats", 10**9), ("repeats", 0)]
)
@pytest.mark.parametrize("stage", CampaignConfig().stages)
def test_a_workload_out_of_bounds_is_refused(stage, name, value):
    plain = [replace(each, lengths=()) for each in WORKLOADS]
    workloads = tuple(replace(each, **{name: value}) if each.stage is stage else each for each in plain)
    with pytest.raises(
        ConfigError, match=f"{name} of the workload {stage.value} is {value}; give a whole number from 1"
    ):
        CampaignConfig(workloads=workloads)


@pytest.mark.parametrize("later", [Stage.ORACLE, Stage.RECALL, Stage.SERVE])
def test_settings_from_before_a_stage_are_read_without_it(later):
    """Given its default the stage would be run on every candidate, and decide what was decided without it."""
    stored = json.loads(CampaignConfig(seed=3).to_json())
    stored["workloads"] = [each for each in stored["workloads"] if each["stage"] != later]
    config = CampaignConfig.from_json(json.dumps(stored))
    assert config.stages == tuple(stage for stage in CampaignConfig().stages if stage is not later)
    assert json.loads(config.to_json()) == stored


def test_workloads_by_stage():
    config = CampaignConfig()
    assert [config.workload(stage).stage for stage in config.stages] == list(config.stages)
    assert config.num_tokens == config.workload(Stage.PROBE).num_tokens


def test_a_model_must_take_the_longest_prompt_that_is_served_and_its_answer():
    assert tokens_needed(WORKLOADS) == 8000 + ANSWER_TOKENS
    assert tokens_needed(each for each in WORKLOADS if each.stage is not Stage.SERVE) == 2000 + ANSWER_TOKENS


def test_without_cost_ratios_the_seeds_share_one_small_budget():
    config = CampaignConfig(ratios=())
    proposals = seed_proposals(config)
    assert set(config.seeds) < set(zoo.names())
    assert len(proposals) == len(config.seeds) + 1
    values = [dict(p.values) for p in proposals]
    assert {v.get("pages", config.seed_pages) for v in values[:-1]} == {config.seed_pages}
    assert values[-1]["pages"] == config.ceiling_pages
    assert {v["dense_layers"] for v in values} == {0}
    assert {p.operator for p in proposals} == {"seed"}


def test_seeds_fit_into_the_room_that_engines_reserve():
    config = CampaignConfig()
    shape = Shape(group=config.group, head_dim=config.head_dim)
    needed = {name: cost(load_program(zoo.text(name)), shape).bytes_per_page for name in config.seeds}
    assert {
        name: num for name, num in needed.items() if num > EngineSettings("", sparse=True, max_tokens=1).field_bytes
    } == {}


def test_at_cost_ratios_dense_and_the_oracles_are_yardsticks():
    """The oracles with what each ratio buys where choosing is free; all other rules as written, to be fitted."""
    config = CampaignConfig(ratios=(8, 16), seeds=zoo.names(), workloads=workloads_for(0), num_layers=30)
    proposals = seed_proposals(config)
    yardsticks = [p for p in proposals if p.operator == "reference"]
    assert len(proposals) == len(zoo.names()) + 2
    assert [load_program(p.text).name for p in yardsticks] == ["Dense", *["OracleMass"] * 2, *["OracleMax"] * 2]
    pages = min(config.terms.lengths) / 16
    assert [dict(p.values).get("pages") for p in yardsticks[:3]] == [None, int(pages / 8) - 3, int(pages / 16) - 3]
    assert {p.values for p in proposals if p not in yardsticks} == {(("dense_layers", 0),)}
    assert {p.operator for p in proposals} == {"seed", "reference"}


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ("[0.5]", "ratios are 0.5; give numbers from 1 to 1024"),
        ("[8, 8.0]", "ratios are 8, 8; give each once"),
        ("[2000]", "give numbers from 1 to 1024"),
        (json.dumps(list(range(2, 11))), "ratios are 9; give at most 8"),
        ('["8"]', "ratios of CampaignConfig must be tuple"),
        ("[true]", "ratios of CampaignConfig must be tuple"),
    ],
)
def test_cost_ratios_are_bounded(ratios, message):
    with pytest.raises(ConfigError, match=message):
        CampaignConfig.from_json(f'{{"ratios": {ratios}}}')


def test_settings_from_before_there_were_cost_ratios_go_on_without_them():
    stored = json.loads(CampaignConfig(seed=3).to_json())
    for name in ("ratios", "num_layers", "recall_share"):
        del stored[name]
    config = CampaignConfig.from_json(json.dumps(stored))
    assert config.ratios == ()
    assert config.recall_share == 1.0
    assert replace(config, ratios=CampaignConfig().ratios) == CampaignConfig(seed=3)


def test_settings_from_before_there_was_a_lag_keep_that_of_their_time():
    stored = json.loads(CampaignConfig(lag=40).to_json())
    assert CampaignConfig.from_json(json.dumps(stored)).lag == 40
    del stored["lag"], stored["screen_share"]
    assert CampaignConfig.from_json(json.dumps(stored)).lag == LAG == 16


def test_the_lag_keeps_workers_busy_and_lets_most_of_a_campaign_see():
    assert [lag_for(number, 1000, is_cheap=False) for number in (1, 2, 8, 32)] == [24, 32, 80, 272]
    assert lag_for(1, 1000, is_cheap=True) == 64
    assert lag_for(8, 1000, is_cheap=True) == 80
    assert lag_for(1, 120, is_cheap=True) == 30  # a quarter of the campaign
    assert lag_for(10**6, 10**6, is_cheap=True) == MAX_LAG


def test_costs_are_compared_at_every_length_of_the_check():
    config = CampaignConfig(workloads=workloads_for(0), num_layers=30, group=3)
    assert config.terms.lengths == config.workload(Stage.FIDELITY).lengths == config.workload(Stage.SERVE).lengths
    assert (config.terms.num_layers, config.terms.shape) == (30, Shape(3, 64))
    assert config.workload(Stage.SERVE, 8.0).ratio == 8.0
    assert config.workload(Stage.SERVE).ratio == 0.0
    assert config.num_tokens == max(config.terms.lengths)


def test_other_seeds(tmp_path):
    assert seed_proposals(replace(CampaignConfig(), seeds=())) == ()
    assert len(seed_proposals(replace(CampaignConfig(), seeds=("quest",)))) == 1
    with pytest.raises(LookupError, match="no program 'qest'"):
        seed_proposals(replace(CampaignConfig(), seeds=("qest",)))
