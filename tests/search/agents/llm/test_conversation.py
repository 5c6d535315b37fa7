"""The LLM proposer over real HTTP, against a scripted server."""

import json

import pytest
from werkzeug import Response

from search.admission import admit
from search.agents.llm.conversation import TURNS, Llm
from search.agents.llm.endpoint import Endpoint
from search.agents.shown.questions import instructions
from search.config import CampaignConfig
from search.contracts import ProposerError
from search.loop import Loop, start_campaign
from search.outcome import End
from search.records import Status
from search.store.ledger import SqlLedger
from vortex_dsl import zoo

CONFIG = CampaignConfig(group=2, head_dim=64)
GOOD = f"Envelopes bound the score.\n\n```python\n{zoo.text('quest')}```\nThat is all."
WIDE = """```python
from vortex_dsl import Int, Program, dot, topk


class Wide(Program):
    \"\"\"Rank pages by every key, kept twice.\"\"\"

    pages = Int(64, low=1, high=1024, log=True)

    def summarize(self, k, v):
        return {"keys": k.to("int8"), "again": k.to("fp8_e4m3")}

    def select(self, q, page):
        best = dot(q, page.keys, "dim").max("token") + dot(q, page.again, "dim").max("token")
        return topk(best.max("head"), self.pages)
```"""
BAD = "```python\nfrom vortex_dsl import Program\n\nimport os\n```"


class Server:
    """Answers with what it is given, in order, and keeps what it was asked."""

    def __init__(self, httpserver):
        self.requests, self.answers = [], []
        httpserver.expect_request("/v1/chat/completions").respond_with_handler(self._answer)
        self.url = httpserver.url_for("/v1")

    def _answer(self, request):
        self.requests.append((dict(request.headers), json.loads(request.data)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, int):
            headers = {"retry-after-ms": "1"}
            return Response(json.dumps({"error": {"message": "no"}}), answer, headers, content_type="application/json")
        body = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "tiny",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
        }
        return Response(json.dumps(body), 200, content_type="application/json")

    def question(self, number=-1):
        return self.requests[number][1]["messages"][-1]["content"]


@pytest.fixture
def server(httpserver):
    return Server(httpserver)


@pytest.fixture
def llm(server):
    return Llm(Endpoint("tiny", server.url, prompt_price=3.0, completion_price=15.0, max_retries=2))


def test_an_answer_becomes_a_proposal_with_its_price(server, llm, context_at):
    server.answers = [GOOD]
    proposal = llm.propose(context_at(30))
    assert proposal.text == zoo.text("quest")
    assert "bound the score" in proposal.rationale
    assert "That is all" in proposal.rationale
    assert (proposal.prompt_tokens, proposal.completion_tokens) == (1000, 200)
    assert proposal.dollars == pytest.approx(0.006)
    assert proposal.elapsed_s > 0
    assert server.requests[0][1]["model"] == "tiny"


def test_more_questions_are_put_than_requests_go_out_so_that_the_endpoint_never_waits_for_a_look(server):
    assert Llm(Endpoint("tiny", server.url), num_requests=8).num_at_once == 16


def test_retries_on_429_and_500(server, llm, context_at):
    server.answers = [429, 500, GOOD]
    assert llm.propose(context_at(30)).text == zoo.text("quest")
    assert len(server.requests) == 3


@pytest.mark.parametrize(("status", "what"), [(500, "InternalServerError"), (401, "AuthenticationError")])
def test_an_endpoint_that_keeps_failing_is_a_clear_error(server, llm, context_at, status, what):
    server.answers = [status]
    with pytest.raises(ProposerError, match=f"{server.url}.*{what}"):
        llm.propose(context_at(30))


def test_an_unreachable_endpoint_is_a_clear_error(context_at):
    with pytest.raises(ProposerError, match="gave no answer: APIConnectionError"):
        Llm(Endpoint("tiny", "http://127.0.0.1:9/v1", max_retries=0)).propose(context_at(30))


def test_the_key_comes_from_the_named_variable_only(server, context_at, monkeypatch):
    server.answers = [GOOD]
    monkeypatch.setenv("MY_KEY", "sk-mine")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    Llm(Endpoint("tiny", server.url, api_key_env="MY_KEY")).propose(context_at(30))
    assert server.requests[0][0]["Authorization"] == "Bearer sk-mine"
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ProposerError, match="OPENAI_API_KEY is not set"):
        Llm(Endpoint("tiny")).propose(context_at(30))


def test_an_answer_without_a_program_is_proposed_as_it_is_and_refused(server, llm, context_at):
    server.answers = ["I would rather not."]
    proposal = llm.propose(context_at(30))
    assert proposal.text == "I would rather not."
    assert admit(proposal, 1, 30, CONFIG, frozenset()).status is Status.PROGRAM_ERROR
    assert len(server.requests) == TURNS


def test_instructions_name_every_operation(context_at):
    from vortex_dsl.ops import OPS

    text = instructions(context_at(30))
    assert all(op.doc in text for op in OPS.values())
    assert "at most 1,024 bytes" in text
    assert "$" not in text


def campaign(tmp_path, server, num_candidates, *answers):
    """Run a whole campaign of nothing but the LLM, measured by nobody: every stage is below its gate."""
    from search.records import Environment, Evaluation, Measurement

    class Evaluator:
        environment = Environment("none", "none", "3.11", "2.13", "0.32")
        model_digest, version, num_workers = "m", "1", 1

        def __init__(self):
            self._queue = []

        def submit(self, task):
            self._queue.append(Evaluation(task.key, Status.OK, measurements=(Measurement("accuracy", 0.4),)))

        def running(self):
            return [each.key for each in self._queue]

        def completed(self, timeout_s):
            done, self._queue = self._queue, []
            return done

        def close(self):
            pass

    server.answers = list(answers)
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'llm.db'}")
    config = CampaignConfig(num_candidates=num_candidates, proposers=("llm",), seeds=(), ratios=())
    stored = start_campaign(ledger, config)
    proposer = Llm(Endpoint("tiny", server.url, prompt_price=3.0, max_retries=0))
    proposer.num_at_once = 1  # answers are given out in the order in which they are asked for
    outcome = Loop(ledger, Evaluator(), [proposer], stored).run()
    records = ledger.records(stored.id)
    ledger.close()
    return outcome, records


def numbered(i):
    return GOOD.replace("Int(64", f"Int({i + 1}")


def test_a_campaign_repairs_what_was_refused_in_the_same_step(tmp_path, server):
    outcome, records = campaign(tmp_path, server, 3, numbered(0), BAD, *map(numbered, range(1, 4)))
    assert outcome.end is End.DONE
    assert [record.candidate.status for record in records] == [Status.OK] * 3
    assert [round(record.candidate.proposal.dollars, 6) for record in records] == [0.003, 0.006, 0.003]
    assert "import os" in server.requests[2][1]["messages"][2]["content"]


def test_an_endpoint_away_from_the_start_ends_the_campaign(tmp_path, server):
    outcome, records = campaign(tmp_path, server, 3, 500)
    assert outcome.end is End.INFRASTRUCTURE
    assert records == []


def test_what_is_beyond_a_bound_after_all_turns_is_recorded_with_the_bound_and_its_cost_and_never_measured(
    tmp_path, server
):
    outcome, records = campaign(tmp_path, server, 1, *[WIDE] * TURNS, numbered(0))
    assert outcome.end is End.DONE
    refused, sound = records
    assert refused.candidate.status is Status.PROGRAM_ERROR
    assert "the fields of a page take" in refused.candidate.message
    assert "at most 1,024 are reserved" in refused.candidate.message
    assert refused.candidate.proposal.dollars == pytest.approx(TURNS * 0.003)
    assert not refused.evaluations
    assert sound.evaluations
