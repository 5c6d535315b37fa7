"""Whatever a server replies: none of it ends a campaign, none is charged wrongly, and a program in it is found."""

import gzip
import json
import math

import pytest
from scripted_server import TOLD, Scripted, chat

from search.agents.answers import split_answer
from search.agents.llm.conversation import Llm
from search.agents.llm.endpoint import Chat, Endpoint
from search.agents.llm.replies import MAX_CALLS, MAX_TEXT_BYTES, read_reply
from search.config import CampaignConfig
from search.contracts import ProposerError
from search.loop import Loop, start_campaign
from search.outcome import End
from search.records import Environment, Evaluation, Measurement, Status
from search.store.ledger import SqlLedger
from vortex_dsl import ProgramError, load_program, zoo

P = zoo.text("quest").strip() + "\n"
GOOD = f"Envelopes bound the score.\n\n```python\n{P}```\n"
DRAFT = "```python\nclass Draft(Program): pass\n```"
PAID = (1000, 0, 200)
MOST = 400  # tokens of an answer
HTML = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
GUESSED, MOST_DEAR, ERROR = "guessed", "as dear", "error"  # what is paid where the server tells nothing


def tool(arguments, name="check"):
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


def events(*deltas, usage=TOLD, finish="stop"):
    said = [{"choices": [{"index": 0, "delta": each, "finish_reason": None}]} for each in deltas]
    said += [{"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}, {"choices": [], "usage": usage}]
    return "".join(f": waiting\n\ndata: {json.dumps(each)}\n\n" for each in said).encode() + b"data: [DONE]\n\n"


REASONED = {"completion_tokens_details": {"reasoning_tokens": 150}}
CACHED = {"prompt_tokens_details": {"cached_tokens": 900}}


def free(body, **given):
    return Scripted(body, **given)


def paid(body, tokens=PAID, **given):
    return Scripted(body, paid=tokens, **given)


def usage(**given):
    return chat(GOOD, usage=TOLD | given)


# A reply, whether there is a program in it, what its fault says, and what is paid where the server tells nothing.
KINDS = {
    # Good answers
    "plain": (paid(chat(GOOD)), True, ""),
    "UTF-16": (paid(chat(GOOD).decode().encode("utf-16")), True, ""),
    "a number that is too long": (paid(chat(GOOD).replace(b'"created": 0', b'"created": ' + b"9" * 5000)), True, ""),
    "parts": (paid(chat([{"type": "text", "text": GOOD}])), True, ""),
    "parts of several kinds": (
        paid(chat([{"type": "thinking"}, {"type": "image_url"}, 3, None, {"type": "text", "text": GOOD}])),
        True,
        "",
    ),
    "thoughts with a draft": (paid(chat(f"<think>\n{DRAFT}\n</think>\n{GOOD}")), True, ""),
    "the end of a thought alone": (paid(chat(f"{DRAFT}\n</think>\n{GOOD}")), True, ""),
    "reasoning beside": (paid(chat(GOOD, message={"reasoning_content": DRAFT})), True, ""),
    "usage beside the answer": (paid(usage(**REASONED)), True, ""),
    "cached": (paid(usage(**CACHED), (1000, 900, 200)), True, ""),
    "cached as another provider says it": (paid(usage(prompt_cache_hit_tokens=900), (1000, 900, 200)), True, ""),
    "more cached than read": (paid(usage(prompt_tokens_details={"cached_tokens": 5000}), (1000, 1000, 200)), True, ""),
    "reasoning counted beside, told": (
        paid(usage(total_tokens=1350, **REASONED), (1000, 0, 350)),
        True,
        "",
    ),
    "reasoning counted beside, by the total alone": (paid(usage(total_tokens=1290), (1000, 0, 290)), True, ""),
    "more reasoning than answer, no total": (
        paid(usage(total_tokens=None, completion_tokens=20, **REASONED), (1000, 0, 170)),
        True,
        "",
    ),
    "other names of the counts": (paid(chat(GOOD, usage={"input_tokens": 1000, "output_tokens": 200})), True, ""),
    "whole floats": (paid(usage(prompt_tokens=1000.0, completion_tokens=200.0)), True, ""),
    "a total beyond belief": (paid(usage(total_tokens=10**9)), True, ""),
    "an unknown ending": (paid(chat(GOOD, finish="eos")), True, ""),
    "no ending": (paid(chat(GOOD, finish=None)), True, ""),
    "two choices": (
        paid(chat("", choices=[{"message": {"content": "no"}}, {"message": {"content": GOOD}}])),
        True,
        "",
    ),
    "one choice that is no list": (paid(chat("", choices={"message": {"content": GOOD}})), True, ""),
    "an older completion": (paid(chat("", choices=[{"text": GOOD, "finish_reason": "stop"}])), True, ""),
    "a message that is a text": (paid(chat("", choices=[{"message": GOOD}])), True, ""),
    "white space before it": (paid(b"\n \n" * 100 + chat(GOOD)), True, ""),
    "a mark of byte order": (paid(b"\xef\xbb\xbf" + chat(GOOD)), True, ""),
    "another type": (paid(chat(GOOD), headers={"content-type": "text/plain"}), True, ""),
    "packed": (paid(gzip.compress(chat(GOOD)), headers={"content-encoding": "gzip"}), True, ""),
    "events unasked": (
        paid(events({"role": "assistant"}, *({"content": each} for each in (GOOD[:40], GOOD[40:])))),
        True,
        "",
    ),
    "halves of pairs and zeros": (paid(chat(GOOD.replace("Envelopes", "\ud800\x00E"))), True, ""),
    # Answers that can be used in part
    "cut off behind the program": (paid(chat(GOOD[:-4], finish="length")), True, "cut off"),
    "reasoning alone, with a program": (paid(chat(None, message={"reasoning": GOOD})), True, "reasoning alone"),
    "reasoning in parts": (
        paid(chat(None, message={"reasoning_details": [{"type": "reasoning.text", "text": GOOD}]})),
        True,
        "reasoning alone",
    ),
    "a program in a call that was not offered": (
        paid(chat(None, message={"tool_calls": [tool(json.dumps({"program": P}), "submit")]})),
        True,
        "not offered",
    ),
    "a call of the older kind": (
        paid(chat(None, message={"function_call": {"name": "f", "arguments": json.dumps({"text": P})}})),
        True,
        "not offered",
    ),
    "more than is kept": (paid(chat(GOOD + "word " * 20_000)), True, "65,536 are kept"),
    "a text that is no JSON, with a program": (
        free(GOOD.encode(), headers={"content-type": "text/plain"}),
        True,
        "no JSON",
        GUESSED,
    ),
    # Answers without a program
    "cut off before the program": (paid(chat("I begin", finish="length")), False, "cut off"),
    "filtered": (paid(chat("", finish="content_filter")), False, "filter"),
    "given up by its server": (paid(chat("I begin", finish="abort")), False, "gave the answer up"),
    "cut off where it repeats itself": (paid(chat("on and on " * 9, finish="repetition")), False, "repeated itself"),
    "refused": (paid(chat(None, message={"refusal": "I cannot."})), False, "refused: I cannot."),
    "refused in parts": (paid(chat([{"type": "refusal", "refusal": "No."}])), False, "refused: No."),
    "prose": (paid(chat("I would rather not.")), False, ""),
    "thoughts alone": (paid(chat("<think>hm")), False, ""),
    "null": (paid(chat(None)), False, "no text"),
    "an empty list": (paid(chat([])), False, "no text"),
    "a number": (paid(chat(3)), False, "no text"),
    "reasoning alone": (paid(chat(None, message={"reasoning_content": "hm"})), False, "only reasoning"),
    "calls alone": (paid(chat(None, message={"tool_calls": [tool("{}")]})), False, "not offered"),
    "calls that cannot be read": (
        paid(chat(None, message={"tool_calls": [tool("{"), None, 3]})),
        False,
        "cannot be read",
    ),
    # No answers
    "empty": (free(b""), False, "was empty"),
    "white space": (free(b" \n"), False, "was empty"),
    "HTML": (free(HTML, headers={"content-type": "text/html"}), False, "no JSON: <!doctype"),
    "JSON that breaks off": (free(chat(GOOD)[:600]), False, "breaks off", GUESSED),
    "an array": (free(b"[1, 2]"), False, "no choice with a message"),
    "a text": (free(b'"hello"'), False, "no choice with a message"),
    "null alone": (free(b"null"), False, "no JSON"),
    "brackets": (free(b"[" * 200_000), False, "breaks off"),
    "no choices": (free(b'{"object": "list"}'), False, "keys object"),
    "choices that are null": (free(b'{"choices": null}'), False, "keys choices"),
    "no choice, paid": (paid(chat("", choices=[])), False, "no choice"),
    "a choice that is null": (paid(chat("", choices=[None])), False, "no choice"),
    "a message that is null": (paid(chat("", choices=[{"message": None}])), False, "no choice"),
    "an error in a good reply": (free(b'{"error": {"message": "overloaded"}}'), False, "error: overloaded"),
    "an error among events": (free(b'data: {"error": "overloaded"}\n\n'), False, "error: overloaded"),
    "no text at all": (free(b"\xff\xfe\x00\x81"), False, "no JSON"),
    # Usage that cannot be
    "usage that is null": (free(chat(GOOD, usage=None)), True, "read and written are guessed", GUESSED),
    "usage that is a text": (free(chat(GOOD, usage="12")), True, "guessed", GUESSED),
    "usage below zero": (
        free(usage(completion_tokens=-5, prompt_tokens=-1, total_tokens=-6)),
        True,
        "guessed",
        GUESSED,
    ),
    "usage in fractions": (
        free(chat(GOOD, usage={"prompt_tokens": 0.5, "completion_tokens": 1e400})),
        True,
        "guessed",
        GUESSED,
    ),
    "usage that is true": (
        free(chat(GOOD, usage={"prompt_tokens": True, "completion_tokens": False})),
        True,
        "guessed",
        GUESSED,
    ),
    "usage without bound": (
        free(chat(GOOD, usage={"prompt_tokens": 10**30, "completion_tokens": 10**30})),
        True,
        "guessed",
        GUESSED,
    ),
    "half of the usage": (paid(chat(GOOD, usage={"prompt_tokens": 1000, "total_tokens": 1200})), True, ""),
    # What never comes
    "drips for ever": (free(chat(GOOD), drip_s=0.05), False, "not whole after", MOST_DEAR),
    "breaks off": (free(chat(GOOD)[:300], missing=5000), False, "broken off", MOST_DEAR),
    "too long": (free(chat(GOOD + " " * (5 << 20))), False, "more than 4,194,304 bytes", MOST_DEAR),
    "packed, and too long": (
        free(gzip.compress(chat(GOOD + " " * (5 << 20))), headers={"content-encoding": "gzip"}),
        False,
        "more than",
        MOST_DEAR,
    ),
    **{
        f"packed as {name}": (
            free(b"\x0b\x02\x80", headers={"content-encoding": name}),
            False,
            f"the reply is packed as '{name}', and only gzip or deflate can be unpacked here",
            MOST_DEAR,
        )
        for name in ("br", "zstd", "gzip, br", "x" * 30)
    },
    # Refusals and breakdowns: no answer at all
    "an error that is packed": (
        free(b"\x0b\x02\x80", status=502, headers={"content-encoding": "br"}),
        False,
        "HTTP 502.*packed as 'br'",
        ERROR,
    ),
    "waits too long": (free(chat(GOOD), wait_s=3.0), False, "not whole after", ERROR, MOST_DEAR),
    "hangs up": (free(hangs_up=True, body=b""), False, "APIConnectionError", ERROR),
    "hangs up late": (free(hangs_up=True, body=b"", wait_s=0.6), False, "APIConnectionError", ERROR, MOST_DEAR),
    "a gateway that waited in vain": (free(HTML, status=504), False, "HTTP 504", ERROR, MOST_DEAR),
    "bad request": (free(b'{"error": {"message": "no such model"}}', status=404), False, "no such model", ERROR),
    "an error that is HTML": (free(HTML, status=502), False, "HTTP 502", ERROR),
    "an error without a body": (free(b"", status=500), False, "HTTP 500", ERROR),
    "asked to wait": (
        free(b"{}", status=429, headers={"retry-after": "3600"}),
        False,
        "asks to wait 3,600 s",
        ERROR,
    ),
    "asked to wait until": (
        free(b"{}", status=503, headers={"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"}),
        False,
        "until Fri, 31 Dec",
        ERROR,
    ),
    "a redirect": (free(b"", status=307, headers={"location": "http://127.0.0.1:9/"}), False, "HTTP 307", ERROR),
    "packed, but not": (free(b"no gzip", headers={"content-encoding": "gzip"}), False, "broken off", MOST_DEAR),
}


@pytest.fixture
def endpoint(wire, monkeypatch):
    monkeypatch.setattr("search.agents.llm.transport.LEAST_WAITED_S", 0.4)
    return Endpoint(
        "m", wire.url, prompt_price=3.0, completion_price=15.0, cached_price=0.3, max_retries=0, deadline_s=1.5,
        max_tokens=MOST,
    )  # fmt: skip


def test_there_are_enough_kinds():
    assert len(KINDS) >= 54


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_of_any_kind(kind, wire, endpoint):
    reply, has_program, says, *unknown = KINDS[kind]
    wire.script = [reply]
    messages = [{"role": "user", "content": "Write one."}]
    num_bytes = len(json.dumps([messages, []]).encode())
    most = ((num_bytes + 16) * 3.0 + MOST * 15.0) / 1e6
    asking = Chat(endpoint)
    if ERROR in unknown:
        with pytest.raises(ProposerError, match=says) as raised:
            asking.ask(messages)
        assert raised.value.dollars == (pytest.approx(most) if MOST_DEAR in unknown else 0)
        return
    answer = asking.ask(messages)
    assert says in answer.fault
    assert bool(answer.fault) == bool(says)
    assert len(answer.text.encode()) <= MAX_TEXT_BYTES
    assert min(answer.usage.prompt, answer.usage.cached, answer.usage.completion, answer.usage.reasoning) >= 0
    if has_program:
        assert load_program(split_answer(answer.text)[0]).name == "Quest"
    else:
        with pytest.raises(ProgramError):
            load_program(split_answer(answer.text)[0] + "\n")
    if unknown == [MOST_DEAR]:
        assert answer.dollars == pytest.approx(most)
    elif unknown == [GUESSED]:
        assert 0 < answer.dollars <= most
        assert answer.usage.prompt == math.ceil(num_bytes / 4)
    else:
        assert answer.dollars == pytest.approx(wire.dollars, abs=1e-12)


class Nobody:
    """Measures nothing: every candidate stays below the gate."""

    environment = Environment("none", "none", "3.11", "2.13", "0.32")
    model_digest, version, num_workers = "m", "1", 1

    def __init__(self):
        self._queue = []

    def submit(self, task):
        self._queue.append(Evaluation(task.key, Status.OK, measurements=(Measurement("accuracy", 0.4),)))

    def running(self):
        return []

    def completed(self, timeout_s):
        done, self._queue = self._queue, []
        return done

    def close(self):
        pass


@pytest.mark.slow
def test_no_kind_ends_a_campaign_and_none_is_charged_wrongly(tmp_path, wire, endpoint):
    names, replies = list(KINDS), list(KINDS.values())
    order = sorted(range(len(KINDS)), key=lambda i: (i * 37) % len(KINDS))  # breakdowns apart from each other
    wire.script = [replies[i][0] for i in order]
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'kinds.db'}")
    config = CampaignConfig(num_candidates=len(KINDS), proposers=("llm",), seeds=(), ratios=())
    stored = start_campaign(ledger, config)
    proposer = Llm(endpoint, turns=1)
    proposer.num_at_once = 1
    outcome = Loop(ledger, Nobody(), [proposer], stored).run(num_steps=len(KINDS))
    records = ledger.records(stored.id)
    ledger.close()
    assert outcome.end is not End.INFRASTRUCTURE
    assert len(records) == len(KINDS)
    for i, record in zip(order, records, strict=True):
        _, has_program, _, *unknown = replies[i]
        candidate = record.candidate
        assert (candidate.status is Status.INFRASTRUCTURE) == (ERROR in unknown), names[i]
        assert (candidate.status in (Status.OK, Status.DUPLICATE)) == has_program, names[i]
        if not unknown or unknown == [ERROR]:
            assert candidate.proposal.dollars == pytest.approx(replies[i][0].dollars, abs=1e-12), names[i]
        else:
            assert candidate.proposal.dollars > 0, names[i]


def test_calls_of_offered_functions_are_given():
    called = [tool('{"text": "x", "n": 3}'), tool({"whole": True}, "look"), tool("[1]"), *[tool("{}")] * MAX_CALLS]
    reply = read_reply(chat(None, message={"tool_calls": called}), offers_tools=True)
    assert [(call.id, call.name, call.arguments) for call in reply.calls[:2]] == [
        ("c1", "check", {"text": "x", "n": 3}),
        ("c1", "look", {"whole": True}),
    ]
    assert len(reply.calls) == MAX_CALLS - 1
    assert "cannot be read" in reply.faults[0]
    assert "19 functions" in reply.faults[1]


def test_calls_that_are_longer_than_an_answer_may_be_are_left_out():
    called = [tool(json.dumps({"program": "x" * size})) for size in (40_000, 40_000, 20_000, 3_000_000)]
    reply = read_reply(chat(None, message={"tool_calls": called}), offers_tools=True)
    assert [len(call.arguments["program"]) for call in reply.calls] == [40_000]
    assert len(reply.faults) == 3
    assert "a call of check has 3,000,015 bytes: all of an answer have at most 65,536" in reply.faults[2]


def test_calls_in_a_stream_are_joined_by_their_index():
    def piece(index, **function):
        return {"tool_calls": [{"index": index, "function": function}]}

    first = {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": ""}}]}
    pieces = [first, piece(1, name="zoo"), piece(0, arguments='{"rat'), {"tool_calls": [None, 3, {"function": 1}]}]
    reply = read_reply(events(*pieces, piece(0, arguments='io": 16}'), finish="tool_calls"), offers_tools=True)
    assert [(call.id, call.name, call.arguments) for call in reply.calls] == [
        ("c1", "look", {"ratio": 16}),
        ("", "zoo", {}),
    ]
    assert all("cannot be read" in fault for fault in reply.faults)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_is_no_end_of_a_line_for_a_stream_stands_in_its_texts(end):
    said = "a\u2028b\u0085c\u001ed"
    event = json.dumps({"choices": [{"delta": {"content": said}, "finish_reason": "stop"}]}, ensure_ascii=False)
    reply = read_reply(f"data: {event}{end}{end}data: [DONE]{end}{end}".encode())
    assert (reply.text, reply.faults) == (said, ())


def test_a_call_that_was_offered_is_no_fault():
    assert read_reply(chat(None, message={"tool_calls": [tool("")]}), offers_tools=True).faults == ()
