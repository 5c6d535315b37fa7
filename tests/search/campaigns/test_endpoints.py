"""Models and prices belong to a campaign; keys do not, and stand in none of what it keeps."""

import json
from dataclasses import replace

import pytest

from search.agents.llm.endpoint import Endpoint
from search.campaigns.endpoints import endpoints_of
from search.campaigns.proposers import proposer_of, proposers_of
from search.campaigns.reading import read_setup
from search.cli import main
from search.config import CampaignConfig, ConfigError
from search.loop import Loop, start_campaign
from search.outcome import End
from vortex_dsl import zoo

KEY = "sk-proj-0123456789abcdef"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}  # $0.006 at the price below
ANSWER = f"Envelopes.\n\n```python\n{zoo.text('quest')}```\n"


@pytest.fixture
def config(httpserver, monkeypatch):
    """Settings with an agent whose server echoes the key."""
    monkeypatch.setenv("BIG_KEY", KEY)
    answer = {"choices": [{"message": {"content": f"{ANSWER}{KEY}"}, "finish_reason": "stop"}], "usage": USAGE}
    httpserver.expect_request("/v1/chat/completions").respond_with_json(answer)
    big = Endpoint(
        "big-model", httpserver.url_for("/v1"), "BIG_KEY", prompt_price=3.0, completion_price=15.0, max_tokens=300,
        name="big",
    )  # fmt: skip
    return CampaignConfig(
        model="probe",
        num_candidates=2,
        seeds=("quest",),
        ratios=(),
        lag=2,
        proposers=("big",),
        endpoints=(big,),
        turns=1,  # the server says the same again and again
    )


def resumed(ledger, campaign, evaluator, num_steps=None):
    """Go on with a campaign as `vortex resume` does: from what is stored of it alone."""
    config = CampaignConfig.from_json(campaign.settings)
    endpoints = endpoints_of(config.endpoints, {}, config.max_dollars)
    proposers = proposers_of(config, endpoints)
    return Loop(ledger, evaluator, proposers, campaign).run(num_steps)


def drawn(ledger, campaign):
    records = ledger.records(campaign.id)
    return [record.candidate.proposal for record in records if record.candidate.proposal.proposer == "big"]


def test_an_unknown_proposer_is_told_each_that_there_is_once():
    with pytest.raises(ConfigError, match="random, big, and") as raised:
        proposer_of("nobody", {"llm": Endpoint("m"), "big": Endpoint("m")})
    assert str(raised.value).count("llm") == 1


def test_model_and_price_survive_resume(config, ledger, fake, httpserver):
    campaign = start_campaign(ledger, config)
    for num_steps in (2, 3, 4):
        resumed(ledger, ledger.campaign(campaign.id), fake(2), num_steps)
    assert len(httpserver.log) == len(drawn(ledger, campaign)) == 3
    assert {request.json["model"] for request, _ in httpserver.log} == {"big-model"}
    assert {request.headers["Authorization"] for request, _ in httpserver.log} == {f"Bearer {KEY}"}
    assert all(proposal.dollars == pytest.approx(0.006) for proposal in drawn(ledger, campaign))


def test_what_was_spent_counts_when_a_campaign_goes_on(config, ledger, fake, httpserver):
    """However often it is taken up again: what is left must cover the most that another question can cost."""
    campaign = start_campaign(ledger, replace(config, max_dollars=0.15, num_candidates=40))
    ends = [resumed(ledger, campaign, fake(2), num_steps) for num_steps in (3, None, None)]
    paid = sum(proposal.dollars for proposal in drawn(ledger, campaign))
    assert ends[-1].end is End.DONE
    assert "do not cover it" in ends[-1].message
    assert len(httpserver.log) > 2
    assert paid == pytest.approx(0.006 * len(httpserver.log))
    assert paid <= 0.15


def test_no_key_is_in_a_database_or_in_settings(config, ledger, fake, tmp_path):
    campaign = start_campaign(ledger, config)
    resumed(ledger, campaign, fake(2))
    assert "BIG_KEY" in campaign.settings
    ledger.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"big-model" in kept
    assert KEY.encode() not in kept


def test_money_that_covers_no_question_ends_a_campaign_with_its_reason(config, ledger, fake, httpserver):
    outcome = resumed(ledger, start_campaign(ledger, replace(config, max_dollars=0.001)), fake(2))
    assert (outcome.end, outcome.num_admitted) == (End.DONE, 1)
    assert "do not cover it" in outcome.message
    assert httpserver.log == []


def test_status_tells_what_each_model_cost(config, ledger, fake, db, capsys):
    campaign = start_campaign(ledger, config)
    resumed(ledger, campaign, fake(2), 3)
    assert main(["status", "--db", db, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dollars"] == {"big": {"spent": pytest.approx(0.012), "programs": 1}}
    assert main(["status", "--db", db]) == 0
    assert "0.0120, 0.0120 for each program that was admitted (1)" in capsys.readouterr().out


def stored(**given):
    endpoint = read_setup(None, {"endpoints": {"big": {"llm": "m", "base_url": "http://x/v1", "price": (1.0, 2.0)}}})
    return (replace(endpoint.models()["big"], **given),)


def going_on(**given):
    return read_setup(None, {"endpoints": {"big": given}}, goes_on=True).endpoints


def test_settings_keep_endpoints_and_give_them_back():
    config = CampaignConfig(endpoints=stored(body='{"top_k": 2}', temperature=0.5), proposers=("big",))
    assert CampaignConfig.from_json(config.to_json()) == config
    with pytest.raises(ConfigError, match="does not say its model"):
        CampaignConfig.from_json('{"endpoints": [{"name": "big"}]}')
    with pytest.raises(ConfigError, match="prompt_price of Endpoint must be float, but is 'x'"):
        CampaignConfig.from_json('{"endpoints": [{"name": "big", "model": "m", "prompt_price": "x"}]}')


def test_a_campaign_that_goes_on_may_move_and_nothing_else():
    asked = going_on(base_url="http://y/v1", api_key_env="OTHER", llm="m", price=(1.0, 2.0))
    moved = endpoints_of(stored(), asked, 5.0)["big"]
    assert (moved.base_url, moved.api_key_env, moved.model, moved.completion_price) == (
        "http://y/v1",
        "OTHER",
        "m",
        2.0,
    )
    assert endpoints_of(stored(), {}, 5.0)["big"] == stored()[0]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"llm": "n"}, "endpoints.big.llm is settled for a campaign that goes on: m, not n"),
        ({"price": (0.0, 0.0)}, "endpoints.big.price is settled"),
        ({"temperature": 1.0}, "endpoints.big.temperature is settled"),
    ],
)
def test_another_model_or_price_is_another_campaign(given, says):
    with pytest.raises(ConfigError, match=says):
        endpoints_of(stored(), going_on(**given), None)


def test_an_endpoint_that_the_campaign_does_not_have_is_refused():
    other = read_setup(None, {"endpoints": {"small": {"llm": "m"}}}).endpoints
    with pytest.raises(ConfigError, match="asks no endpoint 'small', only big"):
        endpoints_of(stored(), other, None)


def test_an_older_campaign_with_a_limit_is_not_asked_for_at_no_price():
    with pytest.raises(ConfigError, match="max_dollars needs what a model costs"):
        endpoints_of((), going_on(llm="m", base_url="http://x"), 5.0)
    assert endpoints_of((), going_on(llm="m", base_url="http://x"), None)["big"].model == "m"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"base_url": "http://me:hunter22@host/v1"}, "has a name or password before '@'"),
        ({"base_url": "http://host/v1?key=abc"}, "has something after '\\?'"),
        ({"base_url": "http://"}, "is no URL"),
        ({"base_url": "http://host/v1/chat/completions"}, "ends in /chat/completions"),
        ({"base_url": "http://host/v1/chat/completions/"}, "ends in /chat/completions"),
        ({"max_prompt_tokens": 5999}, "6000"),
        ({"base_url": "http://host:99999/v1"}, "is no URL"),
        ({"base_url": "http://[::1/v1"}, "is no URL"),
        ({"body": {"model": "other"}}, "may not say 'model'"),
        ({"body": {"api_key": "hunter22"}}, "body holds a key"),
        ({"body": {"extra": KEY}}, "body holds a key"),
        ({"body": {"x": "y" * 20_000}}, "must be a table that JSON can hold"),
        ({"headers": {"Authorization": "Basic hunter22"}}, "'Authorization' holds a key"),
        ({"headers": {"X-Other": KEY}}, "'X-Other' holds a key"),
        ({"headers": {"x y": "z"}}, "headers"),
        ({"headers": f"Bearer {KEY}"}, "headers must be a table"),
        ({"api_key_env": "RAY_KEY"}, "may reach Ray's processes"),
        ({"api_key_env": KEY}, "never the key itself"),
        ({"price": (1.0, -1.0)}, "is no price"),
        ({"cached_price": -1.0}, "cached_price must be"),
        ({"max_tokens": 0}, "max_tokens must be"),
        ({"temperature": float("nan")}, "temperature must be"),
        ({"deadline_s": 0.0}, "deadline_s must be"),
    ],
)
def test_what_an_endpoint_may_not_be_is_told_without_the_key(given, says):
    with pytest.raises(ConfigError, match=says) as refused:
        read_setup(None, {"endpoints": {"big": {"llm": "m"} | given}})
    assert "hunter22" not in str(refused.value)
    assert KEY not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_model_without_a_price_is_refused_where_dollars_are_limited():
    priced, free, unknown = ({"llm": "m", "base_url": "http://x", **more} for more in (
        {"price": (1.0, 2.0)}, {"price": (0.0, 0.0)}, {}))  # fmt: skip
    read_setup(None, {"max_dollars": 1.0, "endpoints": {"a": priced, "b": free}})
    with pytest.raises(ConfigError, match="price of b in a file"):
        read_setup(None, {"max_dollars": 1.0, "endpoints": {"a": priced, "b": unknown}})
    with pytest.raises(ConfigError, match="max_dollars needs"):
        read_setup(None, {"max_dollars": 1.0, "endpoints": {"b": free}})
