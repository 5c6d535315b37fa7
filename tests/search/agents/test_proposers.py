"""What every proposer keeps to: pure, deterministic, new, and honest about where a program comes from."""

from dataclasses import replace

import pytest

from search.admission import admit
from search.agents.baselines import BestOfN, Greedy, Random
from search.agents.grammar import Grammar
from search.agents.llm.conversation import Llm
from search.agents.llm.endpoint import Endpoint
from search.agents.tuning.tune import Tune
from search.config import CampaignConfig
from search.records import Proposal, Status
from vortex_dsl import zoo

CONFIG = CampaignConfig(group=2, head_dim=64)
COMPUTING = (Grammar, Tune, Random, BestOfN, Greedy)


@pytest.fixture(params=[*COMPUTING, Llm], ids=lambda each: each.__name__)
def proposer(request, httpserver):
    if request.param is not Llm:
        return request.param()
    text = zoo.text("quest").replace("Quest", "Same").replace("Int(64", "Int(7")
    message = {"role": "assistant", "content": f"An idea.\n```python\n{text}```\n"}
    httpserver.expect_request("/v1/chat/completions").respond_with_json(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        }
    )
    return Llm(Endpoint("m", httpserver.url_for("/v1")))


@pytest.fixture(params=COMPUTING, ids=lambda each: each.__name__)
def computing(request):
    return request.param()


def timeless(proposal):
    return replace(proposal, elapsed_s=0.0)


def test_the_same_context_gives_the_same_proposal(proposer, context_at):
    fresh = type(proposer)() if type(proposer) in COMPUTING else proposer
    for step in (30, 31):
        assert timeless(proposer.propose(context_at(step))) == timeless(fresh.propose(context_at(step)))


def test_a_proposal_says_who_made_it_and_from_what(proposer, context_at):
    context = context_at(30)
    known = {record.candidate.program_digest for record in context.records}
    for step in range(30, 34):
        proposal = proposer.propose(context_at(step))
        assert isinstance(proposal, Proposal)
        assert proposal.proposer == proposer.name
        assert proposal.operator
        assert set(proposal.parents) <= known


def test_it_works_with_nothing_measured(proposer, context_at):
    proposal = proposer.propose(context_at(0, shown=()))
    assert proposal.parents == ()
    assert admit(proposal, 1, 0, CONFIG, frozenset()).status is Status.OK


def test_other_steps_and_seeds_give_other_programs(computing, context_at):
    texts = {computing.propose(context_at(step, seed)).text for step in range(30, 36) for seed in (1, 2)}
    assert len(texts) == 12


def test_what_is_proposed_loads_and_is_new(computing, context_at):
    for step in range(30, 50):
        context = context_at(step)
        candidate = admit(computing.propose(context), 1, step, CONFIG, context.seen)
        assert candidate.status is Status.OK, candidate.message
        assert str(step) in candidate.name


def test_a_context_is_not_changed(computing, context_at):
    context = context_at(30)
    before = repr(context)
    computing.propose(context)
    assert repr(context) == before


def test_best_of_n_builds_on_seeds_alone(context_at, seeds):
    digests = {record.candidate.program_digest for record in seeds}
    for step in range(30, 40):
        assert set(BestOfN().propose(context_at(step)).parents) <= digests


def test_greedy_builds_on_the_leader(context_at, records):
    from search.parents import leaders

    (best,) = leaders(records, 1)
    proposal = Greedy().propose(context_at(30))
    assert proposal.parents == (best.record.candidate.program_digest,)


def test_random_learns_nothing(context_at):
    shown, blind = Random().propose(context_at(30)), Random().propose(context_at(30, shown=()))
    assert shown == blind
