"""Reflection in whole campaigns over real HTTP: when it is asked for, what it is shown, and that it is bit-exact."""

import hashlib
import json
import re
from dataclasses import replace

import pytest
from fake_evaluator import FakeEvaluator
from werkzeug import Response

from search.agents.llm.conversation import Llm
from search.agents.llm.endpoint import Endpoint
from search.agents.shown.ideas import JOURNAL
from search.agents.shown.tried import FAMILIES
from search.campaigns.comparisons import FIGURES
from search.campaigns.replay import replay
from search.config import CampaignConfig
from search.journal.answers import entries_of
from search.journal.prediction import fault
from search.journal.reflecting import REFLECT, is_due, predicting, reflection
from search.loop import Loop, start_campaign
from search.outcome import End
from search.records import Context
from search.store.ledger import SqlLedger
from vortex_dsl import zoo

EVERY, LAG = 3, 4
SEEDS = ("dense", "quest", "centroid")
CONFIG = CampaignConfig(
    seed=3, num_candidates=14, seeds=SEEDS, ratios=(2, 4), lag=LAG, proposers=("llm", "llm"), reflect_every=EVERY
)
STEP = re.compile(r"step (\d+)[\])]")


def answered(question):
    """Answer as a model that answers a question always alike: a program, a prediction, maybe notes."""
    number = int(hashlib.sha256(question.encode()).hexdigest()[:6], 16)
    program = zoo.text("quest").replace("class Quest", f"class Quest{number}")
    program = program.replace("q * page.lo", f"{1 + number / 16**6:.6f} * q * page.lo")
    said = f"```hypotheses\nsigns of {number}: bytes_per_page < 300\nsigns of {number}: bytes_per_page < 200\n```\n"
    if "```notes" in question:
        said += f"```notes\nholds: {number} holds\nstop: **all** <b>else</b>\n```\n"
    return f"{said}```python\n{program}```\n"


@pytest.fixture
def server(httpserver):
    """An endpoint whose answers follow from the questions alone, in whatever order they come."""
    asked = []

    def answer(request):
        said = [each["content"] for each in json.loads(request.data)["messages"]]
        asked.append(said[-1])
        message = {"role": "assistant", "content": answered("\n".join(said[1:]))}
        body = {
            "id": "1", "object": "chat.completion", "created": 0, "model": "tiny",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
        }  # fmt: skip
        return Response(json.dumps(body), 200, content_type="application/json")

    httpserver.expect_request("/v1/chat/completions").respond_with_handler(answer)
    httpserver.asked = asked
    return httpserver


class Watched(Llm):
    """Keeps what it was shown."""

    def __init__(self, server):
        super().__init__(Endpoint("tiny", server.url_for("/v1")))
        self.contexts = {}

    def propose(self, context: Context):
        self.contexts[context.step] = replace(context, records=tuple(context.records))
        return super().propose(context)


def run(ledger, llm, evaluator, campaign=None):
    campaign = campaign or start_campaign(ledger, CONFIG)
    return Loop(ledger, evaluator, [llm, llm], campaign).run(), campaign


def sequence(ledger, campaign):
    """All that was decided and written, without times."""
    return [
        (c.step, replace(c.proposal, elapsed_s=0.0), c.status, c.program_digest)
        for c in (record.candidate for record in ledger.records(campaign.id))
    ]


def test_every_so_many_turns():
    assert [turn for turn in range(12) if is_due(turn, 4)] == [3, 7, 11]
    assert not any(is_due(turn, 0) for turn in range(12))


def test_a_campaign_reflects_in_turn_and_is_shown_what_its_step_may_see(ledger, server):
    llm = Watched(server)
    outcome, campaign = run(ledger, llm, FakeEvaluator(4))
    assert outcome.end is End.DONE
    proposals = {r.candidate.step: r.candidate.proposal for r in ledger.records(campaign.id)}
    own = [step for step, each in proposals.items() if each.proposer == "llm"]
    due = [step for turn, step in enumerate(own) if turn % EVERY == EVERY - 1]
    assert [step for step in own if llm.contexts[step].reflects] == due
    reflected = [step for step in own if proposals[step].operator == REFLECT]
    assert reflected == [step for step in due if step - LAG >= len(SEEDS) + 1], "before that it sees nothing of its own"
    assert len(reflected) > 2
    for step in reflected:
        question = reflection(llm.contexts[step], "llm")
        whole = next(asked for asked in server.asked if question.strip() in asked)
        assert JOURNAL not in whole, "it is told once"
        assert FAMILIES not in whole
        seen = [int(found) for found in STEP.findall(question)]
        assert max(seen) == step - LAG
        assert [note.kind for note in proposals[step].notes] == ["holds", "stop"]
    assert all(len(proposals[step].hypotheses) == 2 for step in own)
    text = reflection(llm.contexts[reflected[-1]], "llm")
    assert "confirmed: signs of" in text
    assert "refuted: signs of" in text
    assert f"(llm, step {reflected[0]})" in text, "notes of earlier reflections are read again"


def test_workers_and_their_luck_change_nothing(tmp_path, server):
    sequences = []
    for num_workers, shuffle in ((1, 0), (8, 1)):
        ledger = SqlLedger(f"sqlite:///{tmp_path / f'{num_workers}.db'}")
        sequences.append(sequence(ledger, run(ledger, Watched(server), FakeEvaluator(num_workers, shuffle=shuffle))[1]))
        ledger.close()
    assert sequences[0] == sequences[1]
    assert any(proposal.notes for _, proposal, *_ in sequences[0])


@pytest.mark.parametrize("crash_after", [20, 26])
def test_a_killed_campaign_goes_on_as_if_undisturbed(tmp_path, ledger, server, crash_after):
    whole = SqlLedger(f"sqlite:///{tmp_path / 'whole.db'}")
    undisturbed = sequence(whole, run(whole, Watched(server), FakeEvaluator(4))[1])
    whole.close()
    campaign = start_campaign(ledger, CONFIG)
    with pytest.raises(RuntimeError, match="killed"):
        run(ledger, Watched(server), FakeEvaluator(4, crash_after=crash_after), campaign)
    assert 3 < len(ledger.records(campaign.id)) < len(undisturbed)
    assert run(ledger, Watched(server), FakeEvaluator(4, shuffle=9), campaign)[0].end is End.DONE
    assert sequence(ledger, campaign) == undisturbed


def test_a_replay_takes_them_from_the_record(ledger, server):
    _, campaign = run(ledger, Watched(server), FakeEvaluator(4))
    found = replay(ledger, campaign)
    assert (found.difference, found.from_record) == ("", ("llm",))


def test_a_campaign_from_before_does_not_begin_to_reflect():
    settings = json.loads(CONFIG.to_json())
    del settings["reflect_every"]
    assert CampaignConfig.from_json(json.dumps(settings)).reflect_every == 0
    assert CampaignConfig().reflect_every > 0


@pytest.mark.parametrize("has_parent", [True, False])
def test_what_agents_are_told_to_write_is_what_is_read(ledger, server, has_parent):
    llm = Watched(server)
    run(ledger, llm, FakeEvaluator(4))
    context = llm.contexts[max(llm.contexts)]
    told = predicting(context, has_parent=has_parent)
    (hypothesis,) = entries_of(told).hypotheses
    assert fault(hypothesis) == ""
    assert hypothesis.prediction == "bytes_per_page <= 160 and accuracy > 0.9 at 4", "this campaign measures no kl"
    assert ("`0.5 parent`" in told) is has_parent
    assert "`kl`" not in told
    assert {name for name in FIGURES if f"`{name}`" in told} >= {"bytes_per_page", "accuracy"}
    assert [note.kind for note in entries_of(reflection(context, "llm")).notes] == ["holds", "stop", "next"]
